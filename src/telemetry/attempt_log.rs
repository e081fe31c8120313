//! One log line per attempt, always with the same fields.
//!
//! | field | what |
//! |---|---|
//! | `callback_id` | the row |
//! | `kind` | `payment`, `refund`, or `unknown` for a row that can't be read |
//! | `order` | the merchant's number of the payment or refund |
//! | `app_id`, `origin` | whose and whereto: scheme, host and port only |
//! | `attempt` | counted attempts in this round, this one included if it counts |
//! | `outcome`, `counted` | how it ended |
//! | `http_status`, `key_id`, `detail` | if there are any |
//! | `duration_ms` | how long it took |
//! | `next` | `delivered`, `exhausted` or the moment of the next attempt |
//!
//! INFO if acknowledged, ERROR if the callback is given up, else WARN; all under the target
//! [`ATTEMPT_TARGET`], so that `log.level` can hold them apart.
//!
//! Some of this text is the merchant's. It can't forge a line or command a terminal in any
//! format: what moves a cursor or reorders text is replaced here by a visible sign.
//!
//! Deliberately absent: bodies and their excerpts, signatures, secrets, paths and queries. The
//! table `callback_attempt` has what is kept of them.

use std::borrow::Cow;
use std::fmt;

use super::stderr::together;
use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::{Kind, Next, Outcome, Timestamp, visible};

/// The target of every attempt's line.
pub const ATTEMPT_TARGET: &str = "callback_dispatcher::attempt";

/// Writes one log line per attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLog;

impl Observer for AttemptLog {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        /// An event's level must be constant: the one line at each of three.
        macro_rules! line {
            ($level:ident) => {
                tracing::event!(
                    name: "attempt",
                    target: ATTEMPT_TARGET,
                    tracing::Level::$level,
                    callback_id = finished.id.0,
                    kind = finished.kind.map_or("unknown", Kind::as_str),
                    app_id = &*visible(finished.app_id),
                    order = &*visible(finished.order),
                    origin = &*visible(&finished.origin.as_text()),
                    attempt = finished.attempts,
                    outcome = finished.attempt.verdict.outcome.as_str(),
                    counted = finished.attempt.verdict.counted,
                    http_status = finished.attempt.http_status,
                    duration_ms = duration_ms(finished),
                    next = %NextWord(finished.next),
                    key_id = key_id(finished).as_deref(),
                    detail = detail(finished).as_deref(),
                    "attempt",
                )
            };
        }
        match (finished.attempt.verdict.outcome, finished.next) {
            (Outcome::Acknowledged, _) => line!(INFO),
            (_, Next::Exhausted) => line!(ERROR),
            _ => line!(WARN),
        }
    }

    fn attempts_finished(&self, finished: &[FinishedAttempt<'_>]) {
        together(|| {
            for finished in finished {
                self.attempt_finished(finished);
            }
        });
    }

    fn in_flight(&self, _attempts: usize) {}

    fn own_outage(&self, _is_on: bool) {}

    fn beat(&self, _now: Timestamp) {}
}

fn duration_ms(finished: &FinishedAttempt<'_>) -> u64 {
    u64::try_from(finished.attempt.duration.as_millis()).unwrap_or(u64::MAX)
}

fn key_id<'a>(finished: &FinishedAttempt<'a>) -> Option<Cow<'a, str>> {
    let sent = finished.attempt.sent.as_ref()?;
    Some(visible(&sent.key_id))
}

fn detail<'a>(finished: &FinishedAttempt<'a>) -> Option<Cow<'a, str>> {
    let detail = &finished.attempt.verdict.detail;
    (!detail.is_empty()).then(|| visible(detail))
}

/// What follows, in one word.
struct NextWord(Next);

impl fmt::Display for NextWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Next::Delivered => f.write_str("delivered"),
            Next::Exhausted => f.write_str("exhausted"),
            Next::RetryAt(moment) => moment.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::log::LogFormat;
    use super::super::log::tests::written;
    use super::super::sample;
    use super::*;
    use crate::domain::is_visible;

    fn logged(format: LogFormat, outcome: Outcome, detail: &str, next: Next) -> String {
        written(format, |_| {
            let attempt = sample::attempt(outcome, detail);
            sample::with(&attempt, next, |finished| {
                AttemptLog.attempt_finished(finished);
            });
        })
    }

    fn json(outcome: Outcome, detail: &str, next: Next) -> Value {
        let text = logged(LogFormat::Json, outcome, detail, next);
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("one JSON object")
    }

    const RETRY: Next = Next::RetryAt(sample::RETRY_AT);

    #[test]
    fn the_fields_are_fixed() {
        let mut line = json(Outcome::Refused, "the object has no transResult", RETRY);
        line.as_object_mut().expect("an object").remove("timestamp");
        assert_eq!(
            line,
            json!({
                "level": "WARN",
                "target": "callback_dispatcher::attempt",
                "message": "attempt",
                "callback_id": 17,
                "kind": "payment",
                "app_id": "6",
                "order": "M17",
                "origin": "https://merchant.example:443",
                "attempt": 1,
                "outcome": "refused",
                "counted": true,
                "http_status": 200,
                "duration_ms": 250,
                "next": "2022-09-21T05:41:54.280Z",
                "key_id": "2026-11",
                "detail": "the object has no transResult",
            })
        );
    }

    #[test]
    fn levels_and_next() {
        for (outcome, next, level, word) in [
            (Outcome::Acknowledged, Next::Delivered, "INFO", "delivered"),
            (Outcome::Timeout, Next::Exhausted, "ERROR", "exhausted"),
            (
                Outcome::Interrupted,
                RETRY,
                "WARN",
                "2022-09-21T05:41:54.280Z",
            ),
        ] {
            let line = json(outcome, "", next);
            assert_eq!(line["level"], level);
            assert_eq!(line["next"], word);
            assert_eq!(line["counted"], outcome.is_counted());
            assert_eq!(line.get("detail"), None, "there was none");
        }
    }

    #[test]
    fn a_merchants_text_forges_nothing() {
        let evil =
            "x\" outcome=\"acknowledged\"\r\n2026 INFO forged\u{1b}[2J\u{9b}31m\u{7f}\u{202e}";
        let shown = "␍␊2026 INFO forged␛[2J<U+009B>31m␡<U+202E>";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, Outcome::Refused, evil, RETRY);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains(shown), "{text}");
            assert!(text.trim_end().chars().all(is_visible), "{text:?}");
            assert!(!text.contains(" outcome=\"acknowledged\""), "{text}");
        }
    }

    #[test]
    fn the_formats_themselves_keep_to_one_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = written(format, |_| {
                tracing::info!(detail = "a\nb\u{1b}[2Jc", "said");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn neither_excerpt_nor_signature_is_logged() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, Outcome::Refused, "", RETRY);
            for absent in ["EXCERPT", "SIGNATURE", "DIGEST"] {
                assert!(!text.contains(absent), "{text}");
            }
        }
    }
}
