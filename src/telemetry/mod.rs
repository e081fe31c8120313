//! What the program says of itself: metrics, logs and traces.
//!
//! | type | what |
//! |---|---|
//! | [`Metrics`] | every metric, by the names of the contract |
//! | [`start_log`], [`LogHandle`] | where log lines go, in which form, from which level on |
//! | [`AttemptLog`] | one line per attempt |
//! | [`Traces`] | spans for OpenTelemetry, one per attempt |
//! | [`Observers`] | passes what the dispatcher reports on to several of them |
//!
//! Neither a label nor a log line holds a secret, a body, or the path or query of a URL.

mod attempt_log;
mod commits;
mod histogram;
mod journal;
mod log;
mod metrics;
mod observers;
mod prometheus;
#[cfg(test)]
mod sample;
mod stderr;
mod traces;

pub use attempt_log::{ATTEMPT_TARGET, AttemptLog};
pub use commits::Commits;
pub use log::{LogError, LogFormat, LogHandle, check_log, start_log};
pub use metrics::{Metrics, OPENMETRICS_CONTENT_TYPE};
pub use observers::Observers;
pub use prometheus::{PROMETHEUS_CONTENT_TYPE, prometheus_text};
pub use traces::{SpanCounters, TraceExport, Traces};
