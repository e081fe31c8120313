//! Which attempts are in flight, and since when.

use std::time::Duration;

use super::endpoint_queue::Id;

/// The number of a slot that is occupied.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Slot(usize);

/// Attempts in flight, by slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    attempts: Vec<Option<(Id, Duration)>>,
    free: Vec<usize>,
}

impl Slots {
    /// An attempt of `id` begins, at this moment of the steady clock.
    pub(super) fn occupy(&mut self, id: Id, now: Duration) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            self.attempts.len() - 1
        });
        self.attempts[slot] = Some((id, now));
        Slot(slot)
    }

    /// The attempt has ended: whose it was, and since when it was in flight.
    pub(super) fn free(&mut self, Slot(slot): Slot) -> Option<(Id, Duration)> {
        let attempt = self.attempts.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(attempt)
    }

    /// The endpoints of attempts that have been in flight for longer than `age`.
    pub(super) fn older_than(&self, age: Duration, now: Duration) -> Vec<Id> {
        let attempts = self.attempts.iter().flatten();
        attempts
            .filter(|(_, since)| now.saturating_sub(*since) > age)
            .map(|(id, _)| *id)
            .collect()
    }
}
