//! From a name to its addresses.
//!
//! | part | purpose |
//! |---|---|
//! | [`Lookup`] | the interface; tests replace it by scripted resolvers |
//! | [`DnsLookup`] | asks the name servers of `resolv.conf` itself, as `egress.resolver = "dns"` says |
//! | [`SystemLookup`] | asks the system, by getaddrinfo, as `egress.resolver = "system"` says |
//! | `Lookups` | what an exchange asks: an app's share, and whose fault a failure is |
//!
//! Invariants:
//!
//! - A lookup ends with its exchange: a future that is dropped asks nothing more. (Of getaddrinfo, only the
//!   wait ends.)
//! - An app has at most 64 lookups under way for names that have not resolved before, so silent name
//!   servers of one app's merchants leave the resolver to the others.
//!
//! Absent: search domains. A callback URL's name is absolute; with `search` a name that has vanished could
//! resolve to a host of our own network.

mod dns;
mod hosts;
mod reread;
mod shares;
mod system;

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

pub use dns::DnsLookup;
pub use system::SystemLookup;

use super::progress::Progress;
use shares::Shares;

/// Looks names up. Tests implement rebinding, broken and hanging resolvers.
#[async_trait]
pub trait Lookup: Debug + Send + Sync + 'static {
    /// Every address of `name`.
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError>;
}

/// Why a lookup brought no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LookupError {
    /// What kind of failure it is.
    pub failure: LookupFailure,
    /// The same in words.
    pub detail: String,
}

/// What a resolver, or its silence, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFailure {
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// The name exists and has no address.
    NoAddress,
    /// The resolver has answered that it could not find out (SERVFAIL and the like).
    ServerFailure,
    /// No resolver has answered in time.
    NoAnswer,
    /// This host could not ask: no resolver in reach, no file descriptor.
    Local,
}

impl LookupError {
    /// One with words for people.
    pub fn new(failure: LookupFailure, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { failure, detail }
    }

    /// Whether this host says so of itself. A resolver that fails or is silent may be well, and the name's own
    /// servers to blame: that it is our fault shows when no app is reached any more.
    pub(super) fn is_local(&self) -> bool {
        self.failure == LookupFailure::Local
    }
}

/// What exchanges ask.
#[derive(Debug)]
pub(super) struct Lookups {
    inner: Arc<dyn Lookup>,
    shares: Shares,
}

impl Lookups {
    pub(super) fn new(inner: Arc<dyn Lookup>) -> Self {
        Self {
            inner,
            shares: Shares::default(),
        }
    }

    /// The addresses of `name`, at least one, asked for by an exchange of `app_id`.
    pub(super) async fn addresses(
        &self,
        progress: &Progress,
        app_id: &str,
        name: &str,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let _place = self.shares.place(progress, app_id, name).await;
        let found = self.ask(name).await;
        if found.is_ok() {
            self.shares.note_resolved(name);
        }
        found
    }

    /// The same without a share.
    pub(super) async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let addresses = self.inner.lookup(name).await?;
        match addresses.is_empty() {
            true => Err(LookupError::new(
                LookupFailure::NoAddress,
                "the name has no address",
            )),
            false => Ok(addresses),
        }
    }
}
