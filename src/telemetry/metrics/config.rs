//! Which settings and keys are in force.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{registered, unix_seconds};
use crate::domain::Timestamp;

#[derive(Debug)]
pub(super) struct ConfigSeries {
    fingerprint: Family<[(&'static str, String); 1], Gauge>,
    generations: Counter,
    reload_succeeded: Gauge,
    /// In seconds of Unix time.
    reload_succeeded_at: Gauge<f64, AtomicU64>,
}

impl ConfigSeries {
    pub(super) fn new(into: &mut Registry) -> Self {
        Self {
            fingerprint: registered(
                into,
                "config_fingerprint",
                "1 for the digest of the settings in force, but store.url: it tells whether hosts have the same",
                Family::default(),
            ),
            generations: registered(
                into,
                "config_generations",
                "How many settings and keys this process has taken up: those of its start, and one for each reload",
                Counter::default(),
            ),
            reload_succeeded: registered(
                into,
                "config_last_reload_successful",
                "1 if the settings and keys in force are those that were last asked for, 0 if the last reload was refused",
                Gauge::default(),
            ),
            reload_succeeded_at: registered(
                into,
                "config_last_reload_success_timestamp_seconds",
                "When the settings and keys in force were read, in Unix time",
                Gauge::default(),
            ),
        }
    }

    pub(super) fn configured(&self, fingerprint: &str, now: Timestamp) {
        self.fingerprint.clear();
        let label = [("sha256", fingerprint.to_owned())];
        self.fingerprint.get_or_create_owned(&label).set(1);
        self.generations.inc();
        self.reload_succeeded.set(1);
        self.reload_succeeded_at.set(unix_seconds(now));
    }

    pub(super) fn refused(&self) {
        self.reload_succeeded.set(0);
    }
}
