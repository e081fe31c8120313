//! Days: in UTC for the chain, in any offset for people.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::super::timestamp::Timestamp;
use super::super::words::InvalidValue;

const DAY_MS: i64 = 86_400_000;

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    /// Days since 1970-01-01.
    number: i64,
}

impl Day {
    /// The day in UTC that `moment` belongs to.
    pub const fn of(moment: Timestamp) -> Self {
        Self {
            number: moment.as_millis().div_euclid(DAY_MS),
        }
    }

    /// The day after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            number: self.number + 1,
        }
    }

    /// The day before.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self {
            number: self.number - 1,
        }
    }

    /// Its first moment in UTC.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_millis(self.number * DAY_MS)
    }

    /// The first moment after it in UTC.
    pub const fn end(self) -> Timestamp {
        self.next().start()
    }

    /// Whether a callback that was queued at `created_at` is old enough for it, if it is closed at
    /// `closed_at`. A time more than a day ahead of the closing is no time: a callback that has one
    /// would else be waited for, perhaps for years.
    pub fn takes(self, created_at: Timestamp, closed_at: Timestamp) -> bool {
        created_at < self.end() || created_at > closed_at.after(Duration::from_secs(86_400))
    }

    /// From its first moment to that of the next day, where clocks are `offset` ahead of UTC.
    pub fn period(self, offset: Offset) -> Period {
        let ahead_ms = i64::from(offset.seconds) * 1000;
        let moment = |utc: Timestamp| Timestamp::from_millis(utc.as_millis() - ahead_ms);
        Period {
            start: moment(self.start()),
            end: moment(self.end()),
        }
    }
}

/// `2026-11-24`
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.start().as_millis()) {
            Some(moment) => fmt::Display::fmt(&moment.date_naive(), f),
            None => write!(f, "day {}", self.number),
        }
    }
}

impl FromStr for Day {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let midnight = date
            .filter(|date| date.to_string() == text)
            .and_then(|date| date.and_hms_opt(0, 0, 0));
        let midnight = midnight.ok_or_else(|| {
            InvalidValue::new("day", text, "a day that exists, written like 2026-11-24")
        })?;
        let millis = midnight.and_utc().timestamp_millis();
        Ok(Self::of(Timestamp::from_millis(millis)))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From a moment to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

impl Period {
    /// Whether `moment` is in it.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.start <= moment && moment < self.end
    }
}

/// How far clocks are ahead of UTC; Laos: +07:00.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    seconds: i32,
}

impl Offset {
    /// Clocks show UTC.
    pub const UTC: Self = Self { seconds: 0 };

    /// No place is farther from UTC than that.
    const MAX: Duration = Duration::from_secs(14 * 3600);
}

/// Not an offset.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an offset from UTC; write it like +07:00")]
pub struct InvalidOffset(String);

impl FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = FixedOffset::from_str(text)
            .map(|offset| offset.local_minus_utc())
            .ok()
            .filter(|seconds| u64::from(seconds.unsigned_abs()) <= Self::MAX.as_secs());
        let seconds = seconds.ok_or_else(|| InvalidOffset(text.to_owned()))?;
        Ok(Self { seconds })
    }
}

/// `UTC`, or `+07:00`.
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match FixedOffset::east_opt(self.seconds) {
            Some(offset) if self.seconds != 0 => fmt::Display::fmt(&offset, f),
            _ => f.write_str("UTC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_printed() {
        for text in ["1970-01-01", "2024-02-29", "2026-11-24", "9999-12-31"] {
            let day: Day = text.parse().expect("a day");
            assert_eq!(day.to_string(), text);
        }
        for text in [
            "",
            "2026-02-29",
            "2026-1-2",
            "24.11.2026",
            "2026-11-24 ",
            "+2026-11-24",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_day_is_its_moments() {
        let day: Day = "2022-09-21".parse().expect("a day");
        let moment = Timestamp::from_millis(1_663_738_614_280);
        assert_eq!(Day::of(moment), day);
        assert_eq!(
            Day::of(Timestamp::from_millis(-1)).to_string(),
            "1969-12-31"
        );
        assert_eq!(day.next().previous(), day);
        let utc = day.period(Offset::UTC);
        assert_eq!(utc.start.to_string(), "2022-09-21T00:00:00.000Z");
        assert!(utc.contains(utc.start) && !utc.contains(utc.end));
        let laos = day.period("+07:00".parse().expect("an offset"));
        assert_eq!(laos.start.to_string(), "2022-09-20T17:00:00.000Z");
        assert_eq!(laos.end.to_string(), "2022-09-21T17:00:00.000Z");
    }

    #[test]
    fn offsets_are_read_and_printed() {
        for (text, shown) in [
            ("+07:00", "+07:00"),
            ("-03:30", "-03:30"),
            ("+00:00", "UTC"),
        ] {
            let offset: Offset = text.parse().expect("an offset");
            assert_eq!(offset.to_string(), shown);
        }
        for text in ["", "7", "Laos", "+25:00", "+14:01"] {
            assert!(text.parse::<Offset>().is_err(), "{text:?}");
        }
    }
}
