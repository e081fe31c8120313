//! Moments, as the tables and the wire hold them.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

/// A moment in Unix time, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every moment that the tables hold.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment `wait` later; the last representable one if there is none so late.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// The moment `wait` earlier.
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// How long it takes from `earlier` to here: zero if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_millis(millis.unsigned_abs())
    }

    /// The wire's `timestamp` for an attempt that starts at this moment: Unix milliseconds in decimal
    /// (document: "Callback execution time").
    pub fn to_wire(self) -> String {
        self.0.to_string()
    }

    /// Reads RFC 3339, for instance `2026-11-01T00:00:00Z` or `2026-11-01T07:00:00+07:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(moment.timestamp_millis()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// ISO 8601 in UTC with milliseconds, as the views print it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// The same text.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_iso_8601() {
        let moment = Timestamp::from_millis(1_663_738_614_280);
        assert_eq!(moment.to_string(), "2022-09-21T05:36:54.280Z");
        assert_eq!(Timestamp::parse("2022-09-21T05:36:54.280Z"), Some(moment));
        assert_eq!(
            Timestamp::parse("2022-09-21T12:36:54.280+07:00"),
            Some(moment)
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn does_not_overflow() {
        assert_eq!(Timestamp::MAX.after(Duration::from_secs(1)), Timestamp::MAX);
        let moment = Timestamp::from_millis(5);
        assert_eq!(moment.since(Timestamp::MAX), Duration::ZERO);
    }
}
