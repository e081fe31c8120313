//! Hears other processes' commits: every commit writes to the `-wal` file, and inotify tells.
//!
//! The write is heard before the commit is to be seen: SQLite syncs the log first and publishes the
//! commit afterwards, in shared memory, where inotify is deaf. So after each event the number that
//! changes with others' commits is watched until it does, for as long as a sync may take. It is
//! watched for as long after a transaction of our own: what another process wrote in the moment
//! between its end and the ears' opening was not heard.
//!
//! Only a hint: where inotify can't be had it never comes. The dispatcher's slow poll is the safety
//! net.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::Inotify;
use tokio::task::JoinHandle;

use super::connection::wal_path;
use super::ears::Ears;
use super::writer::Writer;
use crate::store::StoreError;

/// Watches a database's folder as long as it lives.
#[derive(Debug)]
pub(super) struct Wake {
    ears: Arc<Ears>,
    task: Option<JoinHandle<()>>,
}

impl Wake {
    /// Begins to watch the database at `path`, which `writer` has open and tells `ears` of.
    pub(super) fn watch(path: &Path, writer: Arc<Writer>, ears: Arc<Ears>) -> Self {
        let task = match events(path, &ears) {
            Ok(events) => {
                let forward = events.forward(Arc::clone(&ears));
                let confirm = confirm(Arc::clone(&ears), writer);
                Some(tokio::spawn(async move {
                    tokio::join!(forward, confirm);
                }))
            }
            Err(error) => {
                tracing::warn!(%error, "inotify is not available; new rows are found by polling");
                None
            }
        };
        Self { ears, task }
    }

    /// Returns after the next nudge; one that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.ears.nudge.notified().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The first wait for a commit that was perhaps not heard; doubled each time.
const VISIBLE_WAIT: Duration = Duration::from_millis(1);
/// The last. All together they take about a quarter of a second.
const VISIBLE_WAIT_MAX: Duration = Duration::from_millis(128);

/// The wait while this process commits as well: it looks for itself after each transaction.
const BUSY_WAIT: Duration = Duration::from_millis(4);

/// Looks at short intervals after another process was heard: tokio's timers are no finer than a
/// millisecond. As long as a slow disk's sync takes.
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
async fn confirm(ears: Arc<Ears>, writer: Arc<Writer>) {
    loop {
        let mut is_heard = tokio::select! {
            () = ears.written.notified() => true,
            () = ears.wrote.notified() => false,
        };
        let mut wait = VISIBLE_WAIT;
        let mut writes = ears.writes();
        while wait <= VISIBLE_WAIT_MAX {
            if is_heard {
                is_heard = false;
                wait = VISIBLE_WAIT;
                if settle(&ears, &writer).await.is_err() {
                    break;
                }
            } else {
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait *= 2,
                    () = ears.written.notified() => {
                        is_heard = true;
                        continue;
                    }
                }
            }
            if std::mem::replace(&mut writes, ears.writes()) != writes {
                wait = BUSY_WAIT;
            }
            ears.uncover();
            match look(&ears, &writer).await {
                Ok(true) => wait = VISIBLE_WAIT,
                Ok(false) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "the next poll looks for new rows");
                    break;
                }
            }
        }
        ears.uncover();
    }
}

/// Waits until what was heard is to be seen, or at most for as long as its sync may take. A
/// transaction of this process ends it: there is none before the other has ended.
async fn settle(ears: &Arc<Ears>, writer: &Writer) -> Result<(), StoreError> {
    let writes = ears.writes();
    for _ in 0..GLANCES {
        if look(ears, writer).await? || ears.is_writing() || ears.writes() != writes {
            break;
        }
        glance().await;
    }
    Ok(())
}

/// Whether another process has committed. A transaction of this process looks for itself.
async fn look(ears: &Arc<Ears>, writer: &Writer) -> Result<bool, StoreError> {
    if ears.is_writing() {
        return Ok(false);
    }
    writer
        .read(Arc::clone(ears), |db, ears| ears.look(db))
        .await
}

struct Events {
    inotify: Inotify,
    /// The files whose changes are commits.
    names: [OsString; 2],
}

fn events(path: &Path, ears: &Ears) -> io::Result<Events> {
    let no_folder = || io::Error::other("the database has no folder");
    let folder = path.parent().ok_or_else(no_folder)?;
    let database = path.file_name().ok_or_else(no_folder)?.to_owned();
    let wal = wal_path(Path::new(&database)).into_os_string();
    let inotify = Inotify::init()?;
    // The folder, not the file: the -wal file vanishes with the last connection and comes again.
    ears.open(&inotify, folder.to_owned())?;
    Ok(Events {
        inotify,
        names: [database, wal],
    })
}

impl Events {
    async fn forward(self, ears: Arc<Ears>) {
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
                    ears.cover();
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
    use rusqlite::Connection;

    use super::*;
    use crate::store::Unobserved;
    use crate::store::sqlite::connection::{open_or_create, touch};

    async fn until_nudged(wake: &Wake, what: &str) {
        let nudged = tokio::time::timeout(Duration::from_secs(10), wake.changed()).await;
        assert!(nudged.is_ok(), "no nudge: {what}");
    }

    #[tokio::test]
    async fn each_commit_of_another_process_nudges_whatever_this_one_is_about() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let connection = open_or_create(&path).expect("a new queue");
        let rival = Connection::open(&path).expect("another connection");
        let commit = || {
            let sql = "INSERT INTO callback_in_the_way VALUES (1)";
            rival.execute(sql, []).expect("the lock is free")
        };
        let ears = Arc::new(Ears::default());
        let writer = Writer::start(
            path.clone(),
            connection,
            Arc::new(Unobserved),
            Arc::clone(&ears),
        );
        let writer = Arc::new(writer.expect("it starts"));
        let wake = Wake::watch(&path, Arc::clone(&writer), ears);
        let own = async || writer.write((), touch).await.1.expect("it commits");
        own().await;
        until_nudged(&wake, "the first look has nothing to compare with").await;
        for _ in 0..20 {
            commit();
            until_nudged(&wake, "after a commit").await;
            own().await;
            commit();
            until_nudged(&wake, "after one that comes just after a transaction").await;
            commit();
            until_nudged(&wake, "after one that comes just after another").await;
        }
        for _ in 0..2 {
            // Nobody looks any more by now, unless something is heard.
            tokio::time::sleep(VISIBLE_WAIT_MAX * 4).await;
            commit();
            until_nudged(&wake, "after one that comes when all is quiet").await;
        }
        writer.close().await;
    }
}
