//! How an attempt ended: one word, the same in tables, metrics, logs and commands.

use serde::Serialize;

use super::words::words;

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

words!(Outcome, "outcome", "acknowledged, refused, unreadable, http_status, timeout, dns, connect, tls, protocol, blocked, interrupted or unsignable", {
    Acknowledged => "acknowledged",
    Refused => "refused",
    Unreadable => "unreadable",
    HttpStatus => "http_status",
    Timeout => "timeout",
    Dns => "dns",
    Connect => "connect",
    Tls => "tls",
    Protocol => "protocol",
    Blocked => "blocked",
    Interrupted => "interrupted",
    Unsignable => "unsignable",
});

impl Outcome {
    /// Whether an attempt that ended so is charged to the merchant's budget.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Interrupted | Self::Unsignable)
    }
}
