//! Finished callbacks are pruned with their attempts; pending ones stay however old they are.

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::sqlite::SqliteInspection;
use callback_dispatcher::store::{Inspection, Retention};

use super::{Daemon, Place, StoreKind, finished, insert, on_both, until};

/// Each is kept from here on.
const DELIVERED_BEFORE: i64 = 2000;
const EXHAUSTED_BEFORE: i64 = 1000;

/// State, when it finished, whether it goes.
const ROWS: [(&str, Option<i64>, bool); 9] = [
    ("delivered", Some(1), true),
    ("delivered", Some(1999), true),
    ("delivered", Some(2000), false),
    ("cancelled", Some(1999), true),
    ("cancelled", Some(2000), false),
    ("exhausted", Some(999), true),
    ("exhausted", Some(1000), false),
    ("exhausted", Some(1999), false),
    ("pending", None, false),
];

fn rows() -> String {
    let row = |(position, (state, finished_at, _)): (usize, &(&str, Option<i64>, bool))| {
        let finished_at = finished_at.map_or("NULL".to_owned(), |at| at.to_string());
        let due = if *state == "pending" { "1" } else { "NULL" };
        let (id, state) = ((position + 1).to_string(), format!("'{state}'"));
        let more = [
            ("id", id.as_str()),
            ("state", &state),
            ("finished_at", &finished_at),
            ("next_attempt_at", due),
            ("created_at", "1"),
        ];
        let attempts = format!(
            "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
             VALUES ({id}, 1, 1, 1, 'refused', 1), ({id}, 2, 2, 1, 'refused', 1);"
        );
        insert("http://127.0.0.1:9/", &format!("order-{id}"), &more) + &attempts
    };
    ROWS.iter().enumerate().map(row).collect()
}

async fn callbacks_past_their_retention_are_pruned_with_their_attempts(store: StoreKind) {
    let place = Place::on(store);
    place.sql(&rows());
    let queue = place.open("this test").await.expect("opened");
    let retention = |limit| Retention {
        delivered_before: Timestamp::from_millis(DELIVERED_BEFORE),
        exhausted_before: Timestamp::from_millis(EXHAUSTED_BEFORE),
        limit,
    };
    let mut removed = Vec::new();
    for limit in [1, 2, 100, 100] {
        removed.push(queue.prune(retention(limit)).await.expect("pruned"));
    }
    assert_eq!(removed, [1, 2, 1, 0], "a batch is as large as its limit");
    queue.maintain().await.expect("maintained");
    queue.close().await;
    let kept: Vec<String> = (1..)
        .zip(&ROWS)
        .filter(|(_, (_, _, goes))| !goes)
        .map(|(id, _): (i64, _)| id.to_string())
        .collect();
    let kept = kept.join("\n");
    assert_eq!(place.sql("SELECT id FROM callback_queue ORDER BY id"), kept);
    let attempts = "SELECT DISTINCT callback_id FROM callback_attempt ORDER BY callback_id";
    assert_eq!(place.sql(attempts), kept);
}

/// The log of an SQLite file.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_size_that_the_file_system_says_until_it_is_checkpointed() {
    let place = Place::new();
    let queue = place.open("this test").await.expect("opened");
    let inspection = SqliteInspection::open(&place.path("queue.db")).expect("opened");
    place.sql(&insert("http://127.0.0.1:9/", "order", &[]));
    let log = std::fs::metadata(place.path("queue.db-wal"));
    let size = log.expect("there has been a commit").len();
    assert!(size > 0);
    assert_eq!(inspection.wal_bytes().await, Ok(size));
    queue.maintain().await.expect("maintained");
    assert_eq!(inspection.wal_bytes().await, Ok(0));
    queue.close().await;
}

/// A callback that was delivered in 1970.
fn old() -> String {
    let changes = [&finished("'delivered'", "1")[..], &[("created_at", "1")]];
    insert("http://127.0.0.1:9/", "old", &changes.concat())
}

/// Every second, by cron: the daemon is under way when the row becomes old enough.
async fn the_daemon_prunes_by_cron(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[("HOUSEKEEPING__PRUNE_CRON", "* * * * * *")]).await;
    place.sql(&old());
    let count = || place.sql("SELECT count(*) FROM callback_queue");
    until("the row is pruned", async || count() == "0").await;
    daemon.stop().await;
}

/// `VACUUM INTO` makes a file with a rollback journal, in which readers and the gateway would hold
/// each other up, and no commit would be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_is_put_into_wal_mode() {
    let place = Place::new();
    place.sql("PRAGMA journal_mode = DELETE");
    let queue = place.open("this test").await.expect("opened");
    assert_eq!(place.sql("PRAGMA journal_mode"), "wal");
    queue.close().await;
}

/// That days are closed at the start, and an attempt is made, shows that time has passed.
async fn neither_a_start_nor_a_reload_prunes(store: StoreKind) {
    let place = Place::on(store);
    place.sql(&old());
    let once_a_year = [("HOUSEKEEPING__PRUNE_CRON", "0 0 0 29 2 *")];
    let mut daemon = Daemon::start(&place, &once_a_year).await;
    let closed = "SELECT count(*) FROM reconciliation WHERE queued = 1";
    until("a day is closed", async || place.sql(closed) == "1").await;
    daemon.reload(&place, &once_a_year).await;
    daemon.queue("http://127.0.0.1:9/", "new").await;
    daemon.until_attempts("new", 1).await;
    assert_eq!(place.sql("SELECT count(*) FROM callback_queue"), "2");
    daemon.stop().await;
}

/// Right at its start: a daemon that was down at midnight makes up for it.
async fn the_daemon_closes_the_days_that_are_over(store: StoreKind) {
    let place = Place::on(store);
    let long_ago = [("created_at", "1"), ("next_attempt_at", "9000000000000000")];
    place.sql(&insert("http://127.0.0.1:9/", "old", &long_ago));
    let daemon = Daemon::start(&place, &[]).await;
    let link = "SELECT queued, pending, length(digest) FROM reconciliation";
    until("a day is closed", async || place.sql(link) == "1|1|64").await;
    daemon.stop().await;
    let again = Daemon::start(&place, &[]).await;
    again.stop().await;
    assert_eq!(place.sql(link), "1|1|64", "a day is closed once");
}

on_both!(
    callbacks_past_their_retention_are_pruned_with_their_attempts,
    the_daemon_prunes_by_cron,
    neither_a_start_nor_a_reload_prunes,
    the_daemon_closes_the_days_that_are_over,
);
