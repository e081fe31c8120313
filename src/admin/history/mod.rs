//! What has happened since this process began, by the minute, for the console's plots.
//!
//! A ring of the last 24 hours in memory, half a megabyte at most. The attempt log holds the same, but
//! counting a day of it for a page would walk millions of rows while the dispatcher writes.
//! So a restart empties the plots, and the pages say since when they count.
//!
//! What happens is counted in the minute that the wall clock shows. Setting the clock, forwards or
//! back, therefore hides nothing that happens afterwards.

mod lag;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Beat;
use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::{Next, Outcome, Timestamp};
use crate::health::{Trouble, TroubleKind, troubles};
use crate::housekeeping::StatsSink;
use crate::store::{HeldSnapshot, ShownState, Stats, TroubledEndpoint};

pub use lag::Lag;

/// How much is kept: a day.
const MINUTES_KEPT: i64 = 24 * 60;

const MINUTE_MS: i64 = 60_000;

/// Callbacks in each state, in the order of [`ShownState::ALL`].
pub type Depth = [u64; ShownState::ALL.len()];

/// Attempts that ended in each outcome, in the order of [`Outcome::ALL`].
pub type Ends = [u64; Outcome::ALL.len()];

/// Counts by the minute.
#[derive(Debug)]
pub struct History {
    started_at: Timestamp,
    in_flight: AtomicUsize,
    own_outage: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By their number modulo [`MINUTES_KEPT`]; minutes in which nothing happened are left out.
    minutes: HashMap<i64, Minute>,
    /// The newest count of the queue, and when it was made.
    counted: Option<(Stats, Timestamp)>,
    troubled: Vec<TroubledEndpoint>,
    displaced: Option<String>,
    /// Since when changed settings or keys are refused.
    reload_refused: Option<(Timestamp, String)>,
}

#[derive(Debug, Default)]
struct Minute {
    /// Minutes since the epoch.
    number: i64,
    ends: [u32; Outcome::ALL.len()],
    lag: Lag,
    depth: Option<Depth>,
}

/// What happened in one stretch of time.
#[derive(Clone, Debug)]
pub struct Period {
    /// When it began.
    pub from: Timestamp,
    /// How its attempts ended.
    pub ends: Ends,
    /// From queued to acknowledged, for what was acknowledged in it.
    pub lag: Lag,
    /// The highest count of each state in it; `None`: the queue was not counted.
    pub depth: Option<Depth>,
}

impl History {
    /// An empty one that begins at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            started_at: now,
            in_flight: AtomicUsize::new(0),
            own_outage: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    /// Since when it counts.
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Attempts under way.
    pub fn attempts_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether attempts fail by our own fault at present.
    pub fn has_own_outage(&self) -> bool {
        self.own_outage.load(Ordering::Relaxed)
    }

    /// The newest count of the queue, and when it was made; `None`: none was made yet.
    pub fn counted(&self) -> Option<(Stats, Timestamp)> {
        self.kept().counted.clone()
    }

    /// Takes note of a reload: refused at a moment for a fault, or not.
    pub fn reloaded(&self, refused: Option<(Timestamp, String)>) {
        self.kept().reload_refused = refused;
    }

    /// Everything that needs a person, as of `now`, the most urgent first.
    pub fn troubles(&self, beat: &Beat, now: Timestamp) -> Vec<Trouble> {
        let kept = self.kept();
        let mut found = Vec::new();
        let mut add = |kind, text: String| found.push(Trouble::at_home(kind, text));
        if let Some(displaced) = &kept.displaced {
            add(TroubleKind::Queue, displaced.clone());
        }
        if let Some(fault) = beat.fault() {
            add(
                TroubleKind::Dispatcher,
                format!("the dispatcher delivers nothing: {fault}"),
            );
        }
        if let Some(waiting) = beat.uncommitted() {
            let text = format!(
                "the queue takes no commits: something has waited for {} s to be written. Is the disk full, or \
                 does another process hold the write lock?",
                waiting.as_secs()
            );
            add(TroubleKind::Commits, text);
        }
        if self.has_own_outage() {
            let text = "an outage of our own: hardly any merchant can be reached from this host. Failures are \
                 not charged to merchants meanwhile; the log says more";
            add(TroubleKind::OwnOutage, text.to_owned());
        }
        if let Some((since, fault)) = &kept.reload_refused {
            let text = format!(
                "changed settings or keys were refused at {since} ({fault}); those before stay in force, and the \
                 next start fails until they are mended (see `callback-dispatcher check`)"
            );
            add(TroubleKind::Reload, text);
        }
        let pauses = kept
            .counted
            .as_ref()
            .map_or(&[][..], |(stats, _)| &stats.paused);
        found.extend(troubles(&kept.troubled, pauses, now));
        found.sort_by_key(|trouble| trouble.kind);
        found
    }

    /// The `count` periods of `minutes` each up to and with `now`, oldest first. They begin at full
    /// multiples of `minutes`, so that a reload moves no boundary.
    pub fn periods(&self, minutes: i64, count: i64, now: Timestamp) -> Vec<Period> {
        let last = minute_of(now).div_euclid(minutes);
        let first = last - count + 1;
        let mut periods: Vec<Period> = (first..=last)
            .map(|number| Period {
                from: Timestamp::from_millis(number * minutes * MINUTE_MS),
                ends: Ends::default(),
                lag: Lag::default(),
                depth: None,
            })
            .collect();
        let kept = self.kept();
        for (period, number) in periods.iter_mut().zip(first..) {
            for minute in (number * minutes..(number + 1) * minutes).filter_map(|n| kept.at(n)) {
                minute.add_to(period);
            }
        }
        periods
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Counts are whole after every statement; a panic elsewhere is no reason to lose them.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn add_to(&self, period: &mut Period) {
        for (sum, count) in period.ends.iter_mut().zip(self.ends) {
            *sum += u64::from(count);
        }
        period.lag.merge(&self.lag);
        if let Some(depth) = self.depth {
            period.depth = Some(highest(period.depth, depth));
        }
    }
}

/// The larger of both in each state, so that a peak is seen however long a step of a plot is.
fn highest(one: Option<Depth>, other: Depth) -> Depth {
    let one = one.unwrap_or_default();
    std::array::from_fn(|state| one[state].max(other[state]))
}

impl Kept {
    /// The minute that `now` is in, in the place of the one a day before.
    fn minute(&mut self, now: Timestamp) -> &mut Minute {
        let number = minute_of(now);
        let minute = self.minutes.entry(number.rem_euclid(MINUTES_KEPT));
        let minute = minute.or_default();
        if minute.number != number {
            *minute = Minute {
                number,
                ..Minute::default()
            };
        }
        minute
    }

    /// What happened in this minute, if anything did.
    fn at(&self, number: i64) -> Option<&Minute> {
        let minute = self.minutes.get(&number.rem_euclid(MINUTES_KEPT))?;
        (minute.number == number).then_some(minute)
    }

    fn add(&mut self, finished: &FinishedAttempt<'_>) {
        let minute = self.minute(finished.now);
        let end = &mut minute.ends[finished.attempt.verdict.outcome as usize];
        *end = end.saturating_add(1);
        if matches!(finished.next, Next::Delivered) {
            minute.lag.add(finished.now.since(finished.created_at));
        }
    }
}

const fn minute_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(MINUTE_MS)
}

impl Observer for History {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        self.kept().add(finished);
    }

    /// Takes the lock once for a whole commit.
    fn attempts_finished(&self, finished: &[FinishedAttempt<'_>]) {
        let mut kept = self.kept();
        for finished in finished {
            kept.add(finished);
        }
    }

    fn in_flight(&self, attempts: usize) {
        self.in_flight.store(attempts, Ordering::Relaxed);
    }

    fn own_outage(&self, is_on: bool) {
        self.own_outage.store(is_on, Ordering::Relaxed);
    }

    fn beat(&self, _now: Timestamp) {}
}

impl StatsSink for History {
    fn queue_counted(&self, stats: &Stats, now: Timestamp) {
        let mut depth = Depth::default();
        for (state, callbacks) in &stats.depth {
            depth[*state as usize] = *callbacks;
        }
        let mut kept = self.kept();
        let peak = &mut kept.minute(now).depth;
        *peak = Some(highest(*peak, depth));
        kept.counted = Some((stats.clone(), now));
    }

    fn oldest_due_measured(&self, due: Option<Timestamp>) {
        if let Some((stats, _)) = &mut self.kept().counted {
            stats.oldest_due = due;
        }
    }

    fn troubled_found(&self, troubled: Vec<TroubledEndpoint>) {
        self.kept().troubled = troubled;
    }

    fn displaced_found(&self, displaced: Option<String>) {
        self.kept().displaced = displaced;
    }

    fn oldest_snapshot_found(&self, _snapshot: Option<&HeldSnapshot>) {}

    fn wal_measured(&self, _bytes: u64) {}
}

/// What [`Depth`] holds for `state`.
pub const fn depth_of(depth: &Depth, state: ShownState) -> u64 {
    depth[state as usize]
}

/// What [`Ends`] holds for `outcome`.
pub const fn ends_in(ends: &Ends, outcome: Outcome) -> u64 {
    ends[outcome as usize]
}

#[cfg(test)]
mod tests;
