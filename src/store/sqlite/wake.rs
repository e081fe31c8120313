//! Hears other processes' commits: every commit writes to the `-wal` file, and inotify tells.
//!
//! The write is heard before the commit is to be seen: SQLite syncs the log first and publishes the
//! commit afterwards, in shared memory, where inotify is deaf. So after each event the number that
//! changes with others' commits is watched until it does, for as long as a sync may take. Our own
//! commits make events too, but leave that number as it is.
//!
//! Only a hint: where inotify can't be had it never comes. The dispatcher's slow poll is the safety
//! net.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::arrivals;
use super::connection::wal_path;
use super::writer::Writer;
use crate::store::StoreError;

/// Watches a database's folder as long as it lives.
#[derive(Debug)]
pub(super) struct Wake {
    nudge: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Wake {
    /// Begins to watch the database at `path`, which `writer` has open.
    pub(super) fn watch(path: &Path, writer: Arc<Writer>) -> Self {
        let nudge = Arc::new(Notify::new());
        let task = match events(path) {
            Ok(events) => {
                let written = Arc::new(Notify::new());
                let confirm = confirm(Arc::clone(&written), writer, Arc::clone(&nudge));
                Some(tokio::spawn(async move {
                    tokio::join!(events.forward(written), confirm);
                }))
            }
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

/// The first wait for a commit to become visible after its write was heard; doubled each time.
const VISIBLE_WAIT: Duration = Duration::from_micros(500);
/// The last. All together they take about a quarter of a second.
const VISIBLE_WAIT_MAX: Duration = Duration::from_millis(128);

/// Looks at short intervals before the first wait, unless it was perhaps this process that wrote:
/// tokio's timers are no finer than a millisecond. As long as a slow disk's sync takes.
const GLANCES: u32 = 64;
/// Between two of them.
const GLANCE_WAIT: Duration = Duration::from_micros(100);

#[expect(
    clippy::disallowed_methods,
    reason = "a sync of another process ends without a sign, and sooner than tokio's timers tell"
)]
async fn glance() {
    // An error means that the runtime is shutting down, and the caller with it.
    let _ = tokio::task::spawn_blocking(|| std::thread::sleep(GLANCE_WAIT)).await;
}

/// Turns "something was written" into "another process has committed".
async fn confirm(written: Arc<Notify>, writer: Arc<Writer>, nudge: Arc<Notify>) {
    let mut seen = None;
    let mut own = writer.writes();
    loop {
        written.notified().await;
        let mut glances = glances_after(writer.writes(), &mut own);
        let mut wait = VISIBLE_WAIT;
        while wait <= VISIBLE_WAIT_MAX {
            let version = match writer.read((), |db, ()| arrivals::data_version(db)).await {
                Ok(version) => version,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "the next poll looks for new rows");
                    break;
                }
            };
            if seen.replace(version) != Some(version) {
                nudge.notify_one();
                break;
            }
            if glances > 0 && writer.writes() == own {
                glances -= 1;
                glance().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait *= 2,
                () = written.notified() => {
                    glances = glances_after(writer.writes(), &mut own);
                    wait = VISIBLE_WAIT;
                }
            }
        }
    }
}

/// How often to glance after an event, when the writer has counted `writes`: not at all if this
/// process has written since the last event, when it had counted `own`, or is writing now.
fn glances_after(writes: u64, own: &mut u64) -> u32 {
    let is_ours = writes != std::mem::replace(own, writes) || !writes.is_multiple_of(2);
    if is_ours { 0 } else { GLANCES }
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
    let wal = wal_path(Path::new(&database)).into_os_string();
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
    async fn forward(self, written: Arc<Notify>) {
        let mut stream = match self.inotify.into_event_stream([0; 4096]) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "inotify is not available; new rows are found by polling");
                return;
            }
        };
        while let Some(event) = stream.next().await {
            match event {
                // An overflow of the event queue has no name, and may have swallowed a commit.
                Ok(event)
                    if event
                        .name
                        .as_ref()
                        .is_none_or(|name| self.names.contains(name)) =>
                {
                    written.notify_one();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_process_has_written_is_glanced_at() {
        let mut own = 4;
        assert_eq!(
            glances_after(4, &mut own),
            GLANCES,
            "not a write of ours since"
        );
        assert_eq!(glances_after(5, &mut own), 0, "we are writing");
        assert_eq!(glances_after(5, &mut own), 0, "and still are");
        assert_eq!(glances_after(6, &mut own), 0, "we have just written");
        assert_eq!(glances_after(6, &mut own), GLANCES);
        assert_eq!(glances_after(8, &mut own), 0, "once more");
    }
}
