//! Which key signs for which app at which moment.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::signature::SigningKey;
use super::timestamp::Timestamp;
use super::unsignable::Unsignable;

/// A key with its place in an app's rotation.
#[derive(Debug)]
pub struct KeyEntry {
    /// The app that it signs for.
    pub app_id: String,
    /// Its name, recorded with every attempt.
    pub id: String,
    /// When it begins to sign; `None`: it always has.
    pub not_before: Option<Timestamp>,
    /// The key itself.
    pub key: SigningKey,
}

/// Why a set of keys is not a keyring.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Two keys of one app have the same name.
    #[error("app {app_id:?} has two keys with id {id:?}; give each its own")]
    DoubledId {
        /// The app.
        app_id: String,
        /// The name.
        id: String,
    },
    /// Two keys of one app begin at the same moment.
    #[error(
        "keys {first:?} and {second:?} of app {app_id:?} begin at the same moment; \
         give them different not_before"
    )]
    SameBeginning {
        /// The app.
        app_id: String,
        /// One key.
        first: String,
        /// The other.
        second: String,
    },
}

/// All keys, by app. The newest key that has begun signs.
#[derive(Debug, Default)]
pub struct Keyring {
    by_app: BTreeMap<String, Vec<KeyEntry>>,
}

impl Keyring {
    /// Orders `entries` by app and beginning.
    ///
    /// # Errors
    ///
    /// Every fault found, not just the first.
    pub fn new(entries: Vec<KeyEntry>) -> Result<Self, Vec<KeyError>> {
        let mut by_app: BTreeMap<String, Vec<KeyEntry>> = BTreeMap::new();
        for entry in entries {
            by_app.entry(entry.app_id.clone()).or_default().push(entry);
        }
        let mut faults = Vec::new();
        for (app_id, keys) in &mut by_app {
            keys.sort_by_key(|key| key.not_before);
            let mut ids = BTreeSet::new();
            for key in keys.iter().filter(|key| !ids.insert(&key.id)) {
                faults.push(KeyError::DoubledId {
                    app_id: app_id.clone(),
                    id: key.id.clone(),
                });
            }
            for pair in keys.windows(2) {
                if pair[0].not_before == pair[1].not_before {
                    faults.push(KeyError::SameBeginning {
                        app_id: app_id.clone(),
                        first: pair[0].id.clone(),
                        second: pair[1].id.clone(),
                    });
                }
            }
        }
        if faults.is_empty() {
            Ok(Self { by_app })
        } else {
            Err(faults)
        }
    }

    /// The key that signs for `app_id` at `now`.
    ///
    /// # Errors
    ///
    /// [`Unsignable::UnknownApp`] or [`Unsignable::NotYetValid`].
    pub fn signer(&self, app_id: &str, now: Timestamp) -> Result<&KeyEntry, Unsignable> {
        let keys = self.keys(app_id);
        let Some(oldest) = keys.first() else {
            return Err(Unsignable::UnknownApp {
                app_id: app_id.to_owned(),
            });
        };
        keys.iter()
            .rev()
            .find(|key| key.not_before.is_none_or(|begins| begins <= now))
            .ok_or_else(|| Unsignable::NotYetValid {
                app_id: app_id.to_owned(),
                first: oldest.not_before.unwrap_or(now),
            })
    }

    /// Every key of `app_id`, oldest first.
    pub fn keys(&self, app_id: &str) -> &[KeyEntry] {
        self.by_app.get(app_id).map_or(&[], Vec::as_slice)
    }

    /// The apps that have keys.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.by_app.keys().map(String::as_str)
    }

    /// The names of keys whose secrets have white space around them.
    pub fn with_stray_white_space(&self) -> impl Iterator<Item = String> {
        let keys = self.by_app.values().flatten();
        let stray = keys.filter(|key| key.key.has_stray_white_space());
        stray.map(|key| format!("{}/{}", key.app_id, key.id))
    }

    /// The names of all keys, for people: `6/2026-11`.
    pub fn names(&self) -> BTreeSet<String> {
        let keys = self.by_app.values().flatten();
        keys.map(|key| format!("{}/{}", key.app_id, key.id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::Secret;
    use super::*;

    fn entry(app_id: &str, id: &str, not_before: Option<i64>) -> KeyEntry {
        KeyEntry {
            app_id: app_id.to_owned(),
            id: id.to_owned(),
            not_before: not_before.map(Timestamp::from_millis),
            key: SigningKey::hmac(Secret::new("s".to_owned())).expect("not empty"),
        }
    }

    #[test]
    fn the_newest_key_that_has_begun_signs() {
        let ring = Keyring::new(vec![
            entry("6", "c", Some(200)),
            entry("6", "a", None),
            entry("6", "b", Some(100)),
        ])
        .expect("no fault");
        for (now, id) in [(0, "a"), (99, "a"), (100, "b"), (199, "b"), (200, "c")] {
            let signer = ring.signer("6", Timestamp::from_millis(now));
            assert_eq!(signer.expect("has begun").id, id, "at {now}");
        }
    }

    #[test]
    fn says_why_there_is_none() {
        let ring = Keyring::new(vec![entry("6", "b", Some(100))]).expect("no fault");
        assert!(matches!(
            ring.signer("7", Timestamp::from_millis(0)),
            Err(Unsignable::UnknownApp { .. })
        ));
        assert!(matches!(
            ring.signer("6", Timestamp::from_millis(99)),
            Err(Unsignable::NotYetValid { .. })
        ));
    }

    #[test]
    fn reports_every_fault() {
        let faults = Keyring::new(vec![
            entry("6", "a", None),
            entry("6", "a", Some(1)),
            entry("7", "x", Some(5)),
            entry("7", "y", Some(5)),
        ])
        .expect_err("two faults");
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
