//! One origin: what it has, what it waits for, and how fast it answers.

use std::collections::VecDeque;

use super::Rules;
use crate::domain::Timestamp;

/// What an origin's last attempt tells of its next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pace {
    /// Its last attempt took long, or one that is under way does.
    Slow,
    /// None has ended yet.
    #[default]
    Unproven,
    /// Its last attempt ended soon, however it ended.
    Fast,
}

impl Pace {
    pub(super) const ALL: [Self; 3] = [Self::Slow, Self::Unproven, Self::Fast];
}

/// What is known of one origin.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) in_flight: usize,
    pub(super) stock: VecDeque<T>,
    pub(super) due: Option<Timestamp>,
    pub(super) pace: Pace,
    pub(super) standing: Standing,
    pub(super) is_hungry: bool,
    pub(super) is_stocked: bool,
    /// Attempts that have ended since the last plan that it was part of.
    pub(super) ended: usize,
    /// When the last one did.
    pub(super) last_end: Timestamp,
}

/// Where an origin stands; see the invariant of the roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// In no queue: nothing due, or at the limit.
    #[default]
    Aside,
    /// In `ready`, under its pace.
    Ready,
    /// In `waiting` under this moment.
    Waiting(Timestamp),
    /// Part of the claim under way.
    Claiming,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            in_flight: 0,
            stock: VecDeque::new(),
            due: None,
            pace: Pace::default(),
            standing: Standing::default(),
            is_hungry: false,
            is_stocked: false,
            ended: 0,
            last_end: Timestamp::from_millis(0),
        }
    }
}

impl<T> Lane<T> {
    pub(super) fn held(&self) -> usize {
        self.in_flight + self.stock.len()
    }

    /// How much may be claimed for it beyond its limit.
    pub(super) fn ahead(&self, rules: Rules) -> usize {
        match self.pace {
            Pace::Fast => rules.ahead(self.ended),
            Pace::Slow | Pace::Unproven => 0,
        }
    }

    /// How much may be claimed for it.
    pub(super) fn room(&self, rules: Rules) -> usize {
        (rules.in_flight_per_origin_max + self.ahead(rules)).saturating_sub(self.held())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.standing == Standing::Aside && self.held() == 0 && self.due.is_none()
    }
}
