//! What is tried: how dispatchers are kept apart, how often what may go wrong, and what is left out.

/// How several dispatchers are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// SQLite: one at a time, by a lock that dies with its process.
    Lock,
    /// PostgreSQL: all at once, by leases that live as long as their dispatcher's heartbeats.
    Leases,
}

/// How often what may go wrong does, over a whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// A process dies, anywhere.
    pub(super) crashes: u8,
    /// A living dispatcher gives no sign of life for so long that its leases are taken over.
    pub(super) stalls: u8,
    /// The database commits and its answer is lost.
    pub(super) unconfirmed: u8,
    /// Not a fault: an operator opens a new round for a finished row.
    pub(super) resends: u8,
}

/// A part of the protocol that is left out, to see that the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// `record` asks for a pending row, whoever holds it.
    TokenInRecord,
    /// A second process starts on the same file.
    Lock,
    /// A start leaves the rows in flight as they stand.
    InterruptAtStart,
    /// The POST leaves before its claim is committed.
    ClaimBeforeSend,
    /// An interrupted attempt is charged to the merchant.
    FreeInterruption,
    /// A dispatcher ends leases of others that give signs of life.
    SilenceBeforeTakeover,
    /// A holder sends without looking whether its lease still stands by its own clock; or stands
    /// still between that look and the first byte, which no program can exclude.
    LookBeforeSend,
    /// A late acknowledgement is recorded whatever was sent since.
    NothingSentSince,
}
