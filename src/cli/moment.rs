//! Moments on the command line.

use crate::clock::{Clock, SystemClock};
use crate::domain::Timestamp;

/// Reads a moment, or an age counted from now.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Some(moment) = Timestamp::parse(text) {
        return Ok(moment);
    }
    humantime::parse_duration(text)
        .map(|age| SystemClock.now().before(age))
        .map_err(|_| "use a moment like 2026-11-01T00:00:00Z or an age like 2h".to_owned())
}
