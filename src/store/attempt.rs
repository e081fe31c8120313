//! One attempt, as the log keeps it.

use std::net::SocketAddr;
use std::time::Duration;

use super::ClaimedCallback;
use crate::domain::{Phase, PhaseTimes, Timestamp, Verdict};

/// How much of an answer's body the log keeps.
pub const RESPONSE_EXCERPT_BYTES_MAX: usize = 2048;

/// One attempt, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The wall clock at its start.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub verdict: Verdict,
    /// The answer's status, if a head came.
    pub http_status: Option<u16>,
    /// The beginning of the answer's body, see [`excerpt`].
    pub response_excerpt: Option<String>,
    /// Who was dialled.
    pub remote_addr: Option<SocketAddr>,
    /// What was sent, if anything was to be.
    pub sent: Option<Sent>,
    /// Where the exchange broke, if it did.
    pub phase: Option<Phase>,
    /// How long each phase took.
    pub phases: PhaseTimes,
}

/// What identifies the request that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The body's `timestamp`.
    pub timestamp: Timestamp,
    /// The body's `sign`.
    pub sign: String,
    /// The key that made it.
    pub key_id: String,
    /// SHA-256 of the whole body, in lower-case hex.
    pub body_sha256: String,
}

impl ClaimedCallback {
    /// Where it goes in place of its `callback_url`.
    pub(super) fn to_url(&self) -> Option<&str> {
        self.callback.as_ref().ok()?.to_url.as_deref()
    }
}

/// The first 2 KiB of a body as text; bytes that are no UTF-8 become U+FFFD, and a character is
/// not cut in two.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(RESPONSE_EXCERPT_BYTES_MAX)]);
    let cut = body.len() > RESPONSE_EXCERPT_BYTES_MAX;
    let whole = text.trim_end_matches('\u{fffd}');
    let text = if cut { whole } else { &text };
    let mut end = text.len().min(RESPONSE_EXCERPT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_whole_characters_within_the_cap() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt("ສະບາຍດີ".as_bytes()), "ສະບາຍດີ");
        let long = "ສ".repeat(1000);
        let cut = excerpt(long.as_bytes());
        assert!(cut.len() <= RESPONSE_EXCERPT_BYTES_MAX && cut.len() > 2040);
        assert!(long.starts_with(&cut));
        let garbage = excerpt(&[0xff; 4096]);
        assert!(garbage.len() <= RESPONSE_EXCERPT_BYTES_MAX);
    }
}
