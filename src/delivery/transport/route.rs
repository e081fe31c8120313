//! The way to one address of an origin: a client of its own, which dials nothing else.
//!
//! Clients keep connections and TLS sessions by host name. With a client for each app, origin and address
//! they are kept by these.

#![expect(
    clippy::disallowed_types,
    reason = "this is where merchants are called from"
)]

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{self, ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Request, Response};
use rustls::ClientConfig;
use url::Url;

use super::connector::{BoxError, WatchLayer};
use super::direct::{DirectClient, POOL_IDLE_PER_HOST_MAX, POOL_IDLE_TIMEOUT};
use super::resolver::ProxyResolver;

/// Whose requests they are, unless the settings say otherwise.
pub(super) const USER_AGENT: &str = concat!("callback-dispatcher/", env!("CARGO_PKG_VERSION"));

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON is preferred, but anything is taken: frameworks refuse with 406 what they can't answer in a
/// type that is asked for, and the type of an answer means nothing to us.
const JSON_OR_ANYTHING: HeaderValue = HeaderValue::from_static("application/json, */*");

/// What makes clients.
#[derive(Debug)]
pub(super) struct ClientMaker {
    pub(super) watch: WatchLayer,
    pub(super) user_agent: HeaderValue,
    pub(super) proxy: Option<reqwest::Proxy>,
    /// What resolves names for the proxy.
    pub(super) proxy_resolver: Arc<ProxyResolver>,
}

impl ClientMaker {
    /// A client that dials `address`, or the proxy.
    fn client(&self, address: Option<IpAddr>, tls: ClientConfig) -> Result<Client, reqwest::Error> {
        match address {
            Some(address) if self.proxy.is_none() => {
                let headers = self.headers();
                let client = DirectClient::new(address, tls, &self.watch, headers);
                Ok(Client::Direct(Arc::new(client)))
            }
            _ => self.proxied(tls).map(Client::Proxied),
        }
    }

    /// A client that dials the proxy.
    pub(super) fn proxied(&self, tls: ClientConfig) -> Result<reqwest::Client, reqwest::Error> {
        // First no proxy at all, so that none is taken from the environment.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Zero as well, or each request is cloned for a retry that never comes.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .http1_only()
            // As browsers and curl write them: some servers read only these.
            .http1_title_case_headers()
            .tcp_nodelay(true)
            .default_headers(self.headers())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .connector_layer(self.watch.clone())
            .dns_resolver(Arc::clone(&self.proxy_resolver))
            .tls_backend_preconfigured(tls);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build()
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (CONTENT_TYPE, JSON),
            (ACCEPT, JSON_OR_ANYTHING),
            (header::USER_AGENT, self.user_agent.clone()),
        ])
    }
}

/// Dials an address, or the proxy.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Direct(Arc<DirectClient>),
    Proxied(reqwest::Client),
}

impl Client {
    /// Sends a POST, and returns with the head of the answer.
    pub(super) fn post(
        &self,
        url: Url,
        body: Body,
    ) -> BoxFuture<'static, Result<Response, BoxError>> {
        match self.clone() {
            Self::Direct(client) => async move { client.post(&url, body).await }.boxed(),
            Self::Proxied(client) => {
                let mut request = Request::new(Method::POST, url);
                *request.body_mut() = Some(body);
                let sending = client.execute(request);
                async move { Ok(sending.await?) }.boxed()
            }
        }
    }
}

/// The way to one address.
#[derive(Debug)]
pub(super) struct Route {
    address: Option<IpAddr>,
    maker: Arc<ClientMaker>,
    tls: ClientConfig,
    client: OnceLock<Client>,
}

impl Route {
    /// `None` stands for whatever the proxy dials.
    pub(super) fn new(maker: Arc<ClientMaker>, address: Option<IpAddr>, tls: ClientConfig) -> Self {
        Self {
            address,
            maker,
            tls,
            client: OnceLock::new(),
        }
    }

    /// What it leads to.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Made when it is first wanted: of a name's many addresses, few are ever dialled.
    pub(super) fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let client = self.maker.client(self.address, self.tls.clone());
            client.expect("the same settings made one when the transport was made")
        })
    }
}
