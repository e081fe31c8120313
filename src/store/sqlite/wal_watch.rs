//! The inotify watch on the `-wal` file, and when it is masked.
//!
//! A commit is some hundred writes to that file, and each of them is an event: to make it and to wake
//! its reader costs more than the write itself. So the watch is masked while this process writes,
//! since no other process can then, and from the first write of another process on, since its commit
//! is polled for anyway. After the mask is lifted, the number of commits has to be read once more.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use inotify::{Inotify, WatchMask, Watches};
use rusqlite::Connection;
use tokio::sync::Notify;

use super::arrivals;
use crate::store::StoreError;

/// Whether the watch is masked, and what was noticed.
#[derive(Debug, Default)]
pub(super) struct WalWatch {
    state: Mutex<State>,
    /// The number that changes with others' commits, when it was last looked at.
    version: AtomicI64,
    /// Another process has committed.
    pub(super) changed: Notify,
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
    is_masked_for_others: bool,
    /// Transactions of this process.
    writes: u64,
}

impl State {
    const fn is_masked(&self) -> bool {
        self.is_writing || self.is_masked_for_others
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
    fn stop_listening(&mut self) -> io::Result<()> {
        let mask = WatchMask::CREATE;
        self.watches.add(&self.folder, mask).map(|_| ())
    }
}

impl WalWatch {
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
    pub(super) fn mask(&self) {
        let mut is_news = false;
        self.change(|state| is_news = !std::mem::replace(&mut state.is_masked_for_others, true));
        if is_news {
            self.written.notify_one();
        }
    }

    /// Its commit has been seen, or is awaited no more.
    pub(super) fn unmask(&self) {
        self.change(|state| state.is_masked_for_others = false);
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
            self.changed.notify_one();
        }
        Ok(is_new)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let was_masked = state.is_masked();
        change(&mut state);
        let is_masked = state.is_masked();
        if is_masked == was_masked {
            return;
        }
        let Some(watched) = &mut state.watched else {
            return;
        };
        let changed = match is_masked {
            true => watched.stop_listening(),
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
    async fn the_watch_is_masked_while_this_process_writes_and_after_another_has_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        std::fs::write(folder.join("queue.db-wal"), "").expect("it can be written");
        let mut inotify = Inotify::init().expect("inotify");
        let wal_watch = WalWatch::default();
        wal_watch
            .open(&inotify, folder.to_owned())
            .expect("a watch");
        assert_ne!(heard(&mut inotify, folder), 0);

        wal_watch.write_begins();
        assert_eq!(heard(&mut inotify, folder), 0, "in a transaction");
        wal_watch.mask();
        wal_watch.write_ended();
        assert_eq!(heard(&mut inotify, folder), 0, "another one has written");
        wal_watch.unmask();
        assert_ne!(heard(&mut inotify, folder), 0, "unmasked");
    }
}
