//! Notices other processes' commits: each writes to the `-wal` file, which inotify watches.
//!
//! The write is noticed before the commit is visible: SQLite syncs the log first and publishes the
//! commit afterwards, in shared memory, which inotify does not watch. So after each event the number that
//! changes with others' commits is watched until it does, for as long as a sync may take. It is
//! watched for as long after a transaction of our own: what another process wrote in the moment
//! before the watch was unmasked went unnoticed.
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
use super::wal_watch::WalWatch;
use super::writer::Writer;
use crate::store::StoreError;

/// Watches a database's folder as long as it lives.
#[derive(Debug)]
pub(super) struct CommitWatcher {
    wal_watch: Arc<WalWatch>,
    task: Option<JoinHandle<()>>,
}

impl CommitWatcher {
    /// Begins to watch the database at `path`, which `writer` has open and tells `wal_watch` of.
    pub(super) fn watch(path: &Path, writer: Arc<Writer>, wal_watch: Arc<WalWatch>) -> Self {
        let task = match events(path, &wal_watch) {
            Ok(events) => {
                let forward = events.forward(Arc::clone(&wal_watch));
                let confirm = confirm(Arc::clone(&wal_watch), writer);
                Some(tokio::spawn(async move {
                    tokio::join!(forward, confirm);
                }))
            }
            Err(error) => {
                tracing::warn!(%error, "inotify is not available; new rows are found by polling");
                None
            }
        };
        Self { wal_watch, task }
    }

    /// Returns after the next changed; one that came since the last call counts.
    pub(super) async fn changed(&self) {
        self.wal_watch.changed.notified().await;
    }
}

impl Drop for CommitWatcher {
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
const LOOKS: u32 = 64;
/// Between two of them.
const LOOK_WAIT: Duration = Duration::from_micros(100);

#[expect(
    clippy::disallowed_methods,
    reason = "a sync of another process ends without a sign, and sooner than tokio's timers tell"
)]
async fn pause() {
    // An error means that the runtime is shutting down, and the caller with it.
    let _ = tokio::task::spawn_blocking(|| std::thread::sleep(LOOK_WAIT)).await;
}

/// Turns "something was written" into "another process has committed".
async fn confirm(wal_watch: Arc<WalWatch>, writer: Arc<Writer>) {
    loop {
        let mut is_heard = tokio::select! {
            () = wal_watch.written.notified() => true,
            () = wal_watch.wrote.notified() => false,
        };
        let mut wait = VISIBLE_WAIT;
        let mut writes = wal_watch.writes();
        while wait <= VISIBLE_WAIT_MAX {
            if is_heard {
                is_heard = false;
                wait = VISIBLE_WAIT;
                if settle(&wal_watch, &writer).await.is_err() {
                    break;
                }
            } else {
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait *= 2,
                    () = wal_watch.written.notified() => {
                        is_heard = true;
                        continue;
                    }
                }
            }
            if std::mem::replace(&mut writes, wal_watch.writes()) != writes {
                wait = BUSY_WAIT;
            }
            wal_watch.unmask();
            match look(&wal_watch, &writer).await {
                Ok(true) => wait = VISIBLE_WAIT,
                Ok(false) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "the next poll looks for new rows");
                    break;
                }
            }
        }
        wal_watch.unmask();
    }
}

/// Waits until what was heard is to be seen, or at most for as long as its sync may take. A
/// transaction of this process ends it: there is none before the other has ended.
async fn settle(wal_watch: &Arc<WalWatch>, writer: &Writer) -> Result<(), StoreError> {
    let writes = wal_watch.writes();
    for _ in 0..LOOKS {
        if look(wal_watch, writer).await? || wal_watch.is_writing() || wal_watch.writes() != writes
        {
            break;
        }
        pause().await;
    }
    Ok(())
}

/// Whether another process has committed. A transaction of this process looks for itself.
async fn look(wal_watch: &Arc<WalWatch>, writer: &Writer) -> Result<bool, StoreError> {
    if wal_watch.is_writing() {
        return Ok(false);
    }
    writer
        .read(Arc::clone(wal_watch), |db, wal_watch| wal_watch.look(db))
        .await
}

struct Events {
    inotify: Inotify,
    /// The files whose changes are commits.
    names: [OsString; 2],
}

fn events(path: &Path, wal_watch: &WalWatch) -> io::Result<Events> {
    let no_folder = || io::Error::other("the database has no folder");
    let folder = path.parent().ok_or_else(no_folder)?;
    let database = path.file_name().ok_or_else(no_folder)?.to_owned();
    let wal = wal_path(Path::new(&database)).into_os_string();
    let inotify = Inotify::init()?;
    // The folder, not the file: the -wal file vanishes with the last connection and comes again.
    wal_watch.open(&inotify, folder.to_owned())?;
    Ok(Events {
        inotify,
        names: [database, wal],
    })
}

impl Events {
    async fn forward(self, wal_watch: Arc<WalWatch>) {
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
                    wal_watch.mask();
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

    async fn until_changed(commit_watcher: &CommitWatcher, what: &str) {
        let changed = tokio::time::timeout(Duration::from_secs(10), commit_watcher.changed()).await;
        assert!(changed.is_ok(), "no changed: {what}");
    }

    #[tokio::test]
    async fn each_commit_of_another_process_nudges_whatever_this_one_is_about() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queue.db");
        let connection = open_or_create(&path).expect("a new queue");
        let rival = Connection::open(&path).expect("another connection");
        let commit = || {
            let sql = "INSERT INTO internal_conflict VALUES (1)";
            rival.execute(sql, []).expect("the lock is free")
        };
        let wal_watch = Arc::new(WalWatch::default());
        let writer = Writer::start(
            path.clone(),
            connection,
            Arc::new(Unobserved),
            Arc::clone(&wal_watch),
        );
        let writer = Arc::new(writer.expect("it starts"));
        let commit_watcher = CommitWatcher::watch(&path, Arc::clone(&writer), wal_watch);
        let own = async || writer.write((), touch).await.1.expect("it commits");
        own().await;
        until_changed(
            &commit_watcher,
            "the first look has nothing to compare with",
        )
        .await;
        for _ in 0..20 {
            commit();
            until_changed(&commit_watcher, "after a commit").await;
            own().await;
            commit();
            until_changed(
                &commit_watcher,
                "after one that comes just after a transaction",
            )
            .await;
            commit();
            until_changed(&commit_watcher, "after one that comes just after another").await;
        }
        for _ in 0..2 {
            // Nobody looks any more by now, unless something is heard.
            tokio::time::sleep(VISIBLE_WAIT_MAX * 4).await;
            commit();
            until_changed(&commit_watcher, "after one that comes when all is quiet").await;
        }
        writer.close().await;
    }
}
