//! Closing a day: its record is made and appended to the audit chain.

use std::time::Duration;

use super::walk::{Ids, Membership, Walk};
use crate::clock::Stopwatch;
use crate::domain::{
    CallbackId, Day, DayIds, DayRecord, Lines, NO_PREVIOUS_DAY, ReconciledCallback,
    ReconciledState, Timestamp,
};
use crate::store::{AuditChain, AuditEntry, LeftOpen, Queue, StoreError};

/// How long after its end a day is closed: beyond the retries of the default schedule, so that
/// little is left open.
pub const CLOSING_DELAY: Duration = Duration::from_secs(3600);

/// A page takes its time, and then a rest until that many times as long have passed: a start after
/// an outage finds a long day to close, and has merchants to tell who matter more.
const PACE: u32 = 10;

/// Closes every day that ended [`CLOSING_DELAY`] or longer before `now` and is not closed yet. The
/// first record takes everything up to the newest such day. Returns the new records.
///
/// # Errors
///
/// What the store said. The days closed until then stay so; the rest is for the next time.
pub async fn close_days(
    chain: &dyn AuditChain,
    queue: &dyn Queue,
    now: Timestamp,
) -> Result<Vec<DayRecord>, StoreError> {
    let newest_day = Day::of(now.before(CLOSING_DELAY)).previous();
    let mut records = chain.days().await?;
    let closed_before = records.len();
    loop {
        let day = records
            .last()
            .map_or(newest_day, |record| record.day.next());
        if day > newest_day {
            return Ok(records.split_off(closed_before));
        }
        records.push(close(chain, queue, day, &records, now).await?);
    }
}

async fn close(
    chain: &dyn AuditChain,
    queue: &dyn Queue,
    day: Day,
    before: &[DayRecord],
    now: Timestamp,
) -> Result<DayRecord, StoreError> {
    let previous = before.last();
    // Below the last day's when the newest callbacks were pruned meanwhile.
    let newest = chain.newest().await?;
    let last_id = previous.map_or(newest, |record| newest.max(record.last_id));
    let membership = Membership {
        day,
        closed_at: now,
        last_id,
        before,
    };
    let ids = Ids {
        from: previous.map_or(CallbackId(i64::MIN), |record| record.next_id),
        to: last_id,
    };
    queue.write_audit(AuditEntry::Begin(day)).await?;
    let mut lines = Lines::default();
    let mut lowest = None;
    let mut next = None;
    let mut highest = None;
    let mut walk = Walk::new(chain, ids, None);
    loop {
        let watch = Stopwatch::start();
        let callbacks = walk.page().await?;
        if callbacks.is_empty() {
            break;
        }
        let mut left_open = Vec::new();
        for callback in &callbacks {
            lowest.get_or_insert(callback.id);
            if membership.has(callback) {
                lines.add(callback);
                highest = Some(callback.id);
                left_open.extend(open(callback));
            } else if !membership.is_taken(callback) {
                next.get_or_insert(callback.id);
            }
        }
        if !left_open.is_empty() {
            let entry = AuditEntry::LeftOpen(day, left_open);
            queue.write_audit(entry).await?;
        }
        tokio::time::sleep_until(watch.deadline(watch.elapsed() * PACE)).await;
    }
    let first = previous.map_or(lowest.unwrap_or(CallbackId(1)), |record| record.next_id);
    let ids = DayIds {
        first,
        last: last_id,
        next: next_id(first, highest, next),
    };
    let digest = previous.map_or(NO_PREVIOUS_DAY, |record| record.digest);
    let record = DayRecord::seal(day, digest, ids, &lines, now);
    queue
        .write_audit(AuditEntry::Closed(Box::new(record.clone())))
        .await?;
    Ok(record)
}

/// Where the walk of the next day begins. Not above the highest callback of this day: on PostgreSQL
/// an id above it may be given, but not committed yet, however many higher ones are.
fn next_id(first: CallbackId, highest: Option<CallbackId>, seen: Option<CallbackId>) -> CallbackId {
    let unseen = highest.map_or(first, |id| CallbackId(id.0.saturating_add(1)));
    seen.map_or(unseen, |seen| seen.min(unseen))
}

/// What is noted of a callback that is not acknowledged.
fn open(callback: &ReconciledCallback) -> Option<LeftOpen> {
    (callback.state != ReconciledState::Acknowledged).then(|| LeftOpen {
        id: callback.id,
        state: callback.state,
        seq: callback.attempt.as_ref().map_or(0, |attempt| attempt.seq),
    })
}
