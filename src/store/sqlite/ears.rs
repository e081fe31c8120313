//! What inotify is asked to tell, and when it is better not asked.
//!
//! A commit is some hundred writes to the `-wal` file, and each of them is told: to make an event and
//! wake its reader costs more than the write itself. So the ears are covered while this process
//! writes, as nobody else can then, and from the first write of another process on, as its commit is
//! looked for anyway. Whoever uncovers them looks once more: what was written meanwhile made no
//! sound.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use inotify::{Inotify, WatchMask, Watches};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::arrivals;
use crate::store::StoreError;

/// Covered or not, and what has been heard.
#[derive(Debug, Default)]
pub(super) struct Ears {
    state: Mutex<State>,
    /// The number that changes with others' commits, when it was last looked at.
    version: AtomicI64,
    /// Another process has committed.
    pub(super) nudge: Notify,
    /// Another process has written something.
    pub(super) written: Notify,
    /// This process has ended a transaction.
    pub(super) wrote: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// `None` where inotify can't be had.
    watched: Option<Watched>,
    is_writing: bool,
    is_covered: bool,
    /// Transactions of this process.
    writes: u64,
}

impl State {
    const fn is_deaf(&self) -> bool {
        self.is_writing || self.is_covered
    }
}

#[derive(Debug)]
struct Watched {
    watches: Watches,
    folder: PathBuf,
}

impl Watched {
    fn listen(&mut self) -> io::Result<()> {
        let mask = WatchMask::MODIFY | WatchMask::CREATE;
        self.watches.add(&self.folder, mask).map(|_| ())
    }

    /// A watch that is kept costs less than one that is made again.
    fn be_deaf(&mut self) -> io::Result<()> {
        let mask = WatchMask::CREATE;
        self.watches.add(&self.folder, mask).map(|_| ())
    }
}

impl Ears {
    /// Listens to `folder` by `inotify`.
    pub(super) fn open(&self, inotify: &Inotify, folder: PathBuf) -> io::Result<()> {
        let mut watched = Watched {
            watches: inotify.watches(),
            folder,
        };
        watched.listen()?;
        self.state().watched = Some(watched);
        Ok(())
    }

    /// This process holds the write lock.
    pub(super) fn write_begins(&self) {
        self.change(|state| state.is_writing = true);
    }

    /// It has given it back, whatever became of the transaction.
    pub(super) fn write_ended(&self) {
        self.change(|state| {
            state.is_writing = false;
            state.writes += 1;
        });
        self.wrote.notify_one();
    }

    /// Another process has begun to write.
    pub(super) fn cover(&self) {
        let mut is_news = false;
        self.change(|state| is_news = !std::mem::replace(&mut state.is_covered, true));
        if is_news {
            self.written.notify_one();
        }
    }

    /// Its commit has been seen, or is awaited no more.
    pub(super) fn uncover(&self) {
        self.change(|state| state.is_covered = false);
    }

    /// Whether this process is in a transaction.
    pub(super) fn is_writing(&self) -> bool {
        self.state().is_writing
    }

    /// How many transactions this process has ended.
    pub(super) fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Whether another process has committed since the last call; nudges if so.
    pub(super) fn look(&self, db: &Connection) -> Result<bool, StoreError> {
        let version = arrivals::data_version(db)?;
        let is_new = self.version.swap(version, Ordering::AcqRel) != version;
        if is_new {
            self.nudge.notify_one();
        }
        Ok(is_new)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let was_deaf = state.is_deaf();
        change(&mut state);
        let is_deaf = state.is_deaf();
        if is_deaf == was_deaf {
            return;
        }
        let Some(watched) = &mut state.watched else {
            return;
        };
        let changed = match is_deaf {
            true => watched.be_deaf(),
            false => watched.listen(),
        };
        if let Err(error) = changed {
            tracing::debug!(%error, "inotify does not take it; the next poll looks for new rows");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file in the folder and returns how many events that made.
    fn heard(inotify: &mut Inotify, folder: &std::path::Path) -> usize {
        std::fs::write(folder.join("queue.db-wal"), "once more").expect("it can be written");
        match inotify.read_events(&mut [0; 4096]) {
            Ok(events) => events.count(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn nothing_is_heard_while_this_process_writes_or_another_was_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        std::fs::write(folder.join("queue.db-wal"), "").expect("it can be written");
        let mut inotify = Inotify::init().expect("inotify");
        let ears = Ears::default();
        ears.open(&inotify, folder.to_owned()).expect("a watch");
        assert_ne!(heard(&mut inotify, folder), 0);

        ears.write_begins();
        assert_eq!(heard(&mut inotify, folder), 0, "in a transaction");
        ears.cover();
        ears.write_ended();
        assert_eq!(heard(&mut inotify, folder), 0, "another one was heard");
        ears.uncover();
        assert_ne!(heard(&mut inotify, folder), 0, "open again");
    }
}
