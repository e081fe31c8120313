//! The terms that a reload puts in place, as plain data that the oracle reads.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::delivery::DeliveryPolicy;
use callback_dispatcher::delivery::transport::Post;
use callback_dispatcher::domain::{
    Convention, KeyEntry, Keyring, Schedule, Secret, SigningKey, Timestamp,
};

use super::START;
use super::order::{APPS, KEYED_APPS};

/// `delivery.timeout`
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

/// One state of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) waits: Vec<Duration>,
    keys: Vec<Key>,
    pub(super) in_flight_max: usize,
    pub(super) in_flight_per_origin_max: usize,
    pub(super) shield: bool,
}

/// A key, readable.
#[derive(Clone, Debug)]
pub(super) struct Key {
    app: &'static str,
    pub(super) id: String,
    /// In Unix milliseconds.
    not_before: Option<i64>,
    pub(super) secret: String,
}

impl Generation {
    /// What stands in the defaults.
    pub(super) fn healthy() -> Self {
        Self::new(0, 0, None, false, true)
    }

    /// The same, and more at a time.
    pub(super) fn roomy() -> Self {
        Self {
            in_flight_max: 64,
            in_flight_per_origin_max: 32,
            ..Self::healthy()
        }
    }

    pub(super) fn new(
        waits: u8,
        places: u8,
        without_key_of: Option<u8>,
        rotated: bool,
        shield: bool,
    ) -> Self {
        let waits = match waits % 5 {
            0 | 1 => vec![5 * MINUTE; 3],
            2 => vec![MINUTE, 10 * MINUTE],
            3 => Vec::new(),
            _ => vec![Duration::from_secs(20); 5],
        };
        let (in_flight_max, in_flight_per_origin_max) =
            [(8, 4), (4, 2), (1, 1), (16, 3)][usize::from(places % 4)];
        Self {
            waits,
            keys: keys(without_key_of, rotated),
            in_flight_max,
            in_flight_per_origin_max,
            shield,
        }
    }

    /// The key that must sign for `app` at `moment`: the newest that has begun.
    pub(super) fn key(&self, app: &str, moment: i64) -> Option<&Key> {
        let of_app = self.keys.iter().filter(|key| key.app == app);
        of_app
            .filter(|key| key.not_before.is_none_or(|begins| begins <= moment))
            .max_by_key(|key| key.not_before)
    }

    /// The wait after an attempt that takes nothing from the budget, in milliseconds.
    pub(super) fn current_wait(&self, counted: usize) -> i64 {
        let wait = self.waits.get(counted).or(self.waits.last());
        millis(wait.copied().unwrap_or(5 * MINUTE))
    }

    /// The same for the dispatcher.
    pub(super) fn terms(&self, post: Arc<dyn Post>) -> DeliveryPolicy {
        let entry = |key: &Key| KeyEntry {
            app_id: key.app.to_owned(),
            id: key.id.clone(),
            not_before: key.not_before.map(Timestamp::from_millis),
            key: SigningKey::hmac(Secret::new(key.secret.clone())).expect("a secret"),
        };
        DeliveryPolicy {
            keyring: Keyring::new(self.keys.iter().map(entry).collect()).expect("a keyring"),
            convention: Convention::default(),
            schedule: Schedule::new(self.waits.clone()),
            in_flight_max: self.in_flight_max,
            in_flight_per_origin_max: self.in_flight_per_origin_max,
            in_flight_per_app_max: 65_536,
            timeout: TIMEOUT,
            local_fault_protection: self.shield,
            post,
        }
    }
}

fn keys(without_key_of: Option<u8>, rotated: bool) -> Vec<Key> {
    let generation = if rotated { "new" } else { "old" };
    let key = |app, id: &str, not_before| Key {
        app,
        id: format!("{id}-{generation}"),
        not_before,
        secret: format!("secret-of-{app}-{id}-{generation}"),
    };
    let mut keys = vec![
        key("6", "a", None),
        key("7", "a", None),
        key("8", "a", None),
        // An hour later this one takes over.
        key("8", "b", Some(START + 3_600_000)),
        key("9", "a", None),
        key("10", "a", None),
    ];
    if let Some(app) = without_key_of {
        let app = APPS[usize::from(app % KEYED_APPS)];
        keys.retain(|key| key.app != app);
    }
    keys
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("less than a million years")
}
