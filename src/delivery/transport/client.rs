//! The transport's settings, and what it is made of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use url::Url;

use super::client_certificates::ClientCertificates;
use super::connector::WatchLayer;
use super::lookup::{DnsLookup, Lookup, Lookups, SystemLookup};
use super::own_proxy::OwnProxy;
use super::pool::{Pools, Routes, origin};
use super::resolver::ProxyResolver;
use super::route::{ClientMaker, Route, USER_AGENT};
use super::tls::{self, Sessions, TlsError};
use super::url_cache::UrlCache;
use crate::delivery::egress::{Policy, Target};

/// No deadline is longer; a longer one in the settings would overflow the timer.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How to call.
#[derive(Clone)]
pub struct TransportSettings {
    /// For TCP and TLS together; the last of a name's many addresses has a second at least.
    pub connect_timeout: Duration,
    /// For the whole exchange, the body of the answer included.
    pub timeout: Duration,
    /// Where a body is cut.
    pub max_response_bytes: usize,
    /// Who may be called.
    pub policy: Policy,
    /// What resolves names.
    pub resolver: Resolver,
    /// Roots trusted in addition to the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What apps show to servers that ask for a certificate.
    pub client_certificates: ClientCertificates,
    /// An http, https, socks5 or socks5h proxy. It resolves the names (but for socks5), so of the
    /// policy only the rules on URLs and literal addresses remain; its own address is not judged.
    pub proxy: Option<Url>,
    /// The User-Agent header.
    pub user_agent: String,
}

/// What resolves the names of callback URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolver {
    /// Questions of our own to the name servers of `resolv.conf`, after the hosts file.
    #[default]
    Dns,
    /// The system's way, by `nsswitch.conf`.
    System,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            max_response_bytes: 64 << 10,
            policy: Policy::default(),
            resolver: Resolver::default(),
            extra_roots: Vec::new(),
            client_certificates: ClientCertificates::default(),
            proxy: None,
            user_agent: USER_AGENT.to_owned(),
        }
    }
}

impl fmt::Debug for TransportSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportSettings")
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("policy", &self.policy)
            .field("resolver", &self.resolver)
            .field("extra_roots", &self.extra_roots.len())
            .field("client_certificates", &self.client_certificates)
            // The URL may hold a password.
            .field("proxy", &self.proxy.as_ref().and_then(Url::host_str))
            .field("user_agent", &self.user_agent)
            .finish()
    }
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy's URL is of no use.
    #[error("egress.proxy is not usable: {0}; give one like http://proxy.internal:3128")]
    Proxy(#[source] reqwest::Error),
    /// A header can't have this text.
    #[error("delivery.user_agent is not usable: {0}; give printable ASCII")]
    UserAgent(#[source] InvalidHeaderValue),
    /// reqwest refuses the settings.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// The real [`Post`](super::Post). Made once; it holds the pools of connections.
pub struct Transport {
    pub(super) policy: Arc<Policy>,
    pub(super) url_cache: Arc<UrlCache>,
    pub(super) lookups: Arc<Lookups>,
    pub(super) pools: Arc<Pools>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) max_response_bytes: usize,
    pub(super) proxy: Option<OwnProxy>,
    /// Judges certificates; a probe asks the same one.
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    /// Judges the addresses of a name.
    address_policy: Arc<Policy>,
    tls: ClientConfig,
    sessions: Sessions,
    client_certificates: ClientCertificates,
    maker: Arc<ClientMaker>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("policy", &self.policy)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// A transport with the resolver of the settings.
    ///
    /// # Errors
    ///
    /// If certificates, proxy or User-Agent are of no use. Reads the platform's certificates.
    pub fn new(settings: TransportSettings) -> Result<Self, TransportError> {
        let lookup: Arc<dyn Lookup> = match settings.resolver {
            Resolver::Dns => Arc::new(DnsLookup::default()),
            Resolver::System => Arc::new(SystemLookup::default()),
        };
        Self::with_lookup(settings, lookup)
    }

    /// A transport that asks `lookup`.
    ///
    /// # Errors
    ///
    /// As [`Transport::new`].
    pub fn with_lookup(
        settings: TransportSettings,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, TransportError> {
        let policy = Arc::new(settings.policy.clone());
        Self::with_policies(settings, lookup, Arc::clone(&policy), policy)
    }

    /// The lookup and the connector check the same policy; a test of the second needs two.
    pub(super) fn with_policies(
        settings: TransportSettings,
        lookup: Arc<dyn Lookup>,
        address_policy: Arc<Policy>,
        connector_policy: Arc<Policy>,
    ) -> Result<Self, TransportError> {
        let verifier = tls::verifier(settings.extra_roots)?;
        let tls = tls::client_config(Arc::clone(&verifier))?;
        let lookups = Arc::new(Lookups::new(lookup));
        let own_proxy = settings.proxy.as_ref();
        let own_proxy = own_proxy.and_then(|url| OwnProxy::new(url, Arc::clone(&lookups)));
        let proxy = settings.proxy.map(reqwest::Proxy::all).transpose();
        let user_agent = match settings.user_agent.as_str() {
            // Each request has a copy: this one has no count that all of them would share.
            USER_AGENT => Ok(HeaderValue::from_static(USER_AGENT)),
            other => HeaderValue::from_str(other),
        };
        let maker = ClientMaker {
            watch: WatchLayer {
                policy: own_proxy.is_none().then_some(connector_policy),
            },
            user_agent: user_agent.map_err(TransportError::UserAgent)?,
            proxy: proxy.map_err(TransportError::Proxy)?,
            proxy_resolver: Arc::new(ProxyResolver {
                lookups: Arc::clone(&lookups),
                policy: Arc::clone(&address_policy),
                exempt_name: own_proxy.as_ref().map(|proxy| proxy.host().to_owned()),
            }),
        };
        // One that is made now shows that all others can be.
        let made = maker.proxied(tls.clone());
        made.map_err(TransportError::Client)?;
        Ok(Self {
            policy: Arc::new(settings.policy),
            url_cache: Arc::default(),
            lookups,
            pools: Arc::default(),
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout.min(TIMEOUT_MAX),
            max_response_bytes: settings.max_response_bytes,
            proxy: own_proxy,
            verifier,
            address_policy,
            tls,
            sessions: Sessions::default(),
            client_certificates: settings.client_certificates,
            maker: Arc::new(maker),
        })
    }

    /// Ways to these addresses of the origin of `target`, for `app_id`.
    pub(super) fn routes(
        &self,
        app_id: &str,
        target: &Target,
        addresses: impl IntoIterator<Item = Option<IpAddr>>,
    ) -> Routes {
        Routes::new(addresses.into_iter().map(|address| {
            let mut tls = self.with_certificate(app_id, self.tls.clone());
            tls.resumption = self.sessions.of(app_id, origin(target), address);
            Route::new(Arc::clone(&self.maker), address, tls)
        }))
    }

    /// `tls` with the certificate that `app_id` shows, if it has one.
    pub(super) fn with_certificate(&self, app_id: &str, mut tls: ClientConfig) -> ClientConfig {
        if let Some(certificate) = self.client_certificates.of(app_id) {
            tls.client_auth_cert_resolver = certificate;
        }
        tls
    }

    /// Judges the addresses of a name.
    pub(super) fn address_policy(&self) -> &Policy {
        &self.address_policy
    }
}
