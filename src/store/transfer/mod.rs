//! Moving a queue to another database: what is carried, and what is done at either end.
//!
//! | file | what |
//! |---|---|
//! | `tables` | what a queue consists of, and its rows |
//! | `end` | a queue that is held for a transfer, at either end |
//! | `marks` | the marks that keep both queues from being worked on meanwhile |
//!
//! The source is marked first and verified last. Between the two neither queue is worked on; before,
//! the source is the queue, and afterwards the target.
//!
//! Deliberately absent: leases. What is in flight is ended before anything is copied, so a row is the
//! same in both databases.

mod end;
mod marks;
mod tables;

pub use super::session::Value;
pub use end::TransferEnd;
pub use marks::{TransferIn, TransferOut};
pub use tables::{HighestIds, Page, Row, RowsDigest, TABLES, Table, replaced};

pub(super) use end::Held;
pub(super) use marks::{moved, require_in_use};
