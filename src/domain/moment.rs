//! Moments as people write them.

use std::time::Duration;

use chrono::{NaiveDateTime, NaiveTime};

use super::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// Reads a moment, all in UTC unless it has an offset: `2026-11-01T14:30:00Z`, `2026-11-01 14:30`, a date (its
/// first moment), a time (the last such one before `now`), or an age (`2h`, `3d`).
///
/// # Errors
///
/// If it is none of these; says what to write.
pub fn read_moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(moment) = Timestamp::parse(text).or_else(|| of_day(text)) {
        return Ok(moment);
    }
    if let Some(time) = of_time(text) {
        let midnight = now.as_millis() - now.as_millis().rem_euclid(86_400_000);
        let today = Timestamp::from_millis(midnight).after(time);
        return Ok(if today > now {
            today.before(DAY)
        } else {
            today
        });
    }
    match humantime::parse_duration(text) {
        Ok(age) => Ok(now.before(age)),
        Err(_) => Err(format!(
            "{text:?} is no moment; write a date like 2026-11-01, a moment like 2026-11-01T00:00:00Z or \
             2026-11-01 14:30 (UTC), a time like 14:30 (the last one, UTC) or an age like 2h"
        )),
    }
}

fn of_day(text: &str) -> Option<Timestamp> {
    let with_seconds = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok();
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    let moment = with_seconds(&text)
        .or_else(|| with_seconds(&format!("{text}:00")))
        .or_else(|| with_seconds(&format!("{text} 00:00:00")))?;
    Some(Timestamp::from_millis(moment.and_utc().timestamp_millis()))
}

fn of_time(text: &str) -> Option<Duration> {
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    time.ok()?
        .signed_duration_since(NaiveTime::MIN)
        .to_std()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_moments_times_and_ages_are_read() {
        let now = Timestamp::parse("2026-11-30T13:40:00Z").expect("a moment");
        for (text, expected) in [
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
            (" 2026-11-01 14:30 ", "2026-11-01T14:30:00.000Z"),
            ("2026-11-01T14:30", "2026-11-01T14:30:00.000Z"),
            ("2026-11-01T14:30Z", "2026-11-01T14:30:00.000Z"),
            ("2026-11-01 14:30:05", "2026-11-01T14:30:05.000Z"),
            ("2026-11-01T14:30:00+07:00", "2026-11-01T07:30:00.000Z"),
            ("13:40", "2026-11-30T13:40:00.000Z"),
            ("13:41", "2026-11-29T13:41:00.000Z"),
            ("02:14:09", "2026-11-30T02:14:09.000Z"),
            ("2h", "2026-11-30T11:40:00.000Z"),
            ("3d", "2026-11-27T13:40:00.000Z"),
        ] {
            let read = read_moment(text, now).map(|moment| moment.to_string());
            assert_eq!(read.as_deref(), Ok(expected), "{text:?}");
        }
        for text in ["", "yesterday", "2026-13-01", "25:00", "-2h"] {
            let error = read_moment(text, now).expect_err(text);
            assert!(error.contains("write a date"), "{error}");
        }
    }
}
