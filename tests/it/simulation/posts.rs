//! What was sent, as the merchants saw it.

use super::operation::Reply;

/// A POST. Times are Unix milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) id: i64,
    pub(super) url: String,
    pub(super) at: i64,
    /// The terms that it was made under.
    pub(super) generation: usize,
    pub(super) body: String,
    /// In lower-case hex.
    pub(super) body_sha256: String,
    /// What it must have been signed with.
    pub(super) sign: String,
    pub(super) key_id: String,
    pub(super) fate: Fate,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing has come back yet.
    Waiting,
    /// This came back.
    Ended { reply: Reply, at: i64 },
    /// The process died first.
    Cut,
}
