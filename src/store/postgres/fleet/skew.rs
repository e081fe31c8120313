//! The difference between this host's clock and the server's.
//!
//! Times in the database are by the server's clock, and what is due is its to say. The dispatcher goes
//! by its own; so each moment is translated on its way.

use std::time::Duration;

use crate::domain::Timestamp;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store::postgres) struct Skew {
    server_is_ahead_ms: i64,
}

impl Skew {
    pub(super) const fn from_millis(server_is_ahead_ms: i64) -> Self {
        Self { server_is_ahead_ms }
    }

    /// What the server's clock shows at a moment of ours.
    pub(in crate::store::postgres) fn there(self, here: Timestamp) -> Timestamp {
        shifted(here, self.server_is_ahead_ms)
    }

    /// What our clock shows at a moment of the server's.
    pub(in crate::store::postgres) fn here(self, there: Timestamp) -> Timestamp {
        shifted(there, -self.server_is_ahead_ms)
    }

    /// The same for milliseconds that go into the database.
    pub(in crate::store::postgres) const fn millis_there(self, here: i64) -> i64 {
        here.saturating_add(self.server_is_ahead_ms)
    }
}

fn shifted(moment: Timestamp, ms: i64) -> Timestamp {
    let by = Duration::from_millis(ms.unsigned_abs());
    match ms < 0 {
        true => moment.before(by),
        false => moment.after(by),
    }
}
