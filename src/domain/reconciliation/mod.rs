//! What is said of a day's callbacks so that an auditor can check it: the canonical line of a
//! callback, and the day record that chains a day to the one before.
//!
//! `docs/reconcile.md` defines both to the byte, for whoever checks them with a program of their
//! own. A change here that changes a byte is a new version of that format.

mod day;
mod day_record;
mod line;
mod payment;

pub use day::{Day, InvalidOffset, Offset, Period};
pub use day_record::{Counts, DayIds, DayRecord, Digest, Lines, NO_PREVIOUS_DAY};
pub use line::{DecisiveAttempt, ReconciledCallback, ReconciledState};
pub use payment::{Difference, FieldDifference, GatewayPayment, QueuedResult, ResultKey};
