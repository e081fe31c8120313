//! Why a message can't be signed.

use thiserror::Error;

use super::ambiguity::Ambiguity;
use super::reason::FOR_OPERATOR;
use super::timestamp::Timestamp;

/// Why a message could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsignable {
    /// No key is configured for the app.
    #[error("no key for app {app_id:?}; add a [[key]] for it to the keys file and reload")]
    UnknownApp {
        /// The app.
        app_id: String,
    },
    /// The app has keys, but none has begun.
    #[error("every key of app {app_id:?} begins later, the first at {first}; check not_before")]
    NotYetValid {
        /// The app.
        app_id: String,
        /// When its first key begins.
        first: Timestamp,
    },
    /// Its sign would also hold for another message.
    #[error(
        "{0}{FOR_OPERATOR}have the gateway leave that out, cancel this callback, or set \
         signing.ambiguous_texts = \"send\""
    )]
    Ambiguous(Ambiguity),
    /// The RSA operation itself failed.
    #[error("key {key_id:?} of app {app_id:?} could not sign; check the private key file")]
    Failed {
        /// The app.
        app_id: String,
        /// The key.
        key_id: String,
    },
}
