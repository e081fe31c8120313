//! How an attempt ended: one word, the same in tables, metrics, logs and commands.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::callback::InvalidValue;

/// The one outcome in which every attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx and one JSON object whose `transResult` is `SUCCESS`.
    Acknowledged,
    /// 2xx and a JSON object, but no `transResult: SUCCESS`.
    Refused,
    /// 2xx, but no single JSON object within the cap.
    Unreadable,
    /// Any status outside 2xx; redirects are here.
    HttpStatus,
    /// The deadline passed.
    Timeout,
    /// The host's name could not be resolved.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session.
    Tls,
    /// The connection was lost or garbled after it stood.
    Protocol,
    /// The egress policy forbids the address.
    Blocked,
    /// The dispatcher stopped between sending and recording.
    Interrupted,
    /// No usable key for the app; nothing was sent.
    Unsignable,
}

impl Outcome {
    /// Every outcome, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Acknowledged,
        Self::Refused,
        Self::Unreadable,
        Self::HttpStatus,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Protocol,
        Self::Blocked,
        Self::Interrupted,
        Self::Unsignable,
    ];

    /// The word that stands in tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::HttpStatus => "http_status",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Blocked => "blocked",
            Self::Interrupted => "interrupted",
            Self::Unsignable => "unsignable",
        }
    }

    /// Whether an attempt that ended so is charged to the merchant's budget.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Interrupted | Self::Unsignable)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| InvalidValue::new("outcome", text, "one of the contract's outcomes"))
    }
}
