//! Proof that no callback was left out or altered: the audit chain, and the gateway's own books.
//!
//! | who | what |
//! |---|---|
//! | [`close_days`] | adds the days that are over to the chain |
//! | [`verify`] | recomputes the chain |
//! | [`day_lines`] | shows what a closed day's digest was made of |
//! | [`report`] | counts a day's callbacks by app |
//! | [`compare`] | holds a day against what the gateway's books say |
//! | [`csv_payments`], [`sql_payments`] | read those books |
//!
//! A day's callbacks are read a page at a time, each page a short read of its own, so a day of
//! millions costs the delivery nothing and little memory. That is sound because a line depends on
//! its own callback alone, and a day's lines do not change once it is closed: an acknowledgement
//! in the log stays, and what was not acknowledged is noted with the day.
//!
//! Deliberately absent: any write but the chain's.

mod closing;
mod comparison;
mod lines;
mod payments;
mod report;
mod verification;
mod walk;

pub use closing::{CLOSING_DELAY, close_days};
pub use comparison::{CompareError, Comparison, compare};
pub use lines::{LinesError, day_lines};
pub use payments::{Payments, PaymentsError, csv_payments, sql_payments};
pub use report::{AppCounts, Report, report};
pub use verification::{ChainFault, DayFault, Retained, Verification, verify};
