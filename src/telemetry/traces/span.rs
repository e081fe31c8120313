//! An attempt as spans: what is told of it, in the form of OTLP's JSON.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions for HTTP clients where
//! they have one; the others begin with `callback.`.

use std::fmt;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::delivery::observer::FinishedAttempt;
use crate::domain::{Kind, Next, Outcome, Phase, Timestamp};

/// OTLP's SPAN_KIND_INTERNAL.
const KIND_INTERNAL: u8 = 1;
/// OTLP's SPAN_KIND_CLIENT.
const KIND_CLIENT: u8 = 3;
/// OTLP's STATUS_CODE_UNSET: what is well is not for an instrumentation to say.
const STATUS_UNSET: u8 = 0;
/// OTLP's STATUS_CODE_ERROR.
const STATUS_ERROR: u8 = 2;

/// Nanoseconds since the epoch.
type Nanos = i128;

/// One attempt, cut loose from the dispatcher.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    trace_id: String,
    span_number: u64,
    start: Nanos,
    end: Nanos,
    phases: Vec<(Phase, Nanos)>,
    outcome: Outcome,
    detail: String,
    attributes: Vec<Value>,
}

impl AttemptSpan {
    /// `number` is no other span's of this process.
    pub(super) fn new(finished: &FinishedAttempt<'_>, number: u64) -> Self {
        let attempt = finished.attempt;
        let start = nanos(attempt.started_at);
        let phases = attempt.phases.measured();
        Self {
            trace_id: trace_id(finished),
            span_number: number,
            start,
            end: start + i128::try_from(attempt.duration.as_nanos()).unwrap_or(i128::MAX),
            phases: phases
                .map(|(phase, time)| (phase, i128::try_from(time.as_nanos()).unwrap_or(0)))
                .collect(),
            outcome: attempt.verdict.outcome,
            detail: attempt.verdict.detail.clone(),
            attributes: attributes(finished),
        }
    }

    /// Its spans: the attempt, then its phases end to end.
    pub(super) fn spans(&self) -> Vec<Value> {
        let parent = span_id(self.span_number, 0);
        let (code, message) = match self.outcome {
            Outcome::Acknowledged => (STATUS_UNSET, ""),
            _ => (STATUS_ERROR, self.detail.as_str()),
        };
        let mut spans = vec![json!({
            "traceId": self.trace_id,
            "spanId": parent,
            "name": "callback attempt",
            "kind": KIND_CLIENT,
            "startTimeUnixNano": self.start.to_string(),
            "endTimeUnixNano": self.end.to_string(),
            "attributes": self.attributes,
            "status": {"code": code, "message": message},
        })];
        let mut from = self.start;
        for (place, (phase, time)) in (1..).zip(&self.phases) {
            let to = from + time;
            spans.push(json!({
                "traceId": self.trace_id,
                "spanId": span_id(self.span_number, place),
                "parentSpanId": parent,
                "name": phase.as_str(),
                "kind": KIND_INTERNAL,
                "startTimeUnixNano": from.to_string(),
                "endTimeUnixNano": to.to_string(),
            }));
            from = to;
        }
        spans
    }
}

/// The same for all attempts of a callback, in every process.
fn trace_id(finished: &FinishedAttempt<'_>) -> String {
    let created_at = finished.created_at.as_millis();
    let name = format!("callback {} queued at {created_at}", finished.id);
    hex::encode(&Sha256::digest(name)[..16])
}

fn span_id(number: u64, place: u8) -> String {
    let mut hasher = Sha256::new();
    hasher.update(number.to_be_bytes());
    hasher.update([place]);
    hex::encode(&hasher.finalize()[..8])
}

fn nanos(moment: Timestamp) -> Nanos {
    Nanos::from(moment.as_millis()) * 1_000_000
}

fn attributes(finished: &FinishedAttempt<'_>) -> Vec<Value> {
    let attempt = finished.attempt;
    let verdict = &attempt.verdict;
    let mut attributes = vec![
        number("callback.id", finished.id.0),
        text(
            "callback.kind",
            finished.kind.map_or("unknown", Kind::as_str),
        ),
        text("callback.app_id", finished.app_id),
        number("callback.attempt", i64::from(finished.attempts)),
        text("callback.outcome", verdict.outcome),
        json!({"key": "callback.counted", "value": {"boolValue": verdict.counted}}),
        text("callback.next", next(finished.next)),
        text("callback.queued_at", finished.created_at),
        text("http.request.method", "POST"),
    ];
    // The origin has neither path nor query nor user.
    if let Ok(origin) = Url::parse(&finished.origin.as_text()) {
        attributes.push(text("url.scheme", origin.scheme()));
        attributes.push(text(
            "server.address",
            origin.host_str().unwrap_or_default(),
        ));
        let port = origin.port_or_known_default().unwrap_or_default();
        attributes.push(number("server.port", i64::from(port)));
    }
    if let Some(address) = attempt.remote_addr {
        attributes.push(text("network.peer.address", address.ip()));
        attributes.push(number("network.peer.port", i64::from(address.port())));
    }
    if let Some(status) = attempt.http_status {
        attributes.push(number("http.response.status_code", i64::from(status)));
    }
    if let Some(sent) = &attempt.sent {
        attributes.push(text("callback.key_id", &sent.key_id));
    }
    match (verdict.outcome, attempt.http_status) {
        (Outcome::Acknowledged, _) => {}
        (Outcome::HttpStatus, Some(status)) => attributes.push(text("error.type", status)),
        (outcome, _) => attributes.push(text("error.type", outcome)),
    }
    attributes
}

fn next(next: Next) -> String {
    match next {
        Next::Delivered => "delivered".to_owned(),
        Next::Exhausted => "exhausted".to_owned(),
        Next::RetryAt(moment) => moment.to_string(),
    }
}

fn text(key: &str, value: impl fmt::Display) -> Value {
    json!({"key": key, "value": {"stringValue": value.to_string()}})
}

/// OTLP's JSON writes 64-bit numbers as texts.
fn number(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}
