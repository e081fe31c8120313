//! Enums whose values have a word in the queue or a code on the wire.

use std::fmt;

use thiserror::Error;

/// A value that is not among those that the document or the contract allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} is {found:?}; use {expected}")]
pub struct InvalidValue {
    /// What was read.
    pub name: &'static str,
    /// What stood there.
    pub found: String,
    /// What may stand there.
    pub expected: &'static str,
}

impl InvalidValue {
    pub(crate) fn new(
        name: &'static str,
        found: impl fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self {
            name,
            found: found.to_string(),
            expected,
        }
    }
}

/// Gives an enum `ALL`, `as_str`, `Display` and `FromStr` from one table of its words.
macro_rules! words {
    ($type:ident, $name:literal, $expected:literal, { $($variant:ident => $word:literal,)+ }) => {
        impl $type {
            /// Every value, in the order of their declaration.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word for it in tables, metrics and messages.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::domain::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(Self::Err::new($name, other, $expected)),
                }
            }
        }
    };
}

/// Gives an enum `code` and `TryFrom<i64>` from one table of its codes.
macro_rules! codes {
    ($type:ident, $name:literal, $expected:literal, { $($variant:ident => $code:literal,)+ }) => {
        impl $type {
            /// The document's code.
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }

        impl TryFrom<i64> for $type {
            type Error = $crate::domain::InvalidValue;

            fn try_from(code: i64) -> Result<Self, Self::Error> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    other => Err(Self::Error::new($name, other, $expected)),
                }
            }
        }
    };
}

pub(super) use {codes, words};
