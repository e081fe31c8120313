//! The system's resolver: getaddrinfo, with everything that `nsswitch.conf` names.
//!
//! getaddrinfo blocks a thread and can't be cancelled. If the name servers are silent, that takes
//! 10 s and longer, well after the exchange has given up. A few such names would block all threads,
//! and other lookups would queue. So a name is asked for once at a time: later callers wait for the same
//! answer, and a name blocks one thread at most.
//!
//! Absent: a cache. The system's resolver decides how long an answer is kept.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hickory_resolver::proto::rr::Name;
use tokio::sync::watch;

use super::hosts::HostsFile;
use super::{Lookup, LookupError, LookupFailure};

/// What getaddrinfo says when it could not find out: EAI_AGAIN and EAI_MEMORY of glibc, then of
/// musl.
///
/// std turns getaddrinfo's codes into an `io::Error` without code or public kind, "failed to
/// lookup address information: {gai_strerror}", so the text is all there is. It is not
/// translated, because a Rust program never calls setlocale. EAI_SYSTEM comes as the errno
/// behind it. EAI_NONAME, EAI_NODATA and EAI_FAIL are answers, and bad ones for the merchant.
const COULD_NOT_FIND_OUT: [&str; 4] = [
    "Temporary failure in name resolution",
    "Memory allocation failure",
    "Try again",
    "Out of memory",
];

/// The system's resolver.
#[derive(Debug)]
pub struct SystemLookup(JoinedLookup);

impl Default for SystemLookup {
    fn default() -> Self {
        Self(JoinedLookup::new(Arc::new(Getaddrinfo {
            hosts: HostsFile::at("/etc/hosts"),
        })))
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        self.0.lookup(name).await
    }
}

#[derive(Debug)]
struct Getaddrinfo {
    hosts: HostsFile,
}

#[async_trait]
impl Lookup for Getaddrinfo {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        // The final dot keeps search domains out of it, and the hosts file too, so that is read first.
        if let Ok(name) = Name::from_ascii(name) {
            let addresses = self.hosts.addresses(&name);
            if !addresses.is_empty() {
                return Ok(addresses);
            }
        }
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let found = tokio::net::lookup_host((absolute.as_str(), 0)).await;
        let addresses = found.map_err(|error| said(&error))?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

fn said(error: &io::Error) -> LookupError {
    let words = error.to_string();
    let failure = match error.raw_os_error() {
        // A number is the operating system's, and no answer of the resolver.
        Some(_) => LookupFailure::Local,
        None if COULD_NOT_FIND_OUT.iter().any(|end| words.ends_with(end)) => {
            LookupFailure::ServerFailure
        }
        None => LookupFailure::NoSuchName,
    };
    let words = words.split(" (os error ").next().unwrap_or(&words);
    LookupError::new(failure, words)
}

type Answer = Result<Vec<IpAddr>, LookupError>;
type Awaited = watch::Receiver<Option<Answer>>;

/// Asks another lookup, for each name once at a time.
#[derive(Debug)]
struct JoinedLookup {
    inner: Arc<dyn Lookup>,
    asked: Arc<Mutex<HashMap<String, Awaited>>>,
}

impl JoinedLookup {
    fn new(inner: Arc<dyn Lookup>) -> Self {
        Self {
            inner,
            asked: Arc::default(),
        }
    }

    /// The answer that is under way, or a new one.
    fn ask(&self, name: &str) -> Awaited {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose asker is gone, with its runtime or in a panic, will never come.
        if let Some(awaited) = asked.get(name).filter(|it| it.has_changed().is_ok()) {
            return awaited.clone();
        }
        let (answer, awaited) = watch::channel(None);
        asked.insert(name.to_owned(), awaited.clone());
        let (inner, asked, name) = (
            Arc::clone(&self.inner),
            Arc::clone(&self.asked),
            name.to_owned(),
        );
        // A task of its own: the exchange that asked first may give up before the others.
        tokio::spawn(async move {
            let found = inner.lookup(&name).await;
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.remove(&name);
            answer.send_replace(Some(found));
        });
        awaited
    }

    async fn lookup(&self, name: &str) -> Answer {
        let mut awaited = self.ask(name);
        match awaited.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone(),
            Ok(None) | Err(_) => Err(LookupError::new(
                LookupFailure::Local,
                "the lookup was broken off",
            )),
        }
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
        async fn lookup(&self, name: &str) -> Answer {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answers.acquire().await.expect("it is not closed");
            answer.forget();
            match name {
                "broken.test" => Err(said(&io::Error::from_raw_os_error(24))),
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

    #[test]
    fn getaddrinfos_words_tell_an_answer_from_a_failure() {
        use LookupFailure as Failure;
        let table = [
            (
                "Temporary failure in name resolution",
                Failure::ServerFailure,
            ),
            ("Try again", Failure::ServerFailure),
            ("Memory allocation failure", Failure::ServerFailure),
            ("Name or service not known", Failure::NoSuchName),
            ("Name does not resolve", Failure::NoSuchName),
            ("No address associated with hostname", Failure::NoSuchName),
            (
                "Non-recoverable failure in name resolution",
                Failure::NoSuchName,
            ),
        ];
        for (words, failure) in table {
            let words = format!("failed to lookup address information: {words}");
            let error = said(&io::Error::other(words.clone()));
            assert_eq!(error, LookupError::new(failure, words));
        }
        let error = said(&io::Error::from_raw_os_error(24));
        let expected = LookupError::new(Failure::Local, "Too many open files");
        assert_eq!(error, expected);
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
            assert_eq!(failed.expect_err("it fails").failure, LookupFailure::Local);
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
