//! What is right: a model of every row, moved on by what the merchants saw and by the log, and
//! compared with the database after each step.
//!
//! Nothing of the dispatcher's own judgement is asked. Which outcome a reply has, whether it
//! counts, when the next attempt is due and which key signs, all that is said here once more, from
//! the contract.

mod commands;
mod comparison;
mod consequence;
mod departure;
mod outage;

use std::collections::BTreeMap;

pub(super) use commands::{RATE, Selected};

use super::order::Order;
use super::posts::Posted;
use super::records::Logged;
use super::terms::Generation;
use consequence::interrupted;

/// How long to wait after a fault of our own host, in milliseconds.
const LOCAL_FAULT_WAIT: i64 = 15_000;

/// What the log says of an attempt that an outage of our own excuses.
const NOT_COUNTED: &str = "not counted: no merchant could be reached at the time";

/// The states of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Pending,
    Delivered,
    Exhausted,
    Cancelled,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A callback as it must be.
#[derive(Debug)]
pub(super) struct Callback {
    pub(super) order: Order,
    /// Whether the row can be read as a callback.
    readable: bool,
    pub(super) state: State,
    /// Counted attempts in this round.
    counted: usize,
    /// When it is due: one moment, or those among which the terms in force decide. Final: none.
    due: Vec<i64>,
    /// It may be due up to this moment: when an outage was known is not for the model to say.
    due_until: Option<i64>,
    finished_at: Option<i64>,
    /// Removed after its retention.
    pruned: bool,
    last_outcome: Option<String>,
    log: Vec<Logged>,
    /// The POST of each attempt in the log.
    attempted: Vec<Option<usize>>,
    leases: Vec<Lease>,
}

/// A claim that was granted.
#[derive(Clone, Debug)]
struct Lease {
    claimed_at: i64,
    /// The terms in force at the claim; the attempt may be made under later ones.
    generation: usize,
    /// Its one POST.
    post: Option<usize>,
    /// The row was cancelled meanwhile.
    revoked: bool,
}

/// See the module. Times are Unix milliseconds.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) generations: Vec<Generation>,
    pub(super) callbacks: BTreeMap<i64, Callback>,
    pub(super) posts: Vec<Posted>,
    /// The numbers of those that have ended, in that order.
    endings: Vec<usize>,
    /// The latest moment at which the wall clock was set.
    pub(super) clock_was: i64,
    violations: Vec<String>,
    /// The moment of the start that is under way.
    starting_at: Option<i64>,
    /// Attempts in the log, by outcome.
    pub(super) logged: BTreeMap<String, u64>,
    /// What operators have asked for, by the row of `operator_command`.
    commands: BTreeMap<i64, commands::Command>,
}

impl Callback {
    /// The claim that may still be recorded.
    fn current_lease(&self) -> Option<&Lease> {
        self.leases.iter().find(|lease| !lease.revoked)
    }
}

impl Oracle {
    pub(super) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// What was found so far.
    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn queued(&mut self, id: i64, order: Order, readable: bool, now: i64) {
        let callback = Callback {
            order,
            readable,
            state: State::Pending,
            counted: 0,
            due: vec![now],
            due_until: None,
            finished_at: None,
            pruned: false,
            last_outcome: None,
            log: Vec::new(),
            attempted: Vec::new(),
            leases: Vec::new(),
        };
        if self.callbacks.insert(id, callback).is_some() {
            self.violation(format!("id {id} was given twice"));
        }
    }

    pub(super) fn cancelled(&mut self, id: i64, was_pending: bool, now: i64) {
        let Some(callback) = self.callbacks.get_mut(&id) else {
            return;
        };
        if was_pending {
            callback.state = State::Cancelled;
            callback.finished_at = Some(now);
            callback.due.clear();
            for lease in &mut callback.leases {
                lease.revoked = true;
            }
        }
    }

    pub(super) fn resent(&mut self, id: i64, was_finished: bool, now: i64) {
        let Some(callback) = self.callbacks.get_mut(&id) else {
            return;
        };
        if was_finished {
            callback.state = State::Pending;
            callback.counted = 0;
            callback.due = vec![now];
            callback.finished_at = None;
        }
    }

    /// A claim is given back: at a drain, or because the limit of its origin has fallen.
    pub(super) fn released(&mut self, id: i64) {
        let Some(callback) = self.callbacks.get_mut(&id) else {
            return;
        };
        let unsent = |lease: &Lease| lease.post.is_none();
        match callback.leases.iter().position(unsent) {
            Some(at) => {
                callback.leases.remove(at);
                *self.logged.entry("released unsent".to_owned()).or_default() += 1;
            }
            None => self.violation(format!(
                "row {id} was given back, and no claim of it is unsent"
            )),
        }
    }

    /// The process has died or ended, and the next one begins.
    pub(super) fn starts_at(&mut self, now: Option<i64>) {
        self.starting_at = now;
    }

    /// A start has ended `count` attempts as interrupted.
    pub(super) fn interrupted(&mut self, count: usize) {
        let mut expected = 0;
        for callback in self.callbacks.values_mut() {
            expected += usize::from(callback.current_lease().is_some());
            callback.leases.clear();
        }
        // Those that were absorbed have lost their lease by that.
        if expected != 0 {
            self.violation(format!(
                "{expected} rows were in flight at the start and are not in the log as interrupted \
                 ({count} are said to be)"
            ));
        }
    }

    /// A recorded attempt was told that its lease is lost.
    pub(super) fn lease_lost(&mut self, id: i64) {
        let Some(callback) = self.callbacks.get_mut(&id) else {
            // Cancelled and pruned meanwhile.
            return;
        };
        match callback.leases.iter().position(|lease| lease.revoked) {
            Some(revoked) => {
                callback.leases.remove(revoked);
            }
            None => self.violation(format!("row {id}: a lease was lost that nobody revoked")),
        }
    }

    /// Takes up what the log has of `id` since the last time, at `now`.
    pub(super) fn absorb(&mut self, id: i64, logged: Vec<Logged>, now: i64) {
        for entry in logged {
            if let Err(wrong) = self.take_up(id, entry, now) {
                self.violation(format!("row {id}: {wrong}"));
            }
        }
    }

    /// How many attempts of `id` were taken up.
    pub(super) fn seq(&self, id: i64) -> i64 {
        let callback = self.callbacks.get(&id);
        callback.map_or(0, |callback| {
            i64::try_from(callback.log.len()).expect("few")
        })
    }

    fn take_up(&mut self, id: i64, entry: Logged, now: i64) -> Result<(), String> {
        let callback = self.callbacks.get(&id).ok_or("an attempt of no callback")?;
        let number = callback.log.len() + 1;
        if usize::try_from(entry.seq) != Ok(number) {
            return Err(format!("attempt {number} has seq {}", entry.seq));
        }
        let at = callback.leases.iter().position(|lease| !lease.revoked);
        let at =
            at.ok_or_else(|| format!("an attempt without a claim is in the log: {entry:?}"))?;
        let lease = &callback.leases[at];
        let consequence = match (self.starting_at, lease.post) {
            (Some(started_at), _) => interrupted(lease, &entry, started_at)?,
            (None, Some(post)) => self.after_post(callback, post, &entry)?,
            (None, None) => self.unsent(callback, lease, &entry)?,
        };
        *self.logged.entry(entry.outcome.clone()).or_default() += 1;
        if entry.detail.contains(NOT_COUNTED) {
            *self
                .logged
                .entry("not charged in an outage".to_owned())
                .or_default() += 1;
        }
        let clock_was = self.clock_was;
        let callback = self.callbacks.get_mut(&id).expect("it was there");
        callback.attempted.push(callback.leases[at].post);
        callback.leases.remove(at);
        callback.counted += usize::from(consequence.counts);
        callback.state = consequence.state;
        callback.due = consequence.due;
        callback.due_until = entry
            .detail
            .contains(NOT_COUNTED)
            .then_some(now.max(clock_was) + LOCAL_FAULT_WAIT);
        callback.finished_at = match consequence.state {
            State::Pending => None,
            _ => Some(entry.started_at + entry.duration_ms),
        };
        callback.last_outcome = Some(entry.outcome.clone());
        callback.log.push(entry);
        Ok(())
    }
}
