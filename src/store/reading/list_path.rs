//! Which index a list goes along.

use crate::store::{Filter, ShownState};

/// The index that a list goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Due,
    InFlight,
    Finished(ShownState),
    Created,
    App,
    Id,
}

impl Path {
    /// The one that leaves least to look through.
    pub(super) fn of(filter: &Filter) -> Self {
        let by_created = filter.since.is_some() || filter.until.is_some();
        match filter.state {
            Some(ShownState::Pending) => Self::Due,
            Some(ShownState::InFlight) => Self::InFlight,
            // Of these there are few, however long the queue has been in use.
            Some(state @ (ShownState::Exhausted | ShownState::Cancelled)) => Self::Finished(state),
            _ if by_created => Self::Created,
            _ if filter.app_id.is_some() => Self::App,
            Some(ShownState::Delivered) => Self::Finished(ShownState::Delivered),
            None => Self::Id,
        }
    }

    /// The index, and the callbacks in it, for [`crate::store::session::Dialect::translate`].
    pub(super) fn rows(self) -> String {
        match self {
            Self::Due => "{INDEXED BY callback_due|} WHERE state = 'pending' AND leased_until IS NULL",
            Self::InFlight => "{INDEXED BY callback_in_flight|} WHERE leased_until IS NOT NULL",
            Self::Finished(state) => {
                return format!(
                    "{{INDEXED BY callback_finished|}} WHERE state = '{state}' AND finished_at IS NOT NULL"
                );
            }
            Self::Created => "{INDEXED BY callback_by_created|} WHERE TRUE",
            Self::App => "{INDEXED BY callback_by_app|} WHERE TRUE",
            Self::Id => "{NOT INDEXED|} WHERE TRUE",
        }
        .to_owned()
    }

    /// The column that a cursor's key is of.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Due => "next_attempt_at",
            Self::InFlight => "leased_until",
            Self::Finished(_) => "finished_at",
            Self::Created => "created_at",
            Self::App | Self::Id => "id",
        }
    }

    /// Whether the newest come first.
    pub(super) const fn is_descending(self) -> bool {
        !matches!(self, Self::Due | Self::InFlight)
    }
}
