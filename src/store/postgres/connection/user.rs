//! What connections are for, and how their sessions are set up.

use std::time::Duration;

/// How every session of ours is set up. A commit that we have told anyone of survives a crash of
/// the server; nothing waits for ever for a lock, nor holds one.
const SESSION: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("lock_timeout", "5s"),
    ("timezone", "UTC"),
    // With `off`, a backslash in a rule of the schema would be lost.
    ("standard_conforming_strings", "on"),
    ("client_min_messages", "warning"),
];

/// Keeps the planner to the indexes.
const INDEXES_ONLY: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// What a pool of connections is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum User {
    /// The dispatcher: short statements, each by its index. The planner would scan a table that was
    /// empty when it was last analysed, and by the time it is analysed again, the queue stands still.
    Dispatcher,
    /// The heartbeat of a dispatcher, and the renewal of its leases. Nothing else, since leases expire
    /// while it waits.
    Heartbeat,
    /// People and housekeeping: searches and counts, which may take longer.
    People,
}

impl User {
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // A dispatcher that is stopped inside a transaction holds its locks for as long.
            Self::Dispatcher => &[
                ("statement_timeout", "6s"),
                ("lock_timeout", "2s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ],
            Self::Heartbeat => &[
                ("statement_timeout", "3s"),
                ("lock_timeout", "1s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ],
            Self::People => &[
                ("statement_timeout", "60s"),
                ("idle_in_transaction_session_timeout", "60s"),
            ],
        }
    }

    /// How long an answer is waited for: a little longer than the server tries.
    pub(super) const fn deadline(self) -> Duration {
        match self {
            Self::Dispatcher => Duration::from_secs(8),
            Self::Heartbeat => Duration::from_secs(4),
            Self::People => Duration::from_secs(65),
        }
    }

    /// How long a connection is waited for, a free one or a new one.
    pub(super) const fn wait_max(self) -> Duration {
        match self {
            Self::Dispatcher => Duration::from_secs(6),
            Self::Heartbeat => Duration::from_secs(4),
            Self::People => Duration::from_secs(30),
        }
    }

    const fn plans(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dispatcher | Self::Heartbeat => INDEXES_ONLY,
            Self::People => &[],
        }
    }

    /// All of a session's settings, in one statement.
    pub(in crate::store::postgres) fn set_up(self) -> String {
        let settings = SESSION.iter().chain(self.settings()).chain(self.plans());
        let each = settings.map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
        let settings = each.collect::<Vec<_>>().join(", ");
        // Only newer servers have this one: a connection may have nothing to do for long.
        format!(
            "SELECT {settings};
             SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
        )
    }

    pub(super) const fn connections_max(self) -> usize {
        match self {
            Self::Dispatcher | Self::People => 4,
            Self::Heartbeat => 1,
        }
    }
}
