//! One POST, and how it went.
//!
//! | who | what |
//! |---|---|
//! | [`Post`] | what the dispatcher asks for; tests put a scripted one in its place |
//! | [`Transport`] | the real one, on reqwest |
//! | `call` | one exchange: send, perhaps once more, read the answer up to the cap |
//! | `trace` | how far an exchange has come, told by those it passes through |
//! | [`Permit`] | asked right before the request is written |
//! | `connector`, `resolver`, `tls` | what it passes through; each checks the egress policy in its place |
//! | `targets` | URLs that were judged before |
//! | [`Line`] | what a courier keeps between one exchange and the next |
//! | `lookup` | asks the system for addresses, for each name once at a time |
//! | `fault` | a pure function from an error to where and why it broke |
//! | [`Transport::probe`] | the same POST, watched more closely; `certificate` reads what a server shows |
//!
//! Invariants:
//!
//! - [`Post::post`] never fails: what goes wrong is an [`Exchange`].
//! - One deadline covers the whole exchange: name, connection, a second sending, body.
//! - No byte of a request goes to an address that the policy forbids.
//! - Nothing is written once the [`Permit`] of a request has lapsed.
//! - Nothing in a fault's words comes from a body, or from a URL's path or query.
//!
//! Absent: redirects, cookies, referers, content codings, HTTP/2, and the proxy variables of the
//! environment.

mod call;
mod certificate;
mod client;
mod connector;
mod fault;
mod line;
mod lookup;
mod permit;
mod probe;
mod resolver;
mod targets;
mod tls;
mod trace;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

pub use certificate::{Certificate, NAMES_MAX};
pub use client::{Transport, TransportError, TransportSettings};
pub use line::Line;
pub use lookup::{Lookup, SystemLookup};
pub use permit::{Permit, Refusal};
pub use probe::{Chain, Distrust, DistrustReason, ProbeReport, TlsReport};
pub use tls::TlsError;

pub use crate::domain::PhaseTimes;

use crate::domain::Exchange;

/// Sends one callback.
#[async_trait]
pub trait Post: Debug + Send + Sync + 'static {
    /// POSTs `body` as JSON to `url` and reads the answer. Never longer than the deadline, never
    /// an `Err`: how it went is data.
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport;

    /// The same for a courier, that has posted along `line` before, and unless `permit` is refused
    /// right before the request is written. Whoever sends nothing over a network need not look at
    /// either.
    async fn post_along(
        &self,
        _line: &mut Line,
        url: &str,
        body: Vec<u8>,
        _permit: Option<Arc<Permit>>,
    ) -> PostReport {
        self.post(url, body).await
    }
}

/// What a [`Post`] brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostReport {
    /// How it went.
    pub exchange: Exchange,
    /// How long each stage took.
    pub phases: PhaseTimes,
    /// Whether the body was sent a second time, because the first connection, kept from an
    /// earlier exchange, was closed by the other side.
    pub resent: bool,
}
