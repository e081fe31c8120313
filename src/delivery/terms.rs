//! What an attempt is made under; a reload replaces it whole.

use std::sync::Arc;
use std::time::Duration;

use super::transport::Post;
use crate::domain::{Convention, Keyring, Schedule};

/// Keys, schedule, limits and the way out. An attempt keeps the terms that it began under.
#[derive(Debug)]
pub struct Terms {
    /// The keys.
    pub keyring: Keyring,
    /// How a signature is made.
    pub convention: Convention,
    /// When it is tried again.
    pub schedule: Schedule,
    /// `delivery.max_in_flight`
    pub in_flight_max: usize,
    /// `delivery.max_in_flight_per_merchant`
    pub in_flight_per_origin_max: usize,
    /// `delivery.timeout`: an attempt takes no longer on the network.
    pub timeout: Duration,
    /// `shield.enabled`: failures of our own host are not charged to the merchant.
    pub shield: bool,
    /// The way out.
    pub post: Arc<dyn Post>,
}

/// Time for recording, beyond the network's deadline, after which an attempt counts as overdue to
/// people who look at `leased_until`.
const RECORDING_MARGIN: Duration = Duration::from_secs(30);

impl Terms {
    /// How long a lease stands.
    pub fn lease(&self) -> Duration {
        self.timeout + RECORDING_MARGIN
    }
}
