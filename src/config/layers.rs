//! The layers that a setting's value comes from: the compiled-in defaults, the file, the
//! environment. A later layer replaces the value of an earlier one, key by key.
//!
//! The defaults are also the register of what exists: a key that is not in them is a fault, and
//! so is a variable that would name such a key.
//!
//! Deliberately absent: what a value means; that is the reader's.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use super::fault::{ConfigFault, Place, Problem};
use super::suggestion::nearest;

/// The file at the top of the repository, which is the one place where defaults are written.
const DEFAULTS: &str = include_str!("../../dispatcher.toml");

/// What the name of every variable that is a setting begins with.
pub(super) const PREFIX: &str = "DISPATCHER__";

/// A value as it was written, not yet understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Written>),
    /// The text of an environment variable, which stands for any of the above.
    Variable(String),
    /// Something that no setting is: the name of its type.
    Other(&'static str),
}

impl Written {
    /// What it is, for a message.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    /// The same for a value in the file and in a variable.
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Variable(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join(","),
            Self::Other(name) => (*name).to_owned(),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Boolean(boolean) => Self::Boolean(*boolean),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Self::Other("an integer out of range"), Self::Integer),
            DeValue::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::from_toml(item.get_ref()))
                    .collect(),
            ),
            DeValue::Float(_) => Self::Other("a float"),
            DeValue::Datetime(_) => Self::Other("a date or time"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) written: Written,
    pub(super) place: Place,
}

/// The values that hold, by `section.key`.
pub(super) struct Layers {
    entries: BTreeMap<String, Entry>,
}

impl Layers {
    /// The compiled-in defaults alone.
    pub(super) fn defaults() -> Self {
        let (table, faults) = DeTable::parse_recoverable(DEFAULTS);
        assert!(
            faults.is_empty(),
            "the compiled-in dispatcher.toml is valid TOML, as a test shows"
        );
        let mut entries = BTreeMap::new();
        for (section, keys) in table.get_ref() {
            for (key, value) in keys.get_ref().as_table().into_iter().flatten() {
                let entry = Entry {
                    written: Written::from_toml(value.get_ref()),
                    place: Place::Defaults,
                };
                entries.insert(format!("{}.{}", section.get_ref(), key.get_ref()), entry);
            }
        }
        Self { entries }
    }

    /// The value of `name`, a `section.key`.
    pub(super) fn get(&self, name: &str) -> &Entry {
        self.entries
            .get(name)
            .expect("the compiled-in dispatcher.toml has every setting, as a test shows")
    }

    /// A digest of each value, by name: it tells whether a value has changed, and not the value.
    pub(super) fn digests(&self) -> BTreeMap<String, String> {
        let digest = |entry: &Entry| hex::encode(Sha256::digest(entry.written.text()));
        let entries = self.entries.iter();
        entries
            .map(|(name, entry)| (name.clone(), digest(entry)))
            .collect()
    }

    /// The names of all settings.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Lays the file `path` with the content `text` over what is there. With a syntax error in it
    /// nothing is laid over.
    pub(super) fn lay_file(&mut self, path: &Path, text: &str) -> Vec<ConfigFault> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut faults = Vec::new();
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            faults.push(ConfigFault {
                place: Place::line_of(path, text, offset),
                subject: None,
                problem: Problem::Syntax(error.message().to_owned()),
            });
        }
        if !faults.is_empty() {
            return faults;
        }
        for (section, value) in table.get_ref() {
            let place = Place::line_of(path, text, section.span().start);
            let section = section.get_ref();
            let problem = match value.get_ref().as_table() {
                _ if !self.sections().any(|known| known == section) => {
                    Some(self.unknown_at_top(section, value.get_ref()))
                }
                None => Some(Problem::Invalid(format!(
                    "{section} is a section; write [{section}] and its keys below it"
                ))),
                Some(keys) => {
                    faults.extend(self.lay_section(path, text, section, keys));
                    None
                }
            };
            faults.extend(problem.map(|problem| ConfigFault {
                place,
                subject: None,
                problem,
            }));
        }
        faults
    }

    fn lay_section(
        &mut self,
        path: &Path,
        text: &str,
        section: &str,
        keys: &DeTable<'_>,
    ) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (key, value) in keys {
            let name = format!("{section}.{}", key.get_ref());
            let place = Place::line_of(path, text, key.span().start);
            match self.entries.get_mut(&name) {
                Some(entry) => {
                    let written = Written::from_toml(value.get_ref());
                    *entry = Entry { written, place };
                }
                None => faults.push(ConfigFault {
                    place,
                    subject: None,
                    problem: self.unknown_key(&name),
                }),
            }
        }
        faults
    }

    /// Lays the environment over what is there. Variables without the prefix are none of ours.
    pub(super) fn lay_environment(
        &mut self,
        environment: &BTreeMap<String, String>,
    ) -> Vec<ConfigFault> {
        let by_variable: BTreeMap<String, String> = self
            .names()
            .map(|name| (variable_name(name), name.to_owned()))
            .collect();
        let mut faults = Vec::new();
        for (variable, value) in environment {
            if !variable.starts_with(PREFIX) {
                continue;
            }
            let place = Place::Variable(variable.clone());
            let name = by_variable.get(variable);
            match name.and_then(|name| self.entries.get_mut(name)) {
                Some(entry) => {
                    let written = Written::Variable(value.clone());
                    *entry = Entry { written, place };
                }
                None => faults.push(ConfigFault {
                    place,
                    subject: None,
                    problem: Problem::Unknown {
                        what: "setting".to_owned(),
                        suggestion: nearest(variable, by_variable.keys().map(String::as_str)),
                    },
                }),
            }
        }
        faults
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        self.names()
            .filter_map(|name| Some(name.split_once('.')?.0))
    }

    fn unknown_at_top(&self, name: &str, value: &DeValue<'_>) -> Problem {
        if !value.is_table() {
            return self.unknown_key(name);
        }
        Problem::Unknown {
            what: format!("section [{}]", name.escape_debug()),
            suggestion: nearest(name, self.sections()).map(|near| format!("[{near}]")),
        }
    }

    /// A key in the wrong section is suggested by its name, any other by its likeness.
    fn unknown_key(&self, name: &str) -> Problem {
        let key = name.rsplit('.').next().unwrap_or(name);
        let mut elsewhere = self
            .names()
            .filter(|known| known.rsplit('.').next() == Some(key));
        let suggestion = match (elsewhere.next(), elsewhere.next()) {
            (Some(only), None) => Some(only.to_owned()),
            _ => nearest(name, self.names()),
        };
        Problem::Unknown {
            what: format!("key {}", name.escape_debug()),
            suggestion,
        }
    }
}

/// The variable that overrides `name`: DISPATCHER__SECTION__KEY for `section.key`.
pub(super) fn variable_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    format!("{PREFIX}{}", upper.replace('.', "__"))
}
