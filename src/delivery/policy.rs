//! What an attempt is made under; a reload replaces it whole.

use std::sync::Arc;
use std::time::Duration;

use super::transport::Post;
use crate::domain::{Convention, Keyring, Schedule};

/// Keys, schedule, limits and the transport. An attempt keeps the policy that it began under.
#[derive(Debug)]
pub struct DeliveryPolicy {
    /// The keys.
    pub keyring: Keyring,
    /// How a signature is made.
    pub convention: Convention,
    /// When a failed attempt is repeated.
    pub schedule: Schedule,
    /// `delivery.max_in_flight`
    pub in_flight_max: usize,
    /// `delivery.max_in_flight_per_merchant`
    pub in_flight_per_origin_max: usize,
    /// `delivery.max_in_flight_per_app`
    pub in_flight_per_app_max: usize,
    /// `delivery.timeout`: an attempt takes no longer on the network.
    pub timeout: Duration,
    /// `shield.enabled`: failures of our own host are not charged to the merchant.
    pub local_fault_protection: bool,
    /// The transport.
    pub post: Arc<dyn Post>,
}

/// Time for recording, after the network's deadline, until `leased_until` says that an attempt is
/// overdue.
const RECORDING_MARGIN: Duration = Duration::from_secs(30);

impl DeliveryPolicy {
    /// How long a lease is valid.
    pub fn lease(&self) -> Duration {
        self.timeout + RECORDING_MARGIN
    }
}
