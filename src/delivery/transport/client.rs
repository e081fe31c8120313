//! The transport's settings and its two reqwest clients.

#![expect(
    clippy::disallowed_types,
    reason = "this is where merchants are called from"
)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use url::Url;

use super::connector::WatchLayer;
use super::lookup::{JoinedLookup, Lookup, SystemLookup};
use super::resolver::GuardedResolver;
use super::tls::{self, TlsError};
use super::url_cache::UrlCache;
use crate::delivery::egress::Policy;

/// Merchants' servers close idle connections: gunicorn after 2 s, Node and Apache after 5 s.
/// Giving them up sooner makes it rare that a request meets a closed one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// More than are ever in flight to one merchant, so that none is closed for want of room.
const POOL_IDLE_PER_HOST_MAX: usize = 1024;

/// No deadline is longer; a longer one in the settings would overflow the timer.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose requests they are, unless the settings say otherwise.
const USER_AGENT: &str = concat!("callback-dispatcher/", env!("CARGO_PKG_VERSION"));

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON is preferred, but anything is taken: frameworks refuse with 406 what they can't answer in a
/// type that is asked for, and the type of an answer means nothing to us.
const JSON_OR_ANYTHING: HeaderValue = HeaderValue::from_static("application/json, */*");

/// How to call.
#[derive(Clone)]
pub struct TransportSettings {
    /// For name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For the whole exchange, the body of the answer included.
    pub timeout: Duration,
    /// Where a body is cut.
    pub max_response_bytes: usize,
    /// Who may be called.
    pub policy: Policy,
    /// Roots trusted in addition to the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// An http, https, socks5 or socks5h proxy. It resolves the names (but for socks5), so of the
    /// policy only the rules on URLs and literal addresses remain; its own address is not judged.
    pub proxy: Option<Url>,
    /// The User-Agent header.
    pub user_agent: String,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            max_response_bytes: 64 << 10,
            policy: Policy::default(),
            extra_roots: Vec::new(),
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
            .field("extra_roots", &self.extra_roots.len())
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
    /// reqwest refuses the settings.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// The real [`Post`](super::Post), on reqwest. Made once; it holds the pool of connections.
pub struct Transport {
    /// Keeps connections.
    pub(super) pooled: Client,
    /// Makes a new connection for each request, for the second sending.
    pub(super) fresh: Client,
    pub(super) policy: Arc<Policy>,
    pub(super) url_cache: Arc<UrlCache>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) max_response_bytes: usize,
    pub(super) proxy_host: Option<String>,
    /// Judges certificates; a probe asks the same one.
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
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
    /// A transport that asks the system's resolver.
    ///
    /// # Errors
    ///
    /// If certificates, proxy or User-Agent are of no use. Reads the platform's certificates.
    pub fn new(settings: TransportSettings) -> Result<Self, TransportError> {
        let system = JoinedLookup::new(Arc::new(SystemLookup));
        Self::with_lookup(settings, Arc::new(system))
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

    /// The resolver and the connector check the same policy; a test of the second needs two.
    pub(super) fn with_policies(
        settings: TransportSettings,
        lookup: Arc<dyn Lookup>,
        resolver_policy: Arc<Policy>,
        connector_policy: Arc<Policy>,
    ) -> Result<Self, TransportError> {
        let verifier = tls::verifier(settings.extra_roots)?;
        let tls = tls::client_config(Arc::clone(&verifier))?;
        let proxy_host = settings
            .proxy
            .as_ref()
            .and_then(Url::host_str)
            .map(str::to_owned);
        let resolver = Arc::new(GuardedResolver {
            lookup,
            policy: resolver_policy,
            exempt_name: proxy_host.clone(),
        });
        let watch = WatchLayer {
            policy: proxy_host.is_none().then_some(connector_policy),
        };
        let client = |idle_per_host_max| {
            // First no proxy at all, so that none is taken from the environment.
            let mut builder = Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                // Zero as well, or each request is cloned for a retry that never comes.
                .retry(reqwest::retry::never().max_retries_per_request(0))
                .referer(false)
                .http1_only()
                // As browsers and curl write them: some servers read only these.
                .http1_title_case_headers()
                .tcp_nodelay(true)
                .default_headers(HeaderMap::from_iter([
                    (CONTENT_TYPE, JSON),
                    (ACCEPT, JSON_OR_ANYTHING),
                ]))
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .pool_max_idle_per_host(idle_per_host_max)
                .dns_resolver(Arc::clone(&resolver))
                .connector_layer(watch.clone())
                .tls_backend_preconfigured(tls.clone());
            builder = match settings.user_agent.as_str() {
                // Each request has a copy: this one has no count that all of them would share.
                USER_AGENT => builder.user_agent(HeaderValue::from_static(USER_AGENT)),
                other => builder.user_agent(other),
            };
            if let Some(proxy) = &settings.proxy {
                let proxy = reqwest::Proxy::all(proxy.clone()).map_err(TransportError::Proxy)?;
                builder = builder.proxy(proxy);
            }
            builder.build().map_err(TransportError::Client)
        };
        Ok(Self {
            pooled: client(POOL_IDLE_PER_HOST_MAX)?,
            fresh: client(0)?,
            policy: Arc::new(settings.policy),
            url_cache: Arc::default(),
            connect_timeout: settings.connect_timeout,
            timeout: settings.timeout.min(TIMEOUT_MAX),
            max_response_bytes: settings.max_response_bytes,
            proxy_host,
            verifier,
        })
    }
}
