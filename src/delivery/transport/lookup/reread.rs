//! What a file of the system says, read again when it has changed.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::Stopwatch;

/// How long a change may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A file, and what was made of it.
#[derive(Debug)]
pub(super) struct Reread<T> {
    path: PathBuf,
    make: fn(&[u8]) -> T,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    changed_at: Option<SystemTime>,
    looked: Stopwatch,
    made: Arc<T>,
}

impl<T> Reread<T> {
    /// A file that is missing or can't be read counts as empty.
    pub(super) fn new(path: impl Into<PathBuf>, make: fn(&[u8]) -> T) -> Self {
        let path = path.into();
        let state = State {
            changed_at: changed_at(&path),
            looked: Stopwatch::start(),
            made: Arc::new(make(&fs::read(&path).unwrap_or_default())),
        };
        Self {
            path,
            make,
            state: Mutex::new(state),
        }
    }

    /// What the file says now, or said at most [`LOOK_EVERY`] ago.
    pub(super) fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Stopwatch::start();
            let changed_at = changed_at(&self.path);
            if changed_at != state.changed_at {
                state.changed_at = changed_at;
                let bytes = fs::read(&self.path).unwrap_or_default();
                state.made = Arc::new((self.make)(&bytes));
            }
        }
        Arc::clone(&state.made)
    }
}

fn changed_at(path: &PathBuf) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_noticed_and_a_missing_file_is_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        let file = Reread::new(&path, <[u8]>::to_vec);
        assert_eq!(*file.current(), b"");
        fs::write(&path, "nameserver 192.0.2.1").expect("written");
        assert_eq!(*file.current(), b"", "it is not looked at each time");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*file.current(), b"nameserver 192.0.2.1");
    }
}
