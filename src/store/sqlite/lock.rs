//! One dispatcher per file: an OS lock on a file beside the database.
//!
//! The kernel drops the lock when its holder dies, however it dies, so there is never a stale one
//! to judge by its age. That is what lets start-up take over everything in flight.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::domain::visible;
use crate::store::OpenError;

/// The locks of the whole system, one a line: proc_locks(5).
const SYSTEM_LOCKS: &str = "/proc/locks";

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
            // Others may write in this directory: a link of theirs must not lead to another file.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
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
                    // Others may write the file, and the message goes to a terminal.
                    note => visible(note).into_owned(),
                };
                return Err(OpenError::Held { path, holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if let Err(error) = write_note(&mut file, holder) {
            // The lock is held all the same: a full disk is no reason not to start.
            tracing::warn!(%error, "the lock file has no note of this dispatcher");
        }
        Ok(Self { _file: file })
    }
}

fn write_note(file: &mut File, holder: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")
}

/// Whether a process holds the lock of the database at `database`. Looks at the system's list of
/// locks instead of trying the lock, which could keep a dispatcher from starting.
///
/// # Errors
///
/// The file or the list can't be read.
pub fn has_dispatcher(database: &Path) -> io::Result<bool> {
    let inode = match fs::symlink_metadata(lock_path(database)) {
        Ok(metadata) => metadata.ino(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let locks = fs::read_to_string(SYSTEM_LOCKS)?;
    Ok(locks.lines().any(|line| is_lock_of(line, inode)))
}

/// Whether `line` of the system's list is a whole-file lock of the file with this inode. The device
/// is not compared: with overlay file systems it is another one than that of the file's metadata.
fn is_lock_of(line: &str, inode: u64) -> bool {
    let mut words = line.split_whitespace();
    let is_whole_file = words.nth(1) == Some("FLOCK");
    let file = words.nth(3);
    let locked = file.and_then(|file| file.rsplit(':').next());
    is_whole_file && locked == Some(inode.to_string().as_str())
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
    fn a_link_in_place_of_the_lock_is_refused_and_its_target_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, target) = (folder.path().join("queue.db"), folder.path().join("other"));
        fs::write(&target, "another program's").expect("room");
        std::os::unix::fs::symlink(&target, lock_path(&database)).expect("room for a link");
        match InstanceLock::acquire(&database, "pid 1") {
            Err(OpenError::File { path, .. }) => assert_eq!(path, lock_path(&database)),
            other => panic!("{other:?}"),
        }
        let kept = fs::read_to_string(&target).expect("it is there");
        assert_eq!(kept, "another program's");
    }

    #[test]
    fn a_full_disk_leaves_no_note() {
        let mut full = OpenOptions::new();
        let mut full = full.write(true).open("/dev/full").expect("a device");
        assert!(write_note(&mut full, "pid 1").is_err());
    }

    #[test]
    fn the_holders_note_can_not_command_a_terminal() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("queue.db");
        let _first = InstanceLock::acquire(&database, "pid 1").expect("free");
        fs::write(lock_path(&database), "evil\u{1b}[2J\n").expect("room");
        match InstanceLock::acquire(&database, "pid 2") {
            Err(OpenError::Held { holder, .. }) => assert_eq!(holder, "evil␛[2J"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whether_the_lock_is_held_can_be_asked_without_taking_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("queue.db");
        let asked = || has_dispatcher(&database).expect("it can be asked");
        assert!(!asked(), "no file yet");
        let lock = InstanceLock::acquire(&database, "pid 1").expect("free");
        assert!(asked());
        drop(lock);
        assert!(!asked(), "the file stays");
        let line = "12: FLOCK  ADVISORY  WRITE 708 fe:10:1234 0 EOF";
        assert!(is_lock_of(line, 1234));
        assert!(!is_lock_of(line, 234));
        assert!(!is_lock_of(
            "1: POSIX  ADVISORY  WRITE 708 fe:10:1234 0 EOF",
            1234
        ));
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
