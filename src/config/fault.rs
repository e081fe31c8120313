//! What can be wrong with settings and keys, and where.
//!
//! A fault is read by the operator who has to mend it, so it always says where it stands and what
//! to do. Nothing branches on its kind except tests.
//!
//! Deliberately absent: the values of secrets. A [`Problem`] that quotes a value is made only for
//! settings that cannot hold one.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where a value, or a fault, comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The defaults that are compiled in.
    Defaults,
    /// A file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, unless the fault is about the whole file.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
}

impl Place {
    /// A file as a whole.
    pub(super) fn file(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            line: None,
        }
    }

    /// The line of `text`, which is the content of `path`, in which the byte `offset` stands.
    pub(super) fn line_of(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().iter().take(offset);
        Self::File {
            path: path.to_owned(),
            line: Some(before.filter(|byte| **byte == b'\n').count() + 1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("built-in defaults"),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {}", name.escape_debug()),
        }
    }
}

/// What is wrong, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// A file can't be opened or read.
    #[error("can't be read ({error}); {remedy}")]
    Unreadable {
        /// What the system says.
        error: String,
        /// What to do.
        remedy: String,
    },
    /// A file with secrets is open to others.
    #[error("others may read it (mode {mode:04o}); {remedy}")]
    Exposed {
        /// Its permission bits.
        mode: u32,
        /// What to do.
        remedy: String,
    },
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A name that the program does not know.
    #[error("unknown {what}{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// What it is that is unknown.
        what: String,
        /// The nearest name that is known.
        suggestion: Option<String>,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What should be there.
        expected: &'static str,
        /// What is there: its type, not its value.
        found: &'static str,
    },
    /// A value of the right type that is not acceptable.
    #[error("{0}")]
    Invalid(String),
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean {name}?"),
        None => "; remove it".to_owned(),
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where it stands.
    pub place: Place,
    /// The setting or the keys file's entry, if it is about one.
    pub subject: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.subject {
            Some(subject) => write!(f, "{subject}: {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

/// Settings or keys that can't be used: every fault that was found, one per line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Invalid {
    /// At least one, in the order of reading.
    pub faults: Vec<ConfigFault>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_line_and_lists_one_fault_per_line() {
        let place = |offset| Place::line_of(Path::new("a.toml"), "x = 1\ny = 2\n", offset);
        let fault = |place, subject: Option<&str>| ConfigFault {
            place,
            subject: subject.map(str::to_owned),
            problem: Problem::Invalid("bad; mend it".to_owned()),
        };
        let invalid = Invalid {
            faults: vec![
                fault(place(0), Some("x")),
                fault(place(6), None),
                fault(place(99), None),
                fault(Place::Variable("DISPATCHER__A__B".to_owned()), Some("a.b")),
            ],
        };
        assert_eq!(
            invalid.to_string(),
            "a.toml:1: x: bad; mend it\n\
             a.toml:2: bad; mend it\n\
             a.toml:3: bad; mend it\n\
             environment variable DISPATCHER__A__B: a.b: bad; mend it"
        );
    }
}
