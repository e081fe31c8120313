//! What the end of an attempt says about the load of its origin.

use std::time::Duration;

use crate::domain::{Cause, Exchange, Phase};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Signal {
    /// An answer came.
    Answered,
    /// The deadline passed, and the merchant may still be busy with the request.
    TimedOut,
    /// No answer came, and nothing of the request is left over there.
    Failed,
    /// The merchant asks for less, perhaps with the time for which it wants nothing.
    Throttled(Option<Duration>),
    /// Nothing.
    Silent,
}

impl Signal {
    /// What `exchange` says, with the `Retry-After` of its answer.
    pub(in crate::delivery) fn of(exchange: &Exchange, retry_after: Option<Duration>) -> Self {
        match exchange {
            Exchange::Answered { status, .. } => Self::of_status(*status, retry_after),
            Exchange::Failed(fault) => match (fault.status, fault.cause, fault.phase) {
                // The name could not be resolved, or the fault is ours.
                (_, Cause::Local, _) | (_, _, Phase::Dns) => Self::Silent,
                // A full backlog drops attempts to connect.
                (_, Cause::Deadline, Phase::Connect) => Self::Failed,
                (_, Cause::Deadline, Phase::Tls | Phase::Head | Phase::Body) => Self::TimedOut,
                (Some(status), _, _) => Self::of_status(status, retry_after),
                (None, _, _) => Self::Failed,
            },
            Exchange::Blocked { .. } => Self::Silent,
        }
    }

    const fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match (status, retry_after) {
            (429, wait) => Self::Throttled(wait),
            (503, Some(wait)) => Self::Throttled(Some(wait)),
            // A gateway whose server is overloaded or gone, or a merchant that can't store this one
            // callback: no reason to pause the others.
            (502..=504, _) => Self::Failed,
            _ => Self::Answered,
        }
    }
}
