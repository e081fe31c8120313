//! A layer around reqwest's connector: reports when a connection is wanted and when it is made, and
//! refuses one whose remote address the policy forbids.
//!
//! That check repeats those of the URL and of the resolver's answer, on the address that was really
//! dialled, and before any byte of a request is sent.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::http::Extensions;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use tower::util::ServiceExt as _;
use tower::{Layer, Service};

use super::fault;
use super::progress::{self, Ends};
use super::resolver;
use crate::delivery::egress::{Forbidden, Policy};

/// Whatever a client says of what went wrong.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Puts a [`Watched`] around a connector.
#[derive(Clone, Debug)]
pub(super) struct WatchLayer {
    /// `None` behind a proxy: what is dialled then is the proxy, which is the operator's own.
    pub(super) policy: Option<Arc<Policy>>,
}

impl<S> Layer<S> for WatchLayer {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched(Arc::new(Inner {
            connector: inner,
            policy: self.policy.clone(),
        }))
    }
}

/// A connector that reports to the progress of its exchange.
///
/// hyper clones its connector twice for each request, whether it is to connect or not. What is
/// inside is cloned only when it is called for.
#[derive(Debug)]
pub(super) struct Watched<S>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    connector: S,
    policy: Option<Arc<Policy>>,
}

impl<S> Clone for Watched<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + 'static,
    S::Response: Connection,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Response>;

    /// Each call makes itself ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        progress::connector_called();
        let connecting = self.0.connector.clone().oneshot(request);
        let policy = self.0.policy.clone();
        Box::pin(async move {
            let mut connecting = pin!(connecting);
            let connection = poll_fn(|context| {
                let polled = connecting.as_mut().poll(context);
                if !matches!(polled, Poll::Ready(Ok(_))) {
                    progress::still_connecting();
                }
                polled
            })
            .await?;
            let ends = ends(&connection.connected());
            if let Err(forbidden) = check(policy.as_deref(), ends) {
                progress::still_connecting();
                return Err(forbidden.into());
            }
            progress::connected(ends);
            Ok(connection)
        })
    }
}

fn check(policy: Option<&Policy>, ends: Option<Ends>) -> Result<(), Forbidden> {
    match (policy, ends) {
        (Some(policy), Some(ends)) => resolver::check(policy, ends.remote.ip()),
        // No ends are known of a connection that was reset at once: nothing can be sent on it.
        _ => Ok(()),
    }
}

/// The two ends of a connection, as hyper knows it.
fn ends(connected: &Connected) -> Option<Ends> {
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    extras.get::<HttpInfo>().map(ends_of)
}

/// The ends of the connection that an answer came along.
pub(super) fn ends_along(response: &reqwest::Response) -> Option<Ends> {
    response.extensions().get::<HttpInfo>().map(ends_of)
}

/// The ends of the connection that broke, if there was one.
pub(super) fn ends_in(error: &(dyn Error + 'static)) -> Option<Ends> {
    let error = fault::find::<hyper_util::client::legacy::Error>(error)?;
    ends(error.connect_info()?)
}

fn ends_of(info: &HttpInfo) -> Ends {
    Ends {
        local: info.local_addr(),
        remote: info.remote_addr(),
    }
}
