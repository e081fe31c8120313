//! What is said of a day's callbacks so that an auditor can check it: the canonical line of a
//! callback, and the link that chains a day to the one before.
//!
//! `docs/reconcile.md` defines both to the byte, for whoever checks them with a program of their
//! own. A change here that changes a byte is a new version of that format.

mod day;
mod line;
mod link;
mod payment;

pub use day::{Day, InvalidOffset, Offset, Period};
pub use line::{Fate, ReconciledCallback, TellingAttempt};
pub use link::{Counts, Digest, Lines, Link, LinkIds, NO_LINK};
pub use payment::{Difference, FieldDifference, GatewayPayment, QueuedResult, ResultKey};
