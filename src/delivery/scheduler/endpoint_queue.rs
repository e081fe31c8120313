//! One endpoint: what is due for it, what is held for it, and where it stands.

use std::collections::VecDeque;
use std::time::Duration;

use super::latency_class::LatencyClass;
use super::shares::Load;
use crate::domain::Timestamp;

/// An endpoint's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) usize);

/// An app's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct App(pub(super) usize);

/// An origin's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OriginId(pub(super) usize);

/// Where an endpoint stands; see the invariants of the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum QueueState {
    /// Nothing is known to be due.
    #[default]
    Idle,
    /// Due at this moment.
    Waiting(Timestamp),
    /// Due, and its origin has room.
    Ready,
    /// Due, but its origin has no room.
    Blocked,
    /// Part of the claim under way, which asked for so many.
    Claiming(usize),
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct EndpointQueue<T> {
    pub(super) app: App,
    pub(super) origin: OriginId,
    pub(super) state: QueueState,
    pub(super) due: Option<Timestamp>,
    pub(super) prefetched: VecDeque<T>,
    pub(super) load: Load,
    /// Attempts that have ended since the last plan that it was part of.
    pub(super) completed: usize,
    /// When the last one did, by the steady clock.
    pub(super) last_completion: Duration,
    /// Whether it has ever answered.
    pub(super) has_answered: bool,
    /// Whether it stands in the queue for slots, or waits for its origin or its app to have one.
    pub(super) is_offered: bool,
    /// Whether an entry stands in the ready queue of each class, stale or not.
    pub(super) is_queued: [bool; LatencyClass::ALL.len()],
    pub(super) is_listed_as_blocked: bool,
}

impl<T> EndpointQueue<T> {
    pub(super) const fn new(app: App, origin: OriginId) -> Self {
        Self {
            app,
            origin,
            state: QueueState::Idle,
            due: None,
            prefetched: VecDeque::new(),
            load: Load::NOTHING,
            completed: 0,
            last_completion: Duration::ZERO,
            has_answered: false,
            is_offered: false,
            is_queued: [false; LatencyClass::ALL.len()],
            is_listed_as_blocked: false,
        }
    }

    /// Whether there is nothing to send, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.state == QueueState::Idle && self.load.held() == 0
    }
}
