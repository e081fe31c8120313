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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

pub use dns::DnsLookup;
pub use system::SystemLookup;

use super::progress::Progress;
use crate::clock::Stopwatch;
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
    /// The same as the two before, of a name whose own name servers are to blame: other names resolve.
    OfTheName,
    /// This host could not ask: no resolver in reach, no file descriptor.
    Local,
}

impl LookupError {
    /// One with words for people.
    pub fn new(failure: LookupFailure, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { failure, detail }
    }

    /// Whether this host or its resolver is to blame, as far as known.
    pub(super) const fn is_local(&self) -> bool {
        use LookupFailure as Failure;
        match self.failure {
            Failure::NoSuchName | Failure::NoAddress | Failure::OfTheName => false,
            Failure::ServerFailure | Failure::NoAnswer | Failure::Local => true,
        }
    }
}

/// How long an answer for one name shows that the resolver is well.
const WELL_FOR: Duration = Duration::from_secs(10);

/// What exchanges ask.
#[derive(Debug)]
pub(super) struct Lookups {
    inner: Arc<dyn Lookup>,
    shares: Shares,
    answers: Mutex<Answers>,
}

impl Lookups {
    pub(super) fn new(inner: Arc<dyn Lookup>) -> Self {
        Self {
            inner,
            shares: Shares::default(),
            answers: Mutex::default(),
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
        let found = self.inner.lookup(name).await;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = answers.examine(name, found)?;
        match addresses.is_empty() {
            true => Err(LookupError::new(
                LookupFailure::NoAddress,
                "the name has no address",
            )),
            false => Ok(addresses),
        }
    }
}

/// Whether the resolver answers at all.
///
/// A resolver that could not find out can mean that it is broken itself, or the merchant's name servers.
/// If it has just answered for another name, the name servers are to blame. An earlier answer for the same
/// name proves nothing: it may have come from a cache.
#[derive(Debug, Default)]
struct Answers {
    /// The newest answer, even if it was that the name does not exist.
    newest: Option<Answered>,
    /// The newest answer about another name than `newest`.
    newest_other: Option<Answered>,
}

#[derive(Debug)]
struct Answered {
    name: String,
    age: Stopwatch,
}

impl Answers {
    fn examine(
        &mut self,
        name: &str,
        found: Result<Vec<IpAddr>, LookupError>,
    ) -> Result<Vec<IpAddr>, LookupError> {
        use LookupFailure as Failure;
        match found {
            Err(error) if matches!(error.failure, Failure::ServerFailure | Failure::NoAnswer) => {
                match self.others_resolve(name) {
                    true => Err(LookupError::new(
                        Failure::OfTheName,
                        format!(
                            "{error}; other names resolve, so it is the name servers of this one"
                        ),
                    )),
                    false => Err(error),
                }
            }
            Err(error) if error.failure == Failure::Local => Err(error),
            answer => {
                self.note_answer(name);
                answer
            }
        }
    }

    fn others_resolve(&self, name: &str) -> bool {
        let answers = [&self.newest, &self.newest_other];
        let mut others = answers.into_iter().flatten().filter(|it| it.name != name);
        others.any(|other| other.age.elapsed() < WELL_FOR)
    }

    fn note_answer(&mut self, name: &str) {
        let answered = Answered {
            name: name.to_owned(),
            age: Stopwatch::start(),
        };
        let previous = self.newest.replace(answered);
        if let Some(other) = previous.filter(|previous| previous.name != name) {
            self.newest_other = Some(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<Vec<IpAddr>, LookupError> {
        let words = "the resolver could not find out (SERVFAIL)";
        Err(LookupError::new(LookupFailure::ServerFailure, words))
    }

    fn found() -> Result<Vec<IpAddr>, LookupError> {
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }

    #[test]
    fn a_failure_is_the_names_own_when_others_resolve() {
        let mut answers = Answers::default();
        let error = answers.examine("servfail.test", failed());
        assert!(error.expect_err("it fails").is_local());
        answers.examine("one.test", found()).expect("an answer");
        let error = answers.examine("servfail.test", failed());
        let error = error.expect_err("it fails");
        assert_eq!(error.failure, LookupFailure::OfTheName);
        assert!(!error.is_local());
        assert_eq!(
            error.to_string(),
            "the resolver could not find out (SERVFAIL); \
             other names resolve, so it is the name servers of this one"
        );
    }

    #[test]
    fn an_earlier_answer_for_the_same_name_does_not_vouch_for_the_resolver() {
        let mut answers = Answers::default();
        answers.examine("flaky.test", found()).expect("an answer");
        let error = answers.examine("flaky.test", failed());
        assert!(error.expect_err("it fails").is_local());
        // What another name's answer proves, a later one of the name itself does not undo.
        answers.examine("one.test", found()).expect("an answer");
        answers.examine("flaky.test", found()).expect("an answer");
        let error = answers.examine("flaky.test", failed());
        assert!(!error.expect_err("it fails").is_local());
    }

    #[test]
    fn that_a_name_does_not_exist_is_an_answer_and_a_local_failure_is_none() {
        let mut answers = Answers::default();
        let local = LookupError::new(LookupFailure::Local, "no resolver in reach");
        let _ = answers.examine("one.test", Err(local));
        assert!(!answers.others_resolve("two.test"));
        let unknown = LookupError::new(LookupFailure::NoSuchName, "the name does not exist");
        let _ = answers.examine("one.test", Err(unknown));
        assert!(answers.others_resolve("two.test"));
    }

    #[test]
    fn answers_of_two_names_vouch_for_each_other() {
        let mut answers = Answers::default();
        for name in ["one.test", "two.test", "two.test"] {
            answers.note_answer(name);
        }
        for name in ["one.test", "two.test", "three.test"] {
            assert!(answers.others_resolve(name), "{name}");
        }
    }
}
