//! PostgreSQL's row locks: which statement waits for which.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::{Next, Outcome};
use callback_dispatcher::store::postgres::FleetTiming;
use callback_dispatcher::store::{
    AttemptKey, ClaimedCallback, CompletedAttempt, Lease, Queue, Recorded, RecordedAttempt,
    StoreError, Uncount, Unrecorded,
};
use tokio_postgres::NoTls;

use super::{Backend, ONE, at, enqueue};
use crate::support::attempt::{claim_of, completed};
use crate::support::waiting::until;

/// Another session in a transaction, for instance that of an operator.
struct Rival(tokio_postgres::Client);

impl Rival {
    async fn begin(backend: &Backend) -> Self {
        let url = backend.url();
        let connected = tokio_postgres::connect(&url, NoTls).await;
        let (client, connection) = connected.expect("the server runs");
        tokio::spawn(connection);
        client.batch_execute("BEGIN").await.expect("begun");
        Self(client)
    }

    /// Locks rows, none of which may be locked.
    async fn lock(&self, ids: &str) {
        let sql = format!("SELECT FROM callback_queue WHERE id IN ({ids}) FOR UPDATE NOWAIT");
        self.0.batch_execute(&sql).await.expect("not locked");
    }

    async fn commit(self) {
        self.0.batch_execute("COMMIT").await.expect("committed");
    }
}

fn waiting(backend: &Backend) -> String {
    backend.sql(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
}

async fn until_waiting(backend: &Backend, sessions: &str) {
    let what = format!("{sessions} sessions wait for a lock");
    until(&what, async || waiting(backend) == sessions).await;
}

fn exhausted(claimed: ClaimedCallback) -> CompletedAttempt {
    completed(claimed, Outcome::Timeout, Next::Exhausted, at(3))
}

fn applied(recorded: Result<Vec<RecordedAttempt>, Unrecorded>) -> bool {
    let recorded = recorded.expect("recorded");
    let mut recorded = recorded.iter().map(|attempt| attempt.recorded);
    recorded.all(|recorded| recorded == Recorded::Applied)
}

/// Claims `count` callbacks; returns them, the highest id first.
async fn claims(queue: &Arc<dyn Queue>, count: usize) -> Vec<ClaimedCallback> {
    let orders: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    enqueue(&**queue, &orders, at(0)).await;
    let mut claimed = claim_of(&**queue, ONE, count, at(1)).await;
    assert_eq!(claimed.len(), count);
    claimed.reverse();
    claimed
}

/// While `work` waits for the lock of callback 1, callbacks 2 and 3 must be free.
async fn assert_locks_lowest_id_first<T: Send + 'static>(
    backend: &Backend,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let rival = Rival::begin(backend).await;
    rival.lock("1").await;
    let working = tokio::spawn(work);
    until_waiting(backend, "1").await;
    rival.lock("2, 3").await;
    rival.commit().await;
    working.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn record_release_and_uncount_lock_rows_in_the_order_of_their_ids() {
    let backend = Backend::postgres();
    let queue = backend.queue().await;
    let held = claims(&queue, 3).await;
    let held: Vec<Lease> = held.into_iter().map(|claimed| claimed.lease).collect();
    let releasing = Arc::clone(&queue);
    let work = async move { releasing.release(held).await };
    let released = assert_locks_lowest_id_first(&backend, work).await;
    released.expect("released");

    let claimed = claim_of(&*queue, ONE, 3, at(2)).await;
    let mut attempts: Vec<CompletedAttempt> = claimed.into_iter().map(exhausted).collect();
    attempts.reverse();
    let leases = attempts.iter().map(|attempt| &attempt.claimed.lease);
    let counted: Vec<AttemptKey> = leases.map(Lease::attempt).collect();
    let recording = Arc::clone(&queue);
    let work = async move { recording.record(attempts).await };
    let recorded = assert_locks_lowest_id_first(&backend, work).await;
    assert!(applied(recorded));

    let uncounting = Arc::clone(&queue);
    let uncount = Uncount {
        attempts: counted,
        reason: "; our own outage",
        due: at(9),
    };
    let work = async move { uncounting.uncount(uncount).await };
    let unknown = assert_locks_lowest_id_first(&backend, work).await;
    assert_eq!(unknown, Ok(Vec::new()));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_does_not_wait_for_records() {
    let backend = Backend::postgres();
    let timing = FleetTiming {
        heartbeat: Duration::from_millis(50),
        ..FleetTiming::default()
    };
    let queue = backend.open_with("this test", timing).await;
    let queue = queue.expect("opened");
    let claimed = claims(&queue, 4).await;
    let rival = Rival::begin(&backend).await;
    rival.lock("1, 2, 3, 4").await;
    let records: Vec<_> = claimed
        .into_iter()
        .map(|claimed| {
            let queue = Arc::clone(&queue);
            let ended = vec![exhausted(claimed)];
            tokio::spawn(async move { queue.record(ended).await })
        })
        .collect();
    until_waiting(&backend, "4").await;
    let heartbeat = || backend.sql("SELECT seen_at FROM dispatcher");
    let before = heartbeat();
    until("another heartbeat", async || heartbeat() != before).await;
    assert_eq!(waiting(&backend), "4", "the records still wait");
    rival.commit().await;
    for record in records {
        assert!(applied(record.await.expect("no panic")));
    }
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_passes_over_rows_that_another_session_has_locked() {
    let backend = Backend::postgres();
    let queue = backend.queue().await;
    let claimed = claims(&queue, 3).await;
    let rival = Rival::begin(&backend).await;
    rival.lock("2").await;
    let attempts: Vec<CompletedAttempt> = claimed.into_iter().map(exhausted).collect();
    let unrecorded = queue.record(attempts).await.expect_err("one is locked");
    assert!(matches!(unrecorded.error, StoreError::Locked(_)));
    let ids = |attempts: &[CompletedAttempt]| -> Vec<i64> {
        let leases = attempts.iter().map(|attempt| &attempt.claimed.lease);
        leases.map(|lease| lease.id().0).collect()
    };
    assert_eq!(ids(&unrecorded.attempts), [2]);
    let recorded = unrecorded.recorded.iter();
    let recorded: Vec<_> = recorded.map(|it| (it.id.0, it.recorded)).collect();
    assert_eq!(recorded, [(3, Recorded::Applied), (1, Recorded::Applied)]);
    rival.commit().await;
    assert!(applied(queue.record(unrecorded.attempts).await));
    let ended = "SELECT count(*) FROM callback_queue WHERE state = 'exhausted' AND attempt_seq = 1";
    assert_eq!(backend.sql(ended), "3");
    queue.close().await;
}
