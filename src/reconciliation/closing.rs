//! Closing a day: its link is made and appended to the chain.

use std::time::Duration;

use super::walk::{Ids, Membership, Walk};
use crate::clock::Stopwatch;
use crate::domain::{
    CallbackId, Day, Fate, Lines, Link, LinkIds, NO_LINK, ReconciledCallback, Timestamp,
};
use crate::store::{Ledger, LedgerEntry, LeftOpen, Queue, StoreError};

/// How long after its end a day is closed: beyond the retries of the default schedule, so that
/// little is left open.
pub const CLOSING_DELAY: Duration = Duration::from_secs(3600);

/// A page takes its time, and then a rest until that many times as long have passed: a start after
/// an outage finds a long day to close, and has merchants to tell who matter more.
const PACE: u32 = 10;

/// Closes every day that ended [`CLOSING_DELAY`] or longer before `now` and is not closed yet. The
/// first link takes everything up to the newest such day. Returns the new links.
///
/// # Errors
///
/// What the store said. The days closed until then stay so; the rest is for the next time.
pub async fn close_days(
    ledger: &dyn Ledger,
    queue: &dyn Queue,
    now: Timestamp,
) -> Result<Vec<Link>, StoreError> {
    let newest_day = Day::of(now.before(CLOSING_DELAY)).previous();
    let mut links = ledger.links().await?;
    let closed_before = links.len();
    loop {
        let day = links.last().map_or(newest_day, |link| link.day.next());
        if day > newest_day {
            return Ok(links.split_off(closed_before));
        }
        links.push(close(ledger, queue, day, &links, now).await?);
    }
}

async fn close(
    ledger: &dyn Ledger,
    queue: &dyn Queue,
    day: Day,
    before: &[Link],
    now: Timestamp,
) -> Result<Link, StoreError> {
    let previous = before.last();
    // Below the newest link's when the newest callbacks were pruned meanwhile.
    let newest = ledger.newest().await?;
    let last_id = previous.map_or(newest, |link| newest.max(link.last_id));
    let membership = Membership {
        day,
        closed_at: now,
        last_id,
        before,
    };
    let ids = Ids {
        from: previous.map_or(CallbackId(i64::MIN), |link| link.next_id),
        to: last_id,
    };
    queue.write_ledger(LedgerEntry::Begin(day)).await?;
    let mut lines = Lines::default();
    let mut lowest = None;
    let mut next = None;
    let mut highest = None;
    let mut walk = Walk::new(ledger, ids, None);
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
            let entry = LedgerEntry::LeftOpen(day, left_open);
            queue.write_ledger(entry).await?;
        }
        tokio::time::sleep_until(watch.deadline(watch.elapsed() * PACE)).await;
    }
    let first = previous.map_or(lowest.unwrap_or(CallbackId(1)), |link| link.next_id);
    let ids = LinkIds {
        first,
        last: last_id,
        next: next_id(first, highest, next),
    };
    let digest = previous.map_or(NO_LINK, |link| link.digest);
    let link = Link::seal(day, digest, ids, &lines, now);
    queue
        .write_ledger(LedgerEntry::Link(Box::new(link.clone())))
        .await?;
    Ok(link)
}

/// Where the walk of the next day begins. Not above the highest callback of this day: on PostgreSQL
/// an id above it may be given, but not committed yet, however many higher ones are.
fn next_id(first: CallbackId, highest: Option<CallbackId>, seen: Option<CallbackId>) -> CallbackId {
    let unseen = highest.map_or(first, |id| CallbackId(id.0.saturating_add(1)));
    seen.map_or(unseen, |seen| seen.min(unseen))
}

/// What is noted of a callback that is not acknowledged.
fn open(callback: &ReconciledCallback) -> Option<LeftOpen> {
    (callback.fate != Fate::Acknowledged).then(|| LeftOpen {
        id: callback.id,
        fate: callback.fate,
        seq: callback.attempt.as_ref().map_or(0, |attempt| attempt.seq),
    })
}
