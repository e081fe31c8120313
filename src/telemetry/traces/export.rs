//! Sending spans to the collector, a batch at a time.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::span::AttemptSpan;
use crate::clock::Stopwatch;

/// Attempts in one request: some hundred kilobytes.
const BATCH_ATTEMPTS: usize = 256;

/// How long the first attempt of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a batch is sent that the collector asks for again.
const TRIES_MAX: u32 = 3;

/// A longer wait would cost the attempts behind it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// More than this of an answer is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of spans.
#[derive(Clone, Debug, Default)]
pub struct SpanCounters {
    /// Attempts whose spans the collector took.
    pub exported: Counter,
    /// Attempts whose spans were given up.
    pub dropped: Counter,
}

/// A message to the exporter.
#[derive(Debug)]
pub(super) enum ExportMessage {
    Attempt(Box<AttemptSpan>),
    /// All before this has been sent or given up.
    Flush(oneshot::Sender<()>),
}

/// Sends what comes to the collector.
#[derive(Debug)]
pub(super) struct Exporter {
    /// Where to, path included.
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    counters: SpanCounters,
    /// Tells this process from others of the same name.
    instance: String,
    /// Whether the last batch was given up: a long outage is one line in the log.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(endpoint: &Url, counters: SpanCounters) -> Self {
        let base = endpoint.as_str().trim_end_matches('/');
        Self {
            url: format!("{base}/v1/traces"),
            client: Client::builder(TokioExecutor::new()).build_http(),
            counters,
            instance: instance_id(),
            is_failing: false,
        }
    }

    /// Until nobody can write to it any more.
    pub(super) async fn run(mut self, mut incoming: mpsc::Receiver<ExportMessage>) {
        while let Some(first) = incoming.recv().await {
            let mut batch = Vec::new();
            let mut flushed = take(first, &mut batch);
            let full_by = Stopwatch::start().deadline(BATCH_DELAY);
            while flushed.is_none() && batch.len() < BATCH_ATTEMPTS {
                match tokio::time::timeout_at(full_by, incoming.recv()).await {
                    Ok(Some(message)) => flushed = take(message, &mut batch),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(&batch).await;
            if let Some(flushed) = flushed {
                // The caller may have given up waiting.
                let _ = flushed.send(());
            }
        }
    }

    async fn send(&mut self, batch: &[AttemptSpan]) {
        if batch.is_empty() {
            return;
        }
        let attempts = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        match self.send_with_retries(&self.request_body(batch)).await {
            Ok(()) => {
                self.counters.exported.inc_by(attempts);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(collector = self.url, "the collector takes traces again");
                }
            }
            Err(fault) => {
                self.counters.dropped.inc_by(attempts);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        collector = self.url,
                        fault,
                        "the collector takes no traces; they are dropped until it does"
                    );
                }
            }
        }
    }

    /// Tries again when the collector asks for that.
    async fn send_with_retries(&self, body: &Bytes) -> Result<(), String> {
        let mut tries = 1;
        loop {
            match self.post(body.clone()).await {
                Err(Refusal {
                    wait: Some(wait), ..
                }) if tries < TRIES_MAX => {
                    tries += 1;
                    let until = Stopwatch::start().deadline(wait.min(RETRY_AFTER_MAX));
                    let _ = tokio::time::timeout_at(until, std::future::pending::<()>()).await;
                }
                done => return done.map_err(|refusal| refusal.words),
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Refusal> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Refusal::from(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                cause.unwrap_or_else(|| error.to_string())
            })?;
            let status = answer.status();
            let wait = wait(status, answer.headers());
            // Read to its end, so that the connection can be used again.
            let answer = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let answer = answer.collect().await.map_err(|error| error.to_string())?;
            accepted(status, &answer.to_bytes()).map_err(|words| Refusal { words, wait })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(done) => done,
            Err(_) => Err(format!("no answer within {TIMEOUT:?}").into()),
        }
    }

    /// OTLP's ExportTraceServiceRequest.
    fn request_body(&self, batch: &[AttemptSpan]) -> Bytes {
        let version = env!("CARGO_PKG_VERSION");
        let name = env!("CARGO_PKG_NAME");
        let attribute = |key, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let spans: Vec<Value> = batch.iter().flat_map(AttemptSpan::spans).collect();
        let request = json!({"resourceSpans": [{
            "resource": {"attributes": [
                attribute("service.name", name),
                attribute("service.version", version),
                attribute("service.instance.id", &self.instance),
            ]},
            "scopeSpans": [{"scope": {"name": name, "version": version}, "spans": spans}],
        }]});
        Bytes::from(request.to_string())
    }
}

/// Why the collector did not take a batch.
#[derive(Debug)]
struct Refusal {
    words: String,
    /// After how long it may be asked again.
    wait: Option<Duration>,
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Self { words, wait: None }
    }
}

/// How long to wait before the same is sent again; `None`: it would be refused again.
fn wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 502..=504) {
        return None;
    }
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = asked.and_then(|text| text.trim().parse().ok());
    Some(seconds.map_or(Duration::from_secs(1), Duration::from_secs))
}

/// Adds an attempt to the batch, or says who waits for its end.
fn take(message: ExportMessage, batch: &mut Vec<AttemptSpan>) -> Option<oneshot::Sender<()>> {
    match message {
        ExportMessage::Attempt(span) => {
            batch.push(*span);
            None
        }
        ExportMessage::Flush(done) => Some(done),
    }
}

/// Whether the collector took it all. It says 200 even to what it refuses in part.
fn accepted(status: StatusCode, answer: &[u8]) -> Result<(), String> {
    if !status.is_success() {
        return Err(format!("HTTP status {}", status.as_u16()));
    }
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let refused = &answer["partialSuccess"]["rejectedSpans"];
    // A 64-bit number, so perhaps a text.
    let refused = refused.as_str().map_or_else(
        || refused.as_u64().unwrap_or(0),
        |text| text.parse().unwrap_or(0),
    );
    match refused {
        0 => Ok(()),
        spans => Err(format!("the collector refused {spans} spans")),
    }
}

/// A random UUID.
fn instance_id() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}
