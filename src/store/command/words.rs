//! The words that may stand in the columns of `operator_command` and its kin.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::domain::InvalidValue;

/// A word of a column that only a few may stand in, and back.
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
    Action, "action", "resend, cancel, pause or resume" {
        /// Open a new round with a full budget, due at once or paced.
        Resend = "resend",
        /// Call off what is pending, for good.
        Cancel = "cancel",
        /// Claim nothing more for an origin or an app.
        Pause = "pause",
        /// End a pause.
        Resume = "resume",
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
        /// No dispatcher has looked at it yet.
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
    Touch, "what", "awaited, resent, cancelled or skipped" {
        /// It was in flight: the command goes on when that attempt has ended.
        Awaited = "awaited",
        /// It has a new round.
        Resent = "resent",
        /// It was called off.
        Cancelled = "cancelled",
        /// Its attempt in flight has made the command void.
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
