use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::super::sample;
use super::*;
use crate::domain::{Next, Outcome, PhaseTimes};

const PATIENCE: Duration = Duration::from_secs(10);

/// A collector in this process.
struct Collector {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Value>,
    answers_partially: Arc<AtomicBool>,
    /// Requests that are to be answered 503 first.
    is_busy: Arc<AtomicUsize>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let (seen, requests) = mpsc::unbounded_channel();
        let answers_partially = Arc::new(AtomicBool::new(false));
        let partially = Arc::clone(&answers_partially);
        let is_busy = Arc::new(AtomicUsize::new(0));
        let busy = Arc::clone(&is_busy);
        let take = post(async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/json");
            let request = serde_json::from_slice(&body).expect("JSON");
            seen.send(request).expect("the test waits for it");
            let answer = match partially.load(Ordering::Relaxed) {
                true => r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#,
                false => "{}",
            };
            let is_busy = busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
            let status = match is_busy {
                Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
                Err(_) => StatusCode::OK,
            };
            (status, [("retry-after", "0")], answer)
        });
        let app = Router::new().route("/v1/traces", take);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            requests,
            answers_partially,
            is_busy,
        }
    }

    async fn spans(&mut self) -> Vec<Value> {
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        let request = request.expect("a request in time").expect("a request");
        let resource = &request["resourceSpans"][0];
        let name = &resource["resource"]["attributes"][0];
        assert_eq!(name["key"], "service.name");
        assert_eq!(name["value"]["stringValue"], "callback-dispatcher");
        let instance = &resource["resource"]["attributes"][2];
        assert_eq!(instance["key"], "service.instance.id");
        let id = instance["value"]["stringValue"].as_str().expect("a text");
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
        let spans = resource["scopeSpans"][0]["spans"].as_array();
        spans.expect("an array").clone()
    }
}

fn endpoint(address: SocketAddr) -> Url {
    format!("http://{address}").parse().expect("a URL")
}

/// The value of an attribute, whatever its type.
fn attribute(span: &Value, key: &str) -> Option<String> {
    let attributes = span["attributes"].as_array().expect("an array");
    let found = attributes
        .iter()
        .find(|attribute| attribute["key"] == key)?;
    let value = found["value"].as_object().expect("an object");
    let value = value.values().next().expect("one value");
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

fn nanos(span: &Value, member: &str) -> u64 {
    let text = span[member].as_str().expect("a 64-bit number is a text");
    text.parse().expect("digits")
}

fn hex_digits(value: &Value) -> usize {
    let text = value.as_str().expect("a text");
    assert!(
        text.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{text}"
    );
    text.len()
}

/// An acknowledged attempt of 250 ms with these phases.
fn observe(traces: &Traces, outcome: Outcome, detail: &str) {
    let mut attempt = sample::attempt(outcome, detail);
    attempt.phases = PhaseTimes {
        dns: Some(Duration::from_millis(1)),
        tls: Some(Duration::from_micros(2500)),
        head: Some(Duration::from_millis(200)),
        ..PhaseTimes::default()
    };
    sample::with(&attempt, Next::Delivered, |finished| {
        traces.attempt_finished(finished);
    });
}

#[tokio::test]
async fn what_a_busy_collector_asks_for_again_is_sent_again_within_bounds() {
    let mut collector = Collector::start().await;
    let counters = SpanCounters::default();
    let (traces, export) = Traces::start(&endpoint(collector.address), counters.clone());
    collector.is_busy.store(2, Ordering::Relaxed);
    observe(&traces, Outcome::Acknowledged, "");
    for _ in 0..3 {
        collector.spans().await;
    }
    until_counted(&counters.exported, 1).await;
    collector.is_busy.store(100, Ordering::Relaxed);
    observe(&traces, Outcome::Acknowledged, "");
    for _ in 0..3 {
        collector.spans().await;
    }
    until_counted(&counters.dropped, 1).await;
    export.stop().await;
}

async fn until_counted(counter: &Counter, expected: u64) {
    let counted = async {
        while counter.get() < expected {
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    counted.expect("counted in time");
}

#[tokio::test]
async fn an_attempt_is_a_span_and_its_phases_are_children() {
    let mut collector = Collector::start().await;
    let counters = SpanCounters::default();
    let (traces, export) = Traces::start(&endpoint(collector.address), counters.clone());
    observe(&traces, Outcome::Timeout, "no answer within 10s");
    observe(&traces, Outcome::Acknowledged, "");
    export.stop().await;
    let spans = collector.spans().await;
    let names: Vec<_> = spans.iter().map(|span| span["name"].as_str()).collect();
    let names: Vec<_> = names
        .into_iter()
        .map(|name| name.expect("a name"))
        .collect();
    let one = ["callback attempt", "dns", "tls", "head"];
    assert_eq!(names, [one, one].concat());

    let failed = &spans[0];
    assert_eq!(failed["status"]["code"], 2);
    assert_eq!(failed["status"]["message"], "no answer within 10s");
    assert_eq!(failed["kind"], 3);
    assert_eq!(hex_digits(&failed["traceId"]), 32);
    assert_eq!(hex_digits(&failed["spanId"]), 16);
    let start = nanos(failed, "startTimeUnixNano");
    assert_eq!(start, 1_663_738_614_280_000_000);
    assert_eq!(nanos(failed, "endTimeUnixNano") - start, 250_000_000);
    for (key, value) in [
        ("callback.id", "17"),
        ("callback.kind", "payment"),
        ("callback.app_id", "6"),
        ("callback.outcome", "timeout"),
        ("callback.counted", "true"),
        ("callback.key_id", "2026-11"),
        ("error.type", "timeout"),
        ("server.address", "merchant.example"),
        ("server.port", "443"),
        ("url.scheme", "https"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(failed, key).as_deref(), Some(value), "{key}");
    }
    let mut from = start;
    for (phase, nanos_long) in spans[1..4].iter().zip([1_000_000, 2_500_000, 200_000_000]) {
        assert_eq!(phase["parentSpanId"], failed["spanId"]);
        assert_eq!(phase["traceId"], failed["traceId"]);
        assert_eq!(nanos(phase, "startTimeUnixNano"), from);
        from += nanos_long;
        assert_eq!(nanos(phase, "endTimeUnixNano"), from);
    }
    let acknowledged = &spans[4];
    assert_eq!(acknowledged["status"]["code"], 0);
    assert_eq!(attribute(acknowledged, "error.type"), None);
    assert_eq!(
        acknowledged["traceId"], failed["traceId"],
        "the same callback"
    );
    let ids: std::collections::BTreeSet<_> =
        spans.iter().map(|span| span["spanId"].as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "no two spans have one id");
    let all = Value::from(spans).to_string();
    for kept_back in ["SIGNATURE", "EXCERPT", "DIGEST"] {
        assert!(!all.contains(kept_back), "{kept_back} in {all}");
    }
    assert_eq!((counters.exported.get(), counters.dropped.get()), (2, 0));
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let mut collector = Collector::start().await;
    collector.answers_partially.store(true, Ordering::Relaxed);
    let counters = SpanCounters::default();
    let (traces, export) = Traces::start(&endpoint(collector.address), counters.clone());
    observe(&traces, Outcome::Acknowledged, "");
    export.stop().await;
    collector.spans().await;
    assert_eq!((counters.exported.get(), counters.dropped.get()), (0, 1));
}

#[tokio::test]
async fn without_a_collector_spans_are_dropped_and_counted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let free = listener.and_then(|listener| listener.local_addr());
    let counters = SpanCounters::default();
    let (traces, export) = Traces::start(&endpoint(free.expect("a port")), counters.clone());
    for _ in 0..3 {
        observe(&traces, Outcome::Acknowledged, "");
    }
    export.stop().await;
    assert_eq!((counters.exported.get(), counters.dropped.get()), (0, 3));
}

/// It takes connections and never answers. Whoever observes does not notice.
#[tokio::test]
async fn a_hanging_collector_holds_nobody_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let counters = SpanCounters::default();
    let (traces, export) = Traces::start(&endpoint(address), counters.clone());
    // None of these waits: the test has one thread, and the exporter no turn between them.
    for _ in 0..QUEUE_ATTEMPTS + 100 {
        observe(&traces, Outcome::Acknowledged, "");
    }
    assert_eq!(counters.dropped.get(), 100);
    let stopped = tokio::time::timeout(PATIENCE, export.stop()).await;
    assert_eq!(stopped, Ok(()), "the end does not wait for it either");
}
