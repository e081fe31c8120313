//! `Retry-After`: for how long an answer asks to be left alone (RFC 9110, 10.2.3).

use std::time::Duration;

use chrono::DateTime;
use hyper::HeaderMap;
use hyper::header::{DATE, HeaderName, RETRY_AFTER};

/// Seconds, or a moment by the server's own clock: without a `Date` a moment says nothing.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are a long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let wait = moment(headers, &RETRY_AFTER)? - moment(headers, &DATE)?;
    Some(wait.to_std().unwrap_or(Duration::ZERO))
}

fn moment(headers: &HeaderMap, name: &HeaderName) -> Option<DateTime<chrono::FixedOffset>> {
    let text = headers.get(name)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_anything_else_is_ignored() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (retry, date, wait) in [
            ("120", None, Some(120)),
            (" 7 ", None, Some(7)),
            ("99999999999999999999999", None, Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(date), Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(date), Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", None, None),
            ("-5", Some(date), None),
            ("soon", Some(date), None),
            ("", Some(date), None),
            (" ", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().expect("a header"));
            if let Some(date) = date {
                headers.insert(DATE, date.parse().expect("a header"));
            }
            let wait = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), wait, "{retry}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
