//! Asking for a name's addresses.
//!
//! getaddrinfo blocks a thread and can't be cancelled. If the name servers are silent, that takes
//! 10 s and longer, well after the exchange has given up. A few such names would block all threads,
//! and other lookups would queue. So [`JoinedLookup`] asks for a name once at a time: later callers
//! wait for the same answer, and a name blocks one thread at most.
//!
//! "Temporary failure in name resolution" can mean our resolver or the merchant's name servers. If
//! the resolver has just answered for another name, the name servers are to blame, and the error
//! says so. An earlier answer for the same name proves nothing: it may have come from a cache.
//!
//! Absent: a cache. The system's resolver decides how long an answer is kept.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::fault::is_lookup_failed_here;
use crate::clock::Stopwatch;

/// Looks names up. Tests implement rebinding, broken and hanging resolvers.
#[async_trait]
pub trait Lookup: Debug + Send + Sync + 'static {
    /// Every address of `name`.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver, with its hosts file, search list and caches.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((name, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

type Answer = Result<Vec<IpAddr>, Arc<io::Error>>;
type Awaited = watch::Receiver<Option<Answer>>;

/// How long an answer for one name shows that the resolver is well.
const WELL_FOR: Duration = Duration::from_secs(10);

/// Asks another lookup, for each name once at a time.
#[derive(Debug)]
pub(super) struct JoinedLookup {
    inner: Arc<dyn Lookup>,
    asked: Arc<Mutex<Asked>>,
}

#[derive(Debug, Default)]
struct Asked {
    /// The names that are being asked for.
    names: HashMap<String, Awaited>,
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

impl Asked {
    /// Tells broken name servers of `name` from a broken resolver of ours.
    fn examine(&mut self, name: &str, found: io::Result<Vec<IpAddr>>) -> io::Result<Vec<IpAddr>> {
        match found {
            Err(error) if is_lookup_failed_here(&error) => match self.others_resolve(name) {
                true => Err(io::Error::other(format!(
                    "{error}; other names resolve, so it is the name servers of this one"
                ))),
                false => Err(error),
            },
            // A number is the operating system's, and no answer of the resolver.
            Err(error) if error.raw_os_error().is_some() => Err(error),
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

impl JoinedLookup {
    pub(super) fn new(inner: Arc<dyn Lookup>) -> Self {
        Self {
            inner,
            asked: Arc::default(),
        }
    }

    /// The answer that is under way, or a new one.
    fn ask(&self, name: &str) -> Awaited {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose asker is gone, with its runtime or in a panic, will never come.
        if let Some(awaited) = asked.names.get(name).filter(|it| it.has_changed().is_ok()) {
            return awaited.clone();
        }
        let (answer, awaited) = watch::channel(None);
        asked.names.insert(name.to_owned(), awaited.clone());
        let (inner, asked, name) = (
            Arc::clone(&self.inner),
            Arc::clone(&self.asked),
            name.to_owned(),
        );
        // A task of its own: the exchange that asked first may give up before the others.
        tokio::spawn(async move {
            let found = inner.lookup(&name).await;
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            let found = asked.examine(&name, found).map_err(Arc::new);
            asked.names.remove(&name);
            answer.send_replace(Some(found));
        });
        awaited
    }
}

#[async_trait]
impl Lookup for JoinedLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut awaited = self.ask(name);
        match awaited.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(addresses.clone()),
            Ok(Some(Err(error))) => Err(copy(error)),
            Ok(None) | Err(_) => Err(io::Error::other("the lookup was broken off")),
        }
    }
}

/// The same number, or the same kind and words: what faults are told apart by.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers when it may, and counts how often it was asked.
    #[derive(Debug)]
    struct SlowLookup {
        asked: AtomicUsize,
        answers: Semaphore,
    }

    #[async_trait]
    impl Lookup for SlowLookup {
        async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answers.acquire().await.expect("it is not closed");
            answer.forget();
            match name {
                "broken.test" => Err(io::Error::from_raw_os_error(24)),
                "flaky.test" if asked == 0 => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
                "servfail.test" | "flaky.test" => Err(io::Error::other(
                    "failed to lookup address information: Temporary failure in name resolution",
                )),
                "panics.test" => panic!("as it was told"),
                _ => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
            }
        }
    }

    fn slow() -> (Arc<SlowLookup>, JoinedLookup) {
        let slow = Arc::new(SlowLookup {
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(0),
        });
        (Arc::clone(&slow), JoinedLookup::new(slow))
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_at_a_time() {
        let (slow, joined) = slow();
        let answer_both = async {
            tokio::task::yield_now().await;
            slow.answers.add_permits(2);
        };
        let (one, same, other, ()) = tokio::join!(
            joined.lookup("one.test"),
            joined.lookup("one.test"),
            joined.lookup("other.test"),
            answer_both,
        );
        assert_eq!(one.expect("an answer"), same.expect("an answer"));
        assert!(other.is_ok());
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
        // No answer is kept.
        slow.answers.add_permits(1);
        assert!(joined.lookup("one.test").await.is_ok());
        assert_eq!(slow.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_does_not_cancel_the_lookup() {
        let (slow, joined) = slow();
        {
            let mut given_up = std::pin::pin!(joined.lookup("one.test"));
            assert!(futures_util::poll!(given_up.as_mut()).is_pending());
        }
        slow.answers.add_permits(1);
        assert!(joined.lookup("one.test").await.is_ok());
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn every_caller_gets_the_failure() {
        let (slow, joined) = slow();
        slow.answers.add_permits(1);
        let (one, same) = tokio::join!(joined.lookup("broken.test"), joined.lookup("broken.test"));
        for failed in [one, same] {
            assert_eq!(failed.expect_err("it fails").raw_os_error(), Some(24));
        }
    }

    #[tokio::test]
    async fn a_temporary_failure_is_the_names_own_when_others_resolve() {
        let (slow, joined) = slow();
        slow.answers.add_permits(3);
        let failed = joined.lookup("servfail.test").await;
        assert!(is_lookup_failed_here(&failed.expect_err("it fails")));
        joined.lookup("one.test").await.expect("an answer");
        let failed = joined.lookup("servfail.test").await.expect_err("it fails");
        assert!(!is_lookup_failed_here(&failed));
        assert_eq!(
            failed.to_string(),
            "failed to lookup address information: Temporary failure in name resolution; \
             other names resolve, so it is the name servers of this one"
        );
    }

    #[tokio::test]
    async fn an_earlier_answer_for_the_same_name_does_not_vouch_for_the_resolver() {
        let (slow, joined) = slow();
        slow.answers.add_permits(4);
        joined.lookup("flaky.test").await.expect("its first answer");
        let failed = joined.lookup("flaky.test").await.expect_err("it fails");
        assert!(is_lookup_failed_here(&failed), "{failed}");
        // What another name's answer proves, a later one of the name itself does not undo.
        joined.lookup("one.test").await.expect("an answer");
        let failed = joined.lookup("flaky.test").await.expect_err("it fails");
        assert!(!is_lookup_failed_here(&failed), "{failed}");
    }

    #[test]
    fn answers_of_two_names_vouch_for_each_other() {
        let mut asked = Asked::default();
        for name in ["one.test", "two.test", "two.test"] {
            asked.note_answer(name);
        }
        for name in ["one.test", "two.test", "three.test"] {
            assert!(asked.others_resolve(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_lookup_that_panicked_is_made_again() {
        let (slow, joined) = slow();
        slow.answers.add_permits(2);
        for asked in 1..=2 {
            let failed = joined.lookup("panics.test").await.expect_err("it fails");
            assert_eq!(failed.to_string(), "the lookup was broken off");
            assert_eq!(slow.asked.load(Ordering::SeqCst), asked);
        }
    }
}
