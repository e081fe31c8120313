//! How many callbacks may be held, by latency class and by app.
//!
//! Slow endpoints hold at most half of all slots together, and with those that have not answered
//! yet at most three quarters: when many merchants hang at once, those that answer have the rest.
//!
//! While an outage of our own is probed, only the ceilings hold: few attempts are made, and which
//! endpoint answers first is what is to be found out.
//!
//! Of these parts one app takes at most [`APP_FACTOR`] times what it leaves free. So however many
//! endpoints of an app hang, the first endpoint of another app finds a slot, and so does the next
//! app's after that; an app alone still gets most of the part. (The rule is that of dynamic
//! thresholds in shared switch buffers.)

use super::Limits;
use super::latency_class::LatencyClass;

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
}

impl Load {
    pub(super) const NOTHING: Self = Self {
        in_flight: 0,
        prefetched: 0,
        reserved: 0,
        by_class: [0; LatencyClass::ALL.len()],
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

    /// Counts `held` of one class under another.
    pub(super) const fn move_class(&mut self, held: usize, from: LatencyClass, to: LatencyClass) {
        self.by_class[from as usize] -= held;
        self.by_class[to as usize] += held;
    }

    /// Of the whole: what may be claimed, whatever the class.
    pub(super) const fn left(&self, ahead: usize, limits: Limits) -> usize {
        (limits.in_flight + ahead).saturating_sub(self.held())
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
        let below_ceiling = (limits.in_flight_per_app + ahead_of_app).saturating_sub(self.held());
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

    fn held_by_no_faster_than(&self, class: LatencyClass) -> usize {
        self.by_class[..=class as usize].iter().sum()
    }
}
