//! Traces for OpenTelemetry, one span for each attempt, sent by OTLP over HTTP in its JSON form.
//!
//! | type | what |
//! |---|---|
//! | [`Traces`] | observes attempts and queues their spans; never waits |
//! | [`TraceExport`] | the task that sends them, and its end |
//! | `span` | what of an attempt is in a span, and what is not |
//!
//! All attempts of a callback share one trace, whose id follows from the callback, so that it can be
//! found by its row. The phases of an exchange are child spans.
//!
//! A collector that fails does not delay deliveries: the queue is bounded, what does not fit is
//! dropped and counted, and so is what the collector does not take in time.
//!
//! OpenTelemetry's own crates would be fourteen more, with a queue that does not say what it dropped; of
//! OTLP this is one message.
//!
//! Deliberately absent: sampling (the collector can), TLS (a collector stands on this host or in a
//! network of yours), and secrets, bodies, signatures, paths and queries of URLs.

mod export;
mod span;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use url::Url;

use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::Timestamp;

use export::{ExportMessage, Exporter};
use span::AttemptSpan;

pub use export::SpanCounters;

/// Attempts that may wait to be sent.
const QUEUE_ATTEMPTS: usize = 4096;

/// How long the end of the program waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Observes attempts and hands their spans to the exporter.
#[derive(Debug)]
pub struct Traces {
    messages: mpsc::Sender<ExportMessage>,
    counters: SpanCounters,
    /// Makes the ids of spans differ.
    next_span: AtomicU64,
}

/// The task that sends spans.
#[derive(Debug)]
pub struct TraceExport {
    messages: mpsc::Sender<ExportMessage>,
    task: JoinHandle<()>,
}

impl Traces {
    /// Sends spans to the collector at `endpoint`, an http URL without path, for instance
    /// `http://127.0.0.1:4318`.
    pub fn start(endpoint: &Url, counters: SpanCounters) -> (Self, TraceExport) {
        let (messages, incoming) = mpsc::channel(QUEUE_ATTEMPTS);
        let exporter = Exporter::new(endpoint, counters.clone());
        let task = tokio::spawn(exporter.run(incoming));
        let export = TraceExport {
            messages: messages.clone(),
            task,
        };
        // Spans of a process that ran before are not to be met again.
        let mut seed = [0; 8];
        let seed = match getrandom::fill(&mut seed) {
            Ok(()) => u64::from_ne_bytes(seed),
            Err(_) => u64::from(std::process::id()) << 32,
        };
        let traces = Self {
            messages,
            counters,
            next_span: AtomicU64::new(seed),
        };
        (traces, export)
    }
}

impl TraceExport {
    /// Sends what is queued, if that is possible in a moment, and ends.
    pub async fn stop(self) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.messages.send(ExportMessage::Flush(done)).await.is_ok() {
                // An exporter that is gone has nothing left to send.
                let _ = flushed.await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flush).await.is_err() {
            tracing::warn!("the last traces were not taken by the collector");
        }
        self.task.abort();
    }
}

impl Observer for Traces {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        let number = self.next_span.fetch_add(1, Ordering::Relaxed);
        let span = Box::new(AttemptSpan::new(finished, number));
        if self
            .messages
            .try_send(ExportMessage::Attempt(span))
            .is_err()
        {
            self.counters.dropped.inc();
        }
    }

    fn in_flight(&self, _attempts: usize) {}

    fn own_outage(&self, _is_on: bool) {}

    fn beat(&self, _now: Timestamp) {}
}
