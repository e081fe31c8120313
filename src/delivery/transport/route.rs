//! The way to one address of an origin: a reqwest client of its own, which dials nothing else.
//!
//! reqwest keeps connections and TLS sessions by host name. With a client for each app, origin and address
//! they are kept by these.

#![expect(
    clippy::disallowed_types,
    reason = "this is where merchants are called from"
)]

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls::ClientConfig;

use super::connector::WatchLayer;
use super::resolver::{PinnedResolver, ProxyResolver};

/// Whose requests they are, unless the settings say otherwise.
pub(super) const USER_AGENT: &str = concat!("callback-dispatcher/", env!("CARGO_PKG_VERSION"));

/// Merchants' servers close idle connections: gunicorn after 2 s, Node and Apache after 5 s.
/// Giving them up sooner makes it rare that a request meets a closed one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// More than are ever in flight to one merchant, so that none is closed for want of room.
const POOL_IDLE_PER_HOST_MAX: usize = 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON is preferred, but anything is taken: frameworks refuse with 406 what they can't answer in a
/// type that is asked for, and the type of an answer means nothing to us.
const JSON_OR_ANYTHING: HeaderValue = HeaderValue::from_static("application/json, */*");

/// What makes clients.
#[derive(Debug)]
pub(super) struct ClientMaker {
    pub(super) watch: WatchLayer,
    pub(super) user_agent: String,
    pub(super) proxy: Option<reqwest::Proxy>,
    /// What resolves names for the proxy.
    pub(super) proxy_resolver: Arc<ProxyResolver>,
}

impl ClientMaker {
    /// A client that dials `address`, or the proxy.
    pub(super) fn client(
        &self,
        address: Option<IpAddr>,
        tls: ClientConfig,
    ) -> Result<Client, reqwest::Error> {
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
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .connector_layer(self.watch.clone())
            .tls_backend_preconfigured(tls);
        builder = match address {
            Some(address) => builder.dns_resolver(Arc::new(PinnedResolver(address))),
            None => builder.dns_resolver(Arc::clone(&self.proxy_resolver)),
        };
        builder = match self.user_agent.as_str() {
            // Each request has a copy: this one has no count that all of them would share.
            USER_AGENT => builder.user_agent(HeaderValue::from_static(USER_AGENT)),
            other => builder.user_agent(other),
        };
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build()
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
