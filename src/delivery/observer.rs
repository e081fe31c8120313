//! What the dispatcher tells the metrics, the log and the traces.

use std::fmt;

use crate::domain::{CallbackId, Kind, Message, Next, Timestamp};
use crate::store::{Attempt, Origin, RecordedAttempt};

/// An attempt that has ended and been recorded.
#[derive(Debug)]
pub struct FinishedAttempt<'a> {
    /// The callback.
    pub id: CallbackId,
    /// Payment or refund; `None` when the row could not be read.
    pub kind: Option<Kind>,
    /// The app, if the row could be read.
    pub app_id: &'a str,
    /// The merchant's number of the payment or refund, if the row could be read.
    pub order: &'a str,
    /// The merchant's scheme, host and port, never path or query.
    pub origin: &'a Origin,
    /// When the gateway queued it.
    pub created_at: Timestamp,
    /// Counted attempts in this round, this one included if it counts.
    pub attempts: u32,
    /// How it went.
    pub attempt: &'a Attempt,
    /// What follows.
    pub next: Next,
    /// When it was recorded.
    pub now: Timestamp,
}

impl<'a> FinishedAttempt<'a> {
    pub(super) fn new(recorded: &'a RecordedAttempt, now: Timestamp) -> Self {
        let message = recorded.callback.as_ref().ok();
        let message = message.map(|callback| &callback.message);
        Self {
            id: recorded.id,
            kind: message.map(Message::kind),
            app_id: message.map_or("", Message::app_id),
            order: message.map_or("", Message::order),
            origin: &recorded.endpoint.origin,
            created_at: recorded.created_at,
            attempts: recorded.attempts + u32::from(recorded.attempt.verdict.counted),
            attempt: &recorded.attempt,
            next: recorded.next,
            now,
        }
    }
}

/// Hears of what the dispatcher does. Called on its hot path: must be quick and must not block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// An attempt was recorded.
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>);

    /// Attempts were recorded, in one commit.
    fn attempts_finished(&self, finished: &[FinishedAttempt<'_>]) {
        for finished in finished {
            self.attempt_finished(finished);
        }
    }

    /// The number of attempts that are under way now.
    fn in_flight(&self, attempts: usize);

    /// An outage of our own has begun (`true`) or ended.
    fn own_outage(&self, is_on: bool);

    /// How many attempts each origin may have in flight, as far as is learned. Told every 15 seconds.
    fn learned_limits(&self, _limits: &[usize]) {}

    /// The loop is alive. Called at least once a second by a healthy dispatcher.
    fn beat(&self, now: Timestamp);
}
