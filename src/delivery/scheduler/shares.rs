//! How many callbacks may be held, by latency class and by app.
//!
//! Slow endpoints hold at most half of all slots together, and with those that have not answered
//! yet at most three quarters: when many merchants hang at once, those that answer have the rest.
//!
//! While an outage of our own is probed, only the ceilings hold: few attempts are made, and which
//! endpoint answers first is what is to be found out.
//!
//! What is claimed ahead and waits for its own origin takes no slot from others, so it is no part of
//! any share. (Else small merchants with much that waits would keep the free slots from large ones.)
//!
//! Of these parts one app takes at most [`APP_FACTOR`] times what it leaves free. So however many
//! endpoints of an app hang, the first endpoint of another app finds a slot, and so does the next
//! app's after that; an app alone still gets most of the part. (The rule is that of dynamic
//! thresholds in shared switch buffers.)

use super::latency_class::LatencyClass;
use super::{Limits, PREFETCHED_MAX};

/// See the module.
const APP_FACTOR: usize = 3;

/// What is held: by an endpoint, an origin, an app, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Attempts under way.
    pub(super) in_flight: usize,
    /// Claimed, and waiting for a slot.
    pub(super) prefetched: usize,
    /// Asked for by a claim under way.
    pub(super) reserved: usize,
    /// The three together, by latency class.
    pub(super) by_class: [usize; LatencyClass::ALL.len()],
    /// Of these, what waits until its own origin has a slot, and so needs none of the others' yet.
    pub(super) beyond_origin: [usize; LatencyClass::ALL.len()],
}

impl Load {
    pub(super) const NOTHING: Self = Self {
        in_flight: 0,
        prefetched: 0,
        reserved: 0,
        by_class: [0; LatencyClass::ALL.len()],
        beyond_origin: [0; LatencyClass::ALL.len()],
    };

    /// All that is held.
    pub(super) const fn held(&self) -> usize {
        self.in_flight + self.prefetched + self.reserved
    }

    /// Applies `change`, for an endpoint of this class.
    pub(super) fn change(&mut self, class: LatencyClass, change: impl Fn(&mut Self)) {
        let before = self.held();
        change(self);
        let after = self.held();
        let of_class = &mut self.by_class[class as usize];
        *of_class = *of_class + after - before;
    }

    /// Counts an endpoint's load of one class under another.
    pub(super) fn move_class(&mut self, of: &Self, from: LatencyClass, to: LatencyClass) {
        let (from, to) = (from as usize, to as usize);
        self.by_class[from] -= of.by_class[from];
        self.by_class[to] += of.by_class[from];
        self.beyond_origin[from] -= of.beyond_origin[from];
        self.beyond_origin[to] += of.beyond_origin[from];
    }

    /// Of the whole: what may be claimed, whatever the class.
    pub(super) fn left(&self, ahead: usize, limits: Limits) -> usize {
        (limits.in_flight + ahead).saturating_sub(self.for_slots())
    }

    /// What may be claimed for origins whose slots are all taken.
    pub(super) fn left_beyond_origin(&self) -> usize {
        let beyond: usize = self.beyond_origin.iter().sum();
        PREFETCHED_MAX.saturating_sub(beyond)
    }

    /// Of the whole: what may be claimed for endpoints of this class together.
    pub(super) fn room(&self, class: LatencyClass, ahead: usize, limits: Limits) -> usize {
        let max = limits.in_flight;
        let held = self.held_by_no_faster_than(class);
        let room = match class {
            LatencyClass::Slow => max.div_ceil(2).saturating_sub(held),
            LatencyClass::Unproven => (max - max / 4).saturating_sub(held),
            LatencyClass::Fast => max + ahead,
        };
        let room = if limits.is_probing { max } else { room };
        room.min(self.left(ahead, limits))
    }

    /// Of an app: what may be claimed for its endpoints of this class together, as far as its own
    /// share goes.
    pub(super) fn room_of_app(
        &self,
        class: LatencyClass,
        ahead: usize,
        whole: &Self,
        limits: Limits,
    ) -> usize {
        let ahead_of_app = match class {
            LatencyClass::Fast => ahead,
            LatencyClass::Slow | LatencyClass::Unproven => 0,
        };
        let below_ceiling =
            (limits.in_flight_per_app + ahead_of_app).saturating_sub(self.for_slots());
        let share = match class {
            _ if limits.is_probing => usize::MAX,
            LatencyClass::Fast => usize::MAX,
            LatencyClass::Slow | LatencyClass::Unproven => {
                let free = whole.room(class, ahead, limits);
                let held = self.held_by_no_faster_than(class);
                (APP_FACTOR * free)
                    .saturating_sub(held)
                    .div_ceil(1 + APP_FACTOR)
            }
        };
        below_ceiling.min(share)
    }

    /// What has a slot, or takes the next that is free.
    fn for_slots(&self) -> usize {
        self.held_by_no_faster_than(LatencyClass::Fast)
    }

    fn held_by_no_faster_than(&self, class: LatencyClass) -> usize {
        let of_class = self.by_class.iter().zip(&self.beyond_origin);
        of_class
            .take(class as usize + 1)
            .map(|(held, beyond)| held - beyond)
            .sum()
    }
}
