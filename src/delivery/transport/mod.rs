//! One POST, and how it went.
//!
//! | part | purpose |
//! |---|---|
//! | [`Post`] | the interface for the dispatcher; tests replace it by a scripted one |
//! | [`Transport`] | the real one |
//! | `call` | one exchange: send, perhaps once more, read the answer up to the cap |
//! | `answer` | what an answer says of its exchange and its connection |
//! | `progress` | how far an exchange has come, as its parts report it |
//! | [`Permit`] | asked right before the request is written |
//! | `lookup`, `resolver` | from a name to its addresses, and to those that may be called |
//! | `pool`, `route` | an app's connections to an origin, and to each of its addresses |
//! | `direct` | the client of an address, which bounds interim answers; behind a proxy it is reqwest's |
//! | `race` | attempts at the addresses, staggered |
//! | `own_proxy` | whether `egress.proxy` answers at all |
//! | `connector`, `tls` | the parts that a connection passes through; the first checks the dialled address |
//! | `listed`, `secp521r1`, [`ClientCertificates`] | what TLS trusts, offers and shows beyond rustls' defaults |
//! | `url_cache` | URLs that were judged before |
//! | [`WorkerCache`] | what a worker keeps from one exchange to the next |
//! | `fault` | a pure function from an error to where and why it broke |
//! | [`Transport::probe`] | the same POST, watched more closely; `certificate` reads what a server shows |
//!
//! Invariants:
//!
//! - [`Post::post`] never fails: what goes wrong is an [`Exchange`].
//! - One deadline covers the whole exchange: name, connection, a second sending, body. (Behind a proxy, another
//!   second may find out whose silence it was.)
//! - No two sendings are alike: the second has a body of its own, or there is none ([`Requests::again`]).
//! - No byte of a request goes to an address that the policy forbids.
//! - Nothing is written once the [`Permit`] of a request has lapsed.
//! - Nothing in a fault's words comes from a body, or from a URL's path or query.
//!
//! Absent: redirects, cookies, referers, content codings, HTTP/2, and the proxy variables of the
//! environment.

mod answer;
mod call;
mod certificate;
mod client;
mod client_certificates;
mod connector;
mod direct;
mod fault;
mod listed;
mod lookup;
mod own_proxy;
mod permit;
mod pool;
mod probe;
mod progress;
mod race;
mod resolver;
mod retry_after;
mod route;
mod secp521r1;
mod tls;
mod url_cache;
mod worker_cache;

#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use certificate::{Certificate, NAMES_MAX};
pub use client::{Resolver, Transport, TransportError, TransportSettings};
pub use client_certificates::ClientCertificates;
pub use lookup::{DnsLookup, Lookup, LookupError, LookupFailure, SystemLookup};
pub use permit::{Permit, Refusal};
pub use probe::{Chain, Distrust, DistrustReason, ProbeReport, TlsReport};
pub use tls::{TlsError, accepted_cipher_suites};
pub use worker_cache::WorkerCache;

pub use crate::domain::PhaseTimes;

use crate::domain::Exchange;

/// Sends one callback.
#[async_trait]
pub trait Post: Debug + Send + Sync + 'static {
    /// POSTs `body` as JSON to `url` and reads the answer. Never longer than the deadline, never
    /// an `Err`: how it went is data.
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport;

    /// Why nothing would be sent to `url`, as far as that is known before names are resolved.
    fn check_url(&self, _url: &str) -> Result<(), String> {
        Ok(())
    }

    /// The same for a worker that keeps `cache`, on behalf of `app_id`: no connection is shared between
    /// apps. An implementation without a network may ignore these, and send once.
    async fn post_with_cache(
        &self,
        _cache: &mut WorkerCache,
        _app_id: &str,
        url: &str,
        requests: Requests<'_>,
    ) -> PostReport {
        self.post(url, requests.first).await
    }
}

/// What an exchange may write.
pub struct Requests<'a> {
    /// The body of the first sending.
    pub first: Vec<u8>,
    /// Makes the body of a second sending, when the first met a kept connection that the other side was
    /// closing. With `None` nothing is sent again.
    pub again: &'a mut (dyn FnMut() -> Option<Vec<u8>> + Send),
    /// Asked right before either is written: nothing is, if it is refused.
    pub permit: Option<Arc<Permit>>,
}

impl Debug for Requests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}

/// The result of a [`Post`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostReport {
    /// How it went.
    pub exchange: Exchange,
    /// How long each stage took.
    pub phases: PhaseTimes,
    /// For how long the answer asks to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}
