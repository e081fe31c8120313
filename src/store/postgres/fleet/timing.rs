//! How long the dispatchers of a queue wait for each other.

use std::time::Duration;

/// How long the dispatchers of a queue wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetTiming {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// After so long without a heartbeat, a dispatcher is not counted.
    pub silent: Duration,
    /// After so long without a heartbeat, the leases of a dispatcher are taken over. Long enough for a
    /// server to restart.
    pub lease: Duration,
    /// How much earlier its leases expire in the dispatcher itself.
    pub margin: Duration,
}

impl Default for FleetTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            silent: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            margin: Duration::from_secs(3),
        }
    }
}

impl FleetTiming {
    /// A longer time between two heartbeats counts as a gap.
    pub(super) fn gap(&self) -> Duration {
        self.heartbeat * 3
    }

    /// How long a lease is valid here.
    pub(super) fn valid_for(&self) -> Duration {
        self.lease.saturating_sub(self.margin)
    }
}
