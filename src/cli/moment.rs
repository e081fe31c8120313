//! Moments on the command line.

use crate::clock::{Clock, SystemClock};
use crate::domain::Timestamp;

/// Reads a moment, a date (its first moment, in UTC), or an age counted from now.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let of_date = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    if let Some(moment) = Timestamp::parse(text).or_else(of_date) {
        return Ok(moment);
    }
    humantime::parse_duration(text)
        .map(|age| SystemClock.now().before(age))
        .map_err(|_| {
            "use a date like 2026-11-01, a moment like 2026-11-01T00:00:00Z or an age like 2h"
                .to_owned()
        })
}
