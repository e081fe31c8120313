//! The values of columns of `operator_command`, its items, and `paused`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::domain::InvalidValue;

/// The values that a column may have, as words and back.
macro_rules! words {
    ($(#[$about:meta])* $name:ident, $column:literal, $expected:literal {
        $($(#[$about_word:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$about_word])* $variant,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in the table.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| InvalidValue::new($column, text, $expected))
            }
        }
    };
}

words! {
    /// What is to be done.
    Action, "action", "resend, cancel, pause, resume or prune" {
        /// Open a new round with a full budget, due at once or paced.
        Resend = "resend",
        /// Call off what is pending, for good.
        Cancel = "cancel",
        /// Claim nothing more for an origin or an app.
        Pause = "pause",
        /// End a pause.
        Resume = "resume",
        /// Remove finished callbacks of closed days, with their attempts.
        Prune = "prune",
    }
}

words! {
    /// The column `state`: what is in flight is pending, too.
    StoredState, "state", "pending, delivered, exhausted or cancelled" {
        /// Waiting for an attempt, or in flight.
        Pending = "pending",
        /// Acknowledged.
        Delivered = "delivered",
        /// Given up.
        Exhausted = "exhausted",
        /// Called off.
        Cancelled = "cancelled",
    }
}

words! {
    /// How far a command has come.
    CommandStatus, "status", "waiting, running, done or refused" {
        /// No dispatcher has begun with it.
        Waiting = "waiting",
        /// A part of it is done.
        Running = "running",
        /// Carried out.
        Done = "done",
        /// Not carried out; the answer says why.
        Refused = "refused",
    }
}

words! {
    /// What a command did with a callback.
    ItemEffect, "what", "awaited, resent, cancelled or skipped" {
        /// It was in flight: the command goes on when that attempt has ended.
        Awaited = "awaited",
        /// It has a new round.
        Resent = "resent",
        /// It was called off.
        Cancelled = "cancelled",
        /// Its attempt in flight left the command nothing to do.
        Skipped = "skipped",
    }
}

words! {
    /// What a pause is about.
    PauseScope, "scope", "origin or app" {
        /// Scheme, host and port of the callback URL.
        Origin = "origin",
        /// An app id.
        App = "app",
    }
}

impl Action {
    /// Its name and its effect, for people.
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Resend => (
                "Resend",
                "Opens a new round with a full budget of attempts.",
            ),
            Self::Cancel => ("Cancel", "Calls off what is pending, for good."),
            Self::Pause => (
                "Pause",
                "Nothing more is sent there until it is resumed. What is queued waits.",
            ),
            Self::Resume => ("Resume", "Ends a pause; what has waited is sent."),
            Self::Prune => (
                "Prune",
                "Removes callbacks that were queued and finished before a moment, with their attempts, for good.",
            ),
        }
    }

    /// What an answer says of the callbacks that it was done with, or would be in a dry run.
    pub(super) const fn past(self) -> &'static str {
        match self {
            Self::Resend => "resent",
            Self::Cancel => "cancelled",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Prune => "pruned",
        }
    }

    /// Whether it acts on callbacks, not on an origin or an app.
    pub const fn selects_callbacks(self) -> bool {
        matches!(self, Self::Resend | Self::Cancel | Self::Prune)
    }
}

impl ItemEffect {
    /// The effect in a callback's timeline.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Awaited => "To be acted on once its attempt has ended",
            Self::Resent => "Resent: a new round",
            Self::Cancelled => "Cancelled",
            Self::Skipped => "Left as it was",
        }
    }
}
