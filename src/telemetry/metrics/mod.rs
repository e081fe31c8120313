//! Every metric, named once.
//!
//! The names are the contract's (section 8): dashboards and alerts hang on them, so a test holds
//! the encoded text to that list. Every series exists from the start with the value 0, so that
//! an alert on a rate sees the first event too.
//!
//! The dispatcher calls in here on its hot path: series are resolved when the registry is made,
//! and a call is a few atomic additions, without a lock or a hash.
//!
//! Deliberately absent: a label with a merchant's value in it, be it app, origin or order. What
//! merchants send may not multiply series; `merchant_health` answers for single merchants.

mod config;
mod limits;
mod process;
mod store;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use self::config::ConfigSeries;
use self::limits::LimitSeries;
use self::process::ProcessSeries;
use self::store::StoreSeries;
use super::commits::Commits;
use super::histogram::DurationHistogram;
use super::traces::SpanCounters;
use crate::delivery::observer::{FinishedAttempt, Observer};
use crate::domain::{Kind, Next, Outcome, Timestamp};
use crate::health::{Trouble, TroubleKind};
use crate::store::{CommitObserver, PauseScope, ShownState, Stats};

/// The `Content-Type` of what [`Metrics::encode`] returns.
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What stands before every name.
const PREFIX: &str = "callback_dispatcher";

/// The label `kind`: the two kinds, and one for rows that can't be read as either.
const KINDS: [&str; 3] = [
    Kind::Payment.as_str(),
    Kind::Refund.as_str(),
    KIND_OF_UNREADABLE_ROW,
];

/// The label `kind` of a row that can't be read.
const KIND_OF_UNREADABLE_ROW: &str = "unknown";

/// From a merchant next door to beyond the deadline, whose default is 10 s.
const ATTEMPT_BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 60.0,
];

/// First attempts that go at once, then a bound half a minute beyond each retry of the default
/// schedule, then what an outage or a resend leaves.
const LAG_BOUNDS: [f64; 18] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 330.0, 630.0, 930.0,
    3600.0, 21600.0, 86400.0,
];

type OneLabel = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// The registry and its series.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By kind, then by outcome.
    attempts: [[Counter; Outcome::ALL.len()]; KINDS.len()],
    attempt_duration: DurationHistogram,
    delivery_lag: DurationHistogram,
    exhausted: [Counter; KINDS.len()],
    /// In seconds of Unix time; 0 until the first count.
    queue_counted_at: Gauge<f64, AtomicU64>,
    queue_callbacks: [Gauge; ShownState::ALL.len()],
    in_flight: Gauge,
    own_outage: Gauge,
    learned_limits: LimitSeries,
    oldest_due: Mutex<Option<Timestamp>>,
    oldest_due_at: Gauge<f64, AtomicU64>,
    /// Set when the metrics are read, so that an age is never an old one.
    oldest_due_age: Gauge<f64, AtomicU64>,
    paused: [Gauge; PauseScope::ALL.len()],
    store: Arc<StoreSeries>,
    /// By kind.
    troubles: [Gauge; TroubleKind::ALL.len()],
    spans: SpanCounters,
    process: ProcessSeries,
    config: ConfigSeries,
    /// In seconds of Unix time; 0 until the first.
    beat: Gauge<f64, AtomicU64>,
    /// In seconds of Unix time.
    start: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers every metric; `sqlite_version` is shown in `build_info`.
    pub fn new(sqlite_version: &str) -> Self {
        let mut registry = Registry::default();
        let process = ProcessSeries::new(registry.sub_registry_with_prefix("process"));
        let into = registry.sub_registry_with_prefix(PREFIX);
        let attempts = registered(
            into,
            "attempts",
            "Attempts recorded, by how they ended",
            Family::<TwoLabels, Counter>::default(),
        );
        let exhausted = registered(
            into,
            "exhausted",
            "Callbacks given up after their last retry",
            Family::<OneLabel, Counter>::default(),
        );
        let queue_callbacks = registered(
            into,
            "queue_callbacks",
            "Callbacks in each state of the whole queue, as last counted; every dispatcher of a fleet counts them all, so take the maximum",
            Family::<OneLabel, Gauge>::default(),
        );
        let paused = registered(
            into,
            "paused",
            "Origins and apps that operators have paused, as last counted",
            Family::<OneLabel, Gauge>::default(),
        );
        let troubles = registered(
            into,
            "troubles",
            "Things that need a person, by kind, as the console's front page lists them; endpoints are those of the whole queue",
            Family::<OneLabel, Gauge>::default(),
        );
        let spans = SpanCounters {
            exported: registered(
                into,
                "traces_exported",
                "Attempts whose spans the collector took",
                Counter::default(),
            ),
            dropped: registered(
                into,
                "traces_dropped",
                "Attempts whose spans were given up: the collector was away or too slow",
                Counter::default(),
            ),
        };
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("sqlite", sqlite_version.to_owned()),
        ]);
        into.register("build", "What runs here", build);
        Self {
            attempts: KINDS.map(|kind| {
                Outcome::ALL.map(|outcome| {
                    let labels = [("kind", kind), ("outcome", outcome.as_str())];
                    attempts.get_or_create_owned(&labels)
                })
            }),
            exhausted: KINDS.map(|kind| exhausted.get_or_create_owned(&[("kind", kind)])),
            queue_callbacks: ShownState::ALL
                .map(|state| queue_callbacks.get_or_create_owned(&[("state", state.as_str())])),
            paused: std::array::from_fn(|place| {
                let scope = PauseScope::ALL[place].as_str();
                paused.get_or_create_owned(&[("scope", scope)])
            }),
            queue_counted_at: registered(
                into,
                "queue_counted_timestamp_seconds",
                "When the callbacks in each state were last counted, in Unix time; 0 until the first count",
                Gauge::default(),
            ),
            attempt_duration: registered(
                into,
                "attempt_duration_seconds",
                "From the start of an attempt to its end",
                DurationHistogram::new(&ATTEMPT_BOUNDS),
            ),
            delivery_lag: registered(
                into,
                "delivery_lag_seconds",
                "From queued to acknowledged",
                DurationHistogram::new(&LAG_BOUNDS),
            ),
            in_flight: registered(
                into,
                "in_flight",
                "Attempts under way now",
                Gauge::default(),
            ),
            own_outage: registered(
                into,
                "own_outage",
                "1 while no merchant can be reached and the fault is taken for our own, else 0",
                Gauge::default(),
            ),
            learned_limits: LimitSeries::new(into),
            oldest_due: Mutex::default(),
            oldest_due_at: registered(
                into,
                "oldest_due_timestamp_seconds",
                "When the oldest callback that waits and is not paused is due, in Unix time, as of the last 15 s; 0: none waits",
                Gauge::default(),
            ),
            oldest_due_age: registered(
                into,
                "oldest_due_seconds",
                "How long the oldest due callback has waited beyond its time; 0 when none is overdue",
                Gauge::default(),
            ),
            store: Arc::new(StoreSeries::new(into)),
            troubles: TroubleKind::ALL
                .map(|kind| troubles.get_or_create_owned(&[("kind", kind.as_str())])),
            process,
            config: ConfigSeries::new(into),
            beat: registered(
                into,
                "beat_timestamp_seconds",
                "When the dispatcher's loop last said that it is alive, in Unix time; 0 until it begins",
                Gauge::default(),
            ),
            start: registered(
                into,
                "start_timestamp_seconds",
                "When the daemon started, in Unix time",
                Gauge::default(),
            ),
            spans,
            registry,
        }
    }

    /// Takes over a fresh count of the queue.
    pub fn set_queue(&self, stats: &Stats, now: Timestamp) {
        self.queue_counted_at.set(unix_seconds(now));
        for (state, callbacks) in &stats.depth {
            self.queue_callbacks[*state as usize]
                .set(i64::try_from(*callbacks).unwrap_or(i64::MAX));
        }
        for (gauge, scope) in self.paused.iter().zip(PauseScope::ALL) {
            let paused = stats.paused.iter().filter(|pause| pause.scope == *scope);
            gauge.set(i64::try_from(paused.count()).unwrap_or(i64::MAX));
        }
    }

    /// Takes over when the oldest callback that waits is due.
    pub fn set_oldest_due(&self, due: Option<Timestamp>) {
        *self
            .oldest_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = due;
        self.oldest_due_at.set(due.map_or(0.0, unix_seconds));
    }

    /// What the store tells of its commits.
    pub fn commit_observer(&self) -> Arc<dyn CommitObserver> {
        Arc::clone(&self.store) as _
    }

    /// Whether the store commits.
    pub fn commits(&self) -> Arc<Commits> {
        Arc::clone(&self.store.commits)
    }

    /// Takes over what needs a person.
    pub fn set_troubles(&self, troubles: &[Trouble]) {
        for (gauge, kind) in self.troubles.iter().zip(TroubleKind::ALL) {
            let of_kind = troubles.iter().filter(|trouble| trouble.kind == kind);
            gauge.set(i64::try_from(of_kind.count()).unwrap_or(i64::MAX));
        }
    }

    /// Where the export of traces counts.
    pub fn span_counters(&self) -> SpanCounters {
        self.spans.clone()
    }

    /// The daemon starts at this moment.
    pub fn started(&self, fingerprint: &str, now: Timestamp) {
        self.start.set(unix_seconds(now));
        self.process.started(unix_seconds(now));
        self.configured(fingerprint, now);
    }

    /// Settings with this fingerprint, and keys, that were read at this moment are in force.
    pub fn configured(&self, fingerprint: &str, now: Timestamp) {
        self.config.configured(fingerprint, now);
    }

    /// A reload was refused; what was in force stays so.
    pub fn reload_refused(&self) {
        self.config.refused();
    }

    /// Takes over how long the oldest snapshot has been held.
    pub fn set_oldest_snapshot(&self, seconds: u64) {
        self.store.set_oldest_snapshot(seconds);
    }

    /// Takes over the size of the store's write-ahead log.
    pub fn set_wal_bytes(&self, bytes: u64) {
        self.store.set_wal_bytes(bytes);
    }

    /// Every metric, as it is `now`, in OpenMetrics text.
    pub fn encode(&self, now: Timestamp) -> String {
        let due = *self
            .oldest_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let overdue = due.map_or(Duration::ZERO, |due| now.since(due));
        self.oldest_due_age.set(overdue.as_secs_f64());
        self.store.read(now);
        self.process.read();
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry).expect("a String takes every write");
        text
    }
}

/// Registers `metric` under its name, to which the encoder adds `_total` or `_info`, and returns it.
fn registered<M: Metric + Clone>(into: &mut Registry, name: &str, help: &str, metric: M) -> M {
    into.register(name, help, metric.clone());
    metric
}

/// As Prometheus writes moments.
fn unix_seconds(moment: Timestamp) -> f64 {
    moment.since(Timestamp::from_millis(0)).as_secs_f64()
}

/// Where [`KINDS`] has `kind`.
const fn kind_place(kind: Option<Kind>) -> usize {
    match kind {
        Some(Kind::Payment) => 0,
        Some(Kind::Refund) => 1,
        None => 2,
    }
}

impl Observer for Metrics {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        let kind = kind_place(finished.kind);
        let outcome = finished.attempt.verdict.outcome;
        self.attempts[kind][outcome as usize].inc();
        self.attempt_duration.observe(finished.attempt.duration);
        match finished.next {
            Next::Delivered => {
                let lag = finished.now.since(finished.created_at);
                self.delivery_lag.observe(lag);
            }
            Next::Exhausted => {
                self.exhausted[kind].inc();
            }
            Next::RetryAt(_) => {}
        }
    }

    fn in_flight(&self, attempts: usize) {
        self.in_flight
            .set(i64::try_from(attempts).unwrap_or(i64::MAX));
    }

    fn beat(&self, now: Timestamp) {
        self.beat.set(unix_seconds(now));
    }

    fn learned_limits(&self, limits: &[usize]) {
        self.learned_limits.set(limits);
    }

    fn own_outage(&self, is_on: bool) {
        self.own_outage.set(i64::from(is_on));
    }
}

#[cfg(test)]
mod tests;
