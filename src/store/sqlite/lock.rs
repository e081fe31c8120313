//! One dispatcher per file: an OS lock on a file beside the database.
//!
//! The kernel drops the lock when its holder dies, however it dies, so there is never a stale one
//! to judge by its age. That is what lets start-up take over everything in flight.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::store::OpenError;

#[derive(Debug)]
pub(super) struct InstanceLock {
    _file: File,
}

impl InstanceLock {
    /// Takes the lock of the database at `database` and leaves word of `holder` in it.
    pub(super) fn acquire(database: &Path, holder: &str) -> Result<Self, OpenError> {
        let path = lock_path(database);
        let failed = |source| OpenError::File {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: an unreadable note changes nothing.
                let _ = file.take(1024).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "which left no note of itself".to_owned(),
                    note => note.to_owned(),
                };
                return Err(OpenError::Held { path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{holder}"));
        if let Err(error) = noted {
            // The lock is held all the same. A disk that is full now has room again some day.
            tracing::warn!(%error, "no word of this dispatcher is left in the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_no_note_but_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("queue.db");
        std::os::unix::fs::symlink("/dev/full", lock_path(&database)).expect("room for a link");
        InstanceLock::acquire(&database, "pid 1").expect("free");
    }

    #[test]
    fn the_second_is_told_who_has_it_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("queue.db");
        let first = InstanceLock::acquire(&database, "pid 1 on alpha").expect("free");
        match InstanceLock::acquire(&database, "pid 2") {
            Err(OpenError::Held { holder, .. }) => assert_eq!(holder, "pid 1 on alpha"),
            other => panic!("{other:?}"),
        }
        drop(first);
        InstanceLock::acquire(&database, "pid 2").expect("free again");
    }
}
