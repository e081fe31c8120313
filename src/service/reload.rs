//! Applies a changed configuration without a pause.

use std::sync::Arc;

use thiserror::Error;

use super::{Service, pruning, terms};
use crate::admin::console::Token;
use crate::config::{Configuration, Settings};
use crate::delivery::transport::TransportError;
use crate::housekeeping::HousekeepingError;

/// Why a configuration was not applied. The previous one stays in force.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The transport can't be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Pruning can't be scheduled.
    #[error(transparent)]
    Housekeeping(#[from] HousekeepingError),
}

/// What a reload has changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings.
    pub settings: Vec<String>,
    /// Keys that sign from now on, or may later: `app/id`.
    pub keys_added: Vec<String>,
    /// Keys that are gone.
    pub keys_removed: Vec<String>,
    /// Settings that differ from those of the start, and only take effect with a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Service {
    /// Takes note of a reload that was refused for `fault`.
    pub fn reload_refused(&self, fault: &str) {
        self.metrics.reload_refused();
        let refused = (self.clock.now(), fault.to_owned());
        self.history.reloaded(Some(refused));
    }

    /// Takes up `configuration`: attempts that begin from now on are made under it, those in
    /// flight end under the one that they began under. Returns what has changed.
    ///
    /// # Errors
    ///
    /// What could not be set up; nothing has changed then.
    pub async fn reload(&mut self, configuration: Configuration) -> Result<Reloaded, ReloadError> {
        let Configuration { settings, keys } = configuration;
        let console_token = keys.console_token.as_ref().map(Token::new);
        let terms = terms(&settings, keys.keyring, keys.client_certificates)?;
        let pruning = pruning(&settings, &self.queue, &self.clock);
        self.housekeeping.replace(Arc::new(pruning)).await?;
        let new_keys = terms.keyring.names();
        let old_keys = self.terms.send_replace(Arc::new(terms)).keyring.names();
        self.console_token.send_replace(console_token);
        self.metrics
            .configured(&settings.fingerprint(), self.clock.now());
        self.history.reloaded(None);
        let changed = settings.changed_since(&self.in_force);
        let reloaded = Reloaded {
            settings: changed.into_iter().map(str::to_owned).collect(),
            keys_added: new_keys.difference(&old_keys).cloned().collect(),
            keys_removed: old_keys.difference(&new_keys).cloned().collect(),
            needs_restart: needs_restart(&self.settings, &settings),
        };
        self.in_force = settings;
        Ok(reloaded)
    }
}

/// The keys that differ and hold for the life of the process.
fn needs_restart(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let fixed = [
        ("store.url", running.store.url != new.store.url),
        ("admin.listen", running.admin.listen != new.admin.listen),
        (
            "tracing.otlp_endpoint",
            running.tracing.otlp_endpoint != new.tracing.otlp_endpoint,
        ),
        (
            "admin.console_names",
            running.admin.console_names != new.admin.console_names,
        ),
        ("log.format", running.log.format != new.log.format),
        (
            "delivery.drain_timeout",
            running.delivery.drain_timeout != new.delivery.drain_timeout,
        ),
    ];
    fixed
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}
