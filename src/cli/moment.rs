//! Moments on the command line.

use crate::clock::{Clock, SystemClock};
use crate::domain::{Timestamp, read_moment};

/// See [`read_moment`].
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    read_moment(text, SystemClock.now())
}
