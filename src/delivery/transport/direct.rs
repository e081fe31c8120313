//! A client that dials one address itself, without a proxy.
//!
//! reqwest sees nothing of the interim answers (1xx) that may come before the answer, and hyper reads them as
//! long as there are any: a flood of them holds a thread of the runtime and is read past the deadline of the
//! exchange. Here each one costs the connection's task some of its turn, and there is an end to them
//! ([`INTERIM_MAX`]).
//!
//! Absent: the proxy, behind which reqwest's own client is used, without this bound.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter::{Once, once};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::ext::on_informational;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response};
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::task::coop;
use tower::{Layer as _, Service};
use url::Url;

use super::connector::{BoxError, WatchLayer, Watched};

/// How many interim answers are read before the answer. Servers send one or two; a slow one may say now and then
/// that it is still at work (102).
const INTERIM_MAX: usize = 100;

/// Merchants' servers close idle connections: gunicorn after 2 s, Node and Apache after 5 s.
/// Giving them up sooner makes it rare that a request meets a closed one.
pub(super) const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// More than are ever in flight to one merchant, so that none is closed for want of room.
pub(super) const POOL_IDLE_PER_HOST_MAX: usize = 1024;

/// As reqwest has it.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE_RETRIES: u32 = 3;

/// The server sent one interim answer after the other.
#[derive(Debug, thiserror::Error)]
#[error("the server sent more than {INTERIM_MAX} interim answers (1xx)")]
struct TooManyInterim;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct DirectClient {
    inner: Client<Watched<HttpsConnector<HttpConnector<Pinned>>>, Body>,
    headers: HeaderMap,
}

impl DirectClient {
    pub(super) fn new(
        address: IpAddr,
        tls: ClientConfig,
        watch: &WatchLayer,
        headers: HeaderMap,
    ) -> Self {
        let mut http = HttpConnector::new_with_resolver(Pinned(address));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        http.set_keepalive_interval(Some(TCP_KEEPALIVE));
        http.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        let inner = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            // As browsers and curl write them: some servers read only these.
            .http1_title_case_headers(true)
            .build(watch.layer(HttpsConnector::from((http, tls))));
        Self { inner, headers }
    }

    /// Sends a POST, and returns with the head of the answer.
    pub(super) async fn post(&self, url: &Url, body: Body) -> Result<Response, BoxError> {
        let mut request = hyper::Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse()?;
        *request.headers_mut() = self.headers.clone();
        let flooded = Arc::new(Notify::new());
        let floods = Arc::clone(&flooded);
        let count = AtomicUsize::new(0);
        on_informational(&mut request, move |_| {
            spend_turn();
            if count.fetch_add(1, Ordering::Relaxed) >= INTERIM_MAX {
                floods.notify_one();
            }
        });
        let answer = pin!(self.inner.request(request));
        match select(answer, pin!(flooded.notified())).await {
            Either::Left((answer, _)) => Ok(Response::from(answer?.map(Body::wrap))),
            // Dropping the request closes its connection.
            Either::Right(_) => Err(TooManyInterim.into()),
        }
    }
}

/// Takes from what the running task may do before other tasks have their turn. Once nothing is left, its next
/// read waits.
fn spend_turn() {
    if let Poll::Ready(turn) = coop::poll_proceed(&mut Context::from_waker(Waker::noop())) {
        turn.made_progress();
    }
}

/// Answers with the address that the client dials.
#[derive(Clone, Copy, Debug)]
struct Pinned(IpAddr);

impl Service<Name> for Pinned {
    type Response = Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Once<SocketAddr>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        // Port 0 stands for the URL's.
        ready(Ok(once(SocketAddr::new(self.0, 0))))
    }
}
