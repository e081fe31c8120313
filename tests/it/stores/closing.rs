//! Closing a day: what was left open is written along with its record, even if others close it too.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::ManualClock;
use callback_dispatcher::domain::{
    CallbackId, Day, DayIds, DayRecord, Lines, NO_PREVIOUS_DAY, ReconciledState, Timestamp,
};
use callback_dispatcher::housekeeping::{Closing, HousekeepingJob};
use callback_dispatcher::reconciliation::{Retained, close_days, verify};
use callback_dispatcher::store::{AuditEntry, LeftOpen, Queue};

use super::Backend;
use super::reading::{MIDNIGHT, fill};
use crate::support::callback::insert;
use crate::support::store::{StoreKind, on_both};

/// Two hours after the day, so that it is over.
const CLOSING: Timestamp = Timestamp::from_millis(MIDNIGHT + 26 * 3_600_000);

const DAY: Duration = Duration::from_secs(86_400);

const OPEN: &str = "SELECT callback_id, state, seq FROM reconciliation_open ORDER BY 1";

fn day() -> Day {
    Day::of(Timestamp::from_millis(MIDNIGHT))
}

/// The record of a first day without callbacks.
fn record() -> DayRecord {
    let ids = DayIds {
        first: CallbackId(1),
        last: CallbackId(0),
        next: CallbackId(1),
    };
    DayRecord::seal(day(), NO_PREVIOUS_DAY, ids, &Lines::default(), CLOSING)
}

async fn note(queue: &Arc<dyn Queue>, id: i64, state: ReconciledState) {
    let left_open = LeftOpen {
        id: CallbackId(id),
        state,
        seq: 2,
    };
    let entry = AuditEntry::LeftOpen(day(), vec![left_open]);
    queue.write_audit(entry).await.expect("noted");
}

async fn begin(queue: &Arc<dyn Queue>) {
    let begun = queue.write_audit(AuditEntry::Begin(day())).await;
    begun.expect("begun");
}

async fn notes_of_a_closing_that_was_cut_off_are_forgotten(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    begin(&queue).await;
    note(&queue, 1, ReconciledState::Pending).await;
    note(&queue, 2, ReconciledState::Unknown).await;
    begin(&queue).await;
    note(&queue, 2, ReconciledState::Exhausted).await;
    note(&queue, 3, ReconciledState::Cancelled).await;
    let closed = AuditEntry::Closed(Box::new(record()));
    assert_eq!(queue.write_audit(closed.clone()).await, Ok(()));
    assert_eq!(backend.sql(OPEN), "2|exhausted|2\n3|cancelled|2");
    assert_eq!(backend.audit_chain().await.days().await, Ok(vec![record()]));
    let again = queue.write_audit(closed).await.expect_err("it is closed");
    assert!(again.to_string().contains("reconciliation"), "{again}");
    assert_eq!(backend.sql(OPEN), "2|exhausted|2\n3|cancelled|2");
    queue.close().await;
}

/// SQLite has one dispatcher.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_does_not_take_anothers_notes_away() {
    let backend = Backend::postgres();
    let (one, other) = (backend.queue().await, backend.queue().await);
    begin(&one).await;
    note(&one, 1, ReconciledState::Exhausted).await;
    begin(&other).await;
    note(&other, 1, ReconciledState::Pending).await;
    let closed = || AuditEntry::Closed(Box::new(record()));
    assert_eq!(one.write_audit(closed()).await, Ok(()));
    assert_eq!(backend.sql(OPEN), "1|exhausted|2");
    let late = other.write_audit(closed()).await;
    late.expect_err("the other was first");
    assert_eq!(backend.sql(OPEN), "1|exhausted|2");
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_that_close_a_day_at_once_leave_a_whole_chain() {
    for _ in 0..5 {
        let backend = Backend::postgres();
        fill(&backend);
        let (one, other) = (backend.queue().await, backend.queue().await);
        let chain = backend.audit_chain().await;
        let closed = tokio::join!(
            close_days(&*chain, &*one, CLOSING),
            close_days(&*chain, &*other, CLOSING)
        );
        assert!(closed.0.is_ok() || closed.1.is_ok(), "{closed:?}");
        let retained = Retained {
            keep: Duration::MAX,
            now: CLOSING,
        };
        let verified = verify(&*chain, retained).await.expect("readable");
        assert!(verified.faults.is_empty(), "{closed:?}: {verified:#?}");
        assert_eq!(chain.days().await.map(|records| records.len()), Ok(1));
        one.close().await;
        other.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_dispatcher_closes_days_for_all_of_them() {
    let backend = Backend::postgres();
    let (first, second) = (backend.queue().await, backend.queue().await);
    let chain = backend.audit_chain().await;
    let job = |queue: &Arc<dyn Queue>| Closing {
        chain: Arc::clone(&chain),
        queue: Arc::clone(queue),
        clock: Arc::new(ManualClock::at(CLOSING)),
    };
    assert_eq!(job(&second).run().await, Ok(()));
    assert_eq!(chain.newest_day().await, Ok(None));
    assert_eq!(job(&first).run().await, Ok(()));
    let newest = chain.newest_day().await.expect("read");
    assert_eq!(newest.map(|record| record.day), Some(day()));
    first.close().await;
    second.close().await;
}

/// On PostgreSQL a transaction may commit after ones with higher ids, and after a day was closed.
async fn a_callback_that_is_committed_late_belongs_to_the_next_day(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    let ledger = backend.audit_chain().await;
    let next_morning = MIDNIGHT + 25 * 3_600_000;
    let insert = |id: i64, created_at: i64| {
        let (id, created_at) = (id.to_string(), created_at.to_string());
        let changes = [("id", id.as_str()), ("created_at", &created_at)];
        backend.sql(&insert("https://one.example/", &id, &changes));
    };
    insert(1, MIDNIGHT);
    insert(10, next_morning);
    close_days(&*ledger, &*queue, CLOSING)
        .await
        .expect("closed");
    insert(5, next_morning);
    let closed = close_days(&*ledger, &*queue, CLOSING.after(DAY)).await;
    let queued: Vec<_> = closed
        .expect("closed")
        .iter()
        .map(|record| record.counts.queued)
        .collect();
    assert_eq!(queued, [2]);
    queue.close().await;
}

on_both!(
    notes_of_a_closing_that_was_cut_off_are_forgotten,
    a_callback_that_is_committed_late_belongs_to_the_next_day,
);
