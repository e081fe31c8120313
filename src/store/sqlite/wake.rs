//! Hears other processes' commits: every commit writes to the `-wal` file, and inotify tells.
//!
//! Only a hint. It also fires for our own commits, it may fire for nothing, and where inotify
//! can't be had it never fires; the dispatcher's slow poll is the safety net.
//!
//! It also comes too early: SQLite writes a commit to the `-wal` file, waits for the disk, and only
//! then lets others see it, by a memory map that inotify does not watch. So every hint is repeated
//! a few times, as [`ECHOES`] has it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The waits for a commit to reach the disk after its file was last written to: a fast disk's, a
/// slow one's, and one under load.
const ECHOES: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];

/// Watches a database's folder as long as it lives.
#[derive(Debug)]
pub(super) struct Wake {
    nudge: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Wake {
    /// Begins to watch the database at `path`.
    pub(super) fn watch(path: &Path) -> Self {
        let nudge = Arc::new(Notify::new());
        let task = match events(path) {
            Ok(task) => Some(tokio::spawn(task.forward(Arc::clone(&nudge)))),
            Err(error) => {
                tracing::warn!(%error, "inotify is not available; new rows are found by polling");
                None
            }
        };
        Self { nudge, task }
    }

    /// Returns after the next nudge; one that came since the last call counts.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Events {
    inotify: Inotify,
    /// The files whose changes are commits.
    names: [OsString; 2],
}

fn events(path: &Path) -> io::Result<Events> {
    let no_folder = || io::Error::other("the database has no folder");
    let folder = path.parent().ok_or_else(no_folder)?;
    let database = path.file_name().ok_or_else(no_folder)?.to_owned();
    let mut wal = database.clone();
    wal.push("-wal");
    let inotify = Inotify::init()?;
    // The folder, not the file: the -wal file vanishes with the last connection and comes again.
    inotify
        .watches()
        .add(folder, WatchMask::MODIFY | WatchMask::CREATE)?;
    Ok(Events {
        inotify,
        names: [database, wal],
    })
}

impl Events {
    async fn forward(self, nudge: Arc<Notify>) {
        let mut stream = match self.inotify.into_event_stream([0; 4096]) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "inotify is not available; new rows are found by polling");
                return;
            }
        };
        let mut echoes = [].iter();
        loop {
            let event = match echoes.next() {
                Some(wait) => match tokio::time::timeout(*wait, stream.next()).await {
                    Ok(event) => event,
                    Err(_) => {
                        nudge.notify_one();
                        continue;
                    }
                },
                None => stream.next().await,
            };
            let Some(event) = event else { return };
            match event {
                // An overflow of the event queue has no name, and may have swallowed a commit.
                Ok(event)
                    if event
                        .name
                        .as_ref()
                        .is_none_or(|name| self.names.contains(name)) =>
                {
                    nudge.notify_one();
                    echoes = ECHOES.iter();
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "inotify failed; new rows are found by polling");
                    return;
                }
            }
        }
    }
}
