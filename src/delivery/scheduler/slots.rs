//! Which attempts are in flight, and since when.

use std::time::Duration;

use super::endpoint_queue::Id;
use crate::delivery::congestion::RoundId;

/// The number of a slot that is occupied.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Slot(usize);

/// An attempt in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupant {
    pub(super) id: Id,
    /// By the steady clock.
    pub(super) since: Duration,
    /// Of its origin's learned limit.
    pub(super) round: RoundId,
}

/// Attempts in flight, by slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    attempts: Vec<Option<Occupant>>,
    free: Vec<usize>,
}

impl Slots {
    /// An attempt begins.
    pub(super) fn occupy(&mut self, occupant: Occupant) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            self.attempts.len() - 1
        });
        self.attempts[slot] = Some(occupant);
        Slot(slot)
    }

    /// The attempt has ended.
    pub(super) fn free(&mut self, Slot(slot): Slot) -> Option<Occupant> {
        let attempt = self.attempts.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(attempt)
    }

    /// The endpoints of attempts that have been in flight for longer than `age`.
    pub(super) fn older_than(&self, age: Duration, now: Duration) -> Vec<Id> {
        let attempts = self.attempts.iter().flatten();
        attempts
            .filter(|occupant| now.saturating_sub(occupant.since) > age)
            .map(|occupant| occupant.id)
            .collect()
    }
}
