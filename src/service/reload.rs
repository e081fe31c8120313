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

impl Service {
    /// Takes note of a reload that was refused.
    pub fn reload_refused(&self) {
        self.metrics.reload_refused();
        self.history.reloaded(Some(self.clock.now()));
    }

    /// Takes up `configuration`: attempts that begin from now on are made under it, those in
    /// flight end under the one that they began under. Returns the keys that have changed but
    /// only take effect with a restart.
    ///
    /// # Errors
    ///
    /// What could not be set up; nothing has changed then.
    pub async fn reload(
        &mut self,
        configuration: Configuration,
    ) -> Result<Vec<&'static str>, ReloadError> {
        let Configuration { settings, keys } = configuration;
        let console_token = keys.console_token.as_ref().map(Token::new);
        let terms = terms(&settings, keys.keyring, keys.client_certificates)?;
        let pruning = pruning(&settings, &self.queue, &self.clock);
        self.housekeeping.replace(Arc::new(pruning)).await?;
        self.terms.send_replace(Arc::new(terms));
        self.console_token.send_replace(console_token);
        self.metrics.configured(self.clock.now());
        self.history.reloaded(None);
        let unchanged = needs_restart(&self.settings, &settings);
        Ok(unchanged)
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
