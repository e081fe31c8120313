//! Reads single settings from the layers, and collects what is wrong with them.
//!
//! Each reading gives `None` after noting a fault, so that the caller goes on to the next setting
//! and one run finds every fault. Deliberately absent: which settings there are.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::value::{Error as NoSuchVariant, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use super::fault::{ConfigFault, Place, Problem};
use super::layers::{Layers, Written};

/// Reads settings one by one.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    /// What environment variables, and the program without a file, are relative to.
    working_directory: &'a Path,
    /// What the file is relative to, and so are the defaults when there is a file.
    file_directory: &'a Path,
    faults: Vec<ConfigFault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        layers: &'a Layers,
        working_directory: &'a Path,
        file: Option<&'a Path>,
    ) -> Self {
        let file_directory = file.and_then(Path::parent).unwrap_or(working_directory);
        Self {
            layers,
            working_directory,
            file_directory,
            faults: Vec::new(),
        }
    }

    pub(super) fn into_faults(self) -> Vec<ConfigFault> {
        self.faults
    }

    pub(super) const fn working_directory(&self) -> &'a Path {
        self.working_directory
    }

    /// Notes that `name` is wrong although it could be read.
    pub(super) fn fault(&mut self, name: &str, problem: Problem) {
        let place = self.layers.get(name).place.clone();
        self.faults.push(ConfigFault {
            place,
            subject: Some(name.to_owned()),
            problem,
        });
    }

    /// Whether somebody has written `name`: in the file or in the environment.
    pub(super) fn is_default(&self, name: &str) -> bool {
        self.layers.get(name).place == Place::Defaults
    }

    /// Reads `name` with `convert`.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(&Written) -> Result<T, Problem>,
    ) -> Option<T> {
        convert(&self.layers.get(name).written)
            .map_err(|problem| self.fault(name, problem))
            .ok()
    }

    /// Reads a text with `convert`.
    pub(super) fn text<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        self.read(name, |written| convert(as_text(written)?))
    }

    /// Reads a text with `convert`, unless it is empty.
    pub(super) fn text_unless_empty<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<Option<T>> {
        self.text(name, |text| match text {
            "" => Ok(None),
            text => convert(text).map(Some),
        })
    }

    /// Reads a list, each item with `convert`; an item at fault does not hide the next.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        convert: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        let items = self.read(name, as_list)?;
        let mut values = Vec::with_capacity(items.len());
        let count = items.len();
        for item in items {
            match convert(&item) {
                Ok(value) => values.push(value),
                Err(problem) => self.fault(name, problem),
            }
        }
        (values.len() == count).then_some(values)
    }

    /// Reads true or false.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.read(name, |written| match written {
            Written::Boolean(value) => Ok(*value),
            Written::Variable(text) => text.parse().map_err(|_| {
                Problem::Invalid(format!(
                    "{text:?} is neither true nor false; write one of them"
                ))
            }),
            other => Err(wrong_type("true or false", other)),
        })
    }

    /// Reads a number within `range`.
    pub(super) fn count(&mut self, name: &str, range: &RangeInclusive<usize>) -> Option<usize> {
        self.read(name, |written| {
            let number: i64 = match written {
                Written::Integer(number) => *number,
                Written::Variable(text) => text.parse().map_err(|_| {
                    Problem::Invalid(format!("{text:?} is not a whole number; write digits only"))
                })?,
                other => return Err(wrong_type("a whole number", other)),
            };
            let count = usize::try_from(number).ok();
            count.filter(|count| range.contains(count)).ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                Problem::Invalid(format!("{number} is out of range; write {least} to {most}"))
            })
        })
    }

    /// Reads a size in bytes within `range`.
    pub(super) fn size(&mut self, name: &str, range: &RangeInclusive<usize>) -> Option<usize> {
        self.read(name, |written| {
            let (bytes, shown) = match written {
                Written::Integer(number) => (u64::try_from(*number).ok(), number.to_string()),
                Written::Text(text) | Written::Variable(text) => {
                    let size = ByteSize::from_str(text).map_err(|_| {
                        Problem::Invalid(format!(
                            "{text:?} is not a size; write it like \"64KiB\" or \"1MiB\""
                        ))
                    })?;
                    (Some(size.as_u64()), format!("{text:?}"))
                }
                other => return Err(wrong_type("a size such as \"64KiB\"", other)),
            };
            let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
            bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                Problem::Invalid(format!(
                    "{shown} is out of range; write {least} to {most} bytes"
                ))
            })
        })
    }

    /// Reads a duration, zero included.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.text(name, duration)
    }

    /// Reads a duration above zero.
    pub(super) fn positive_duration(&mut self, name: &str) -> Option<Duration> {
        self.text(name, positive_duration)
    }

    /// Reads one of the names that `T` has.
    pub(super) fn choice<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.text(name, choice)
    }

    /// Reads a path; `None` inside if it is empty.
    pub(super) fn path(&mut self, name: &str) -> Option<Option<PathBuf>> {
        let base = match self.layers.get(name).place {
            Place::Variable(_) => self.working_directory,
            Place::File { .. } | Place::Defaults => self.file_directory,
        };
        self.text_unless_empty(name, |text| Ok(base.join(text)))
    }
}

fn wrong_type(expected: &'static str, found: &Written) -> Problem {
    let found = found.type_name();
    Problem::WrongType { expected, found }
}

fn as_text(written: &Written) -> Result<&str, Problem> {
    match written {
        Written::Text(text) | Written::Variable(text) => Ok(text),
        other => Err(wrong_type("a text in quotes", other)),
    }
}

fn as_list(written: &Written) -> Result<Vec<String>, Problem> {
    match written {
        Written::List(items) => {
            let texts = items.iter().map(|item| as_text(item).map(str::to_owned));
            texts
                .collect::<Result<_, _>>()
                .map_err(|_| Problem::WrongType {
                    expected: "a list of texts in quotes",
                    found: "a list with other items",
                })
        }
        Written::Variable(text) if text.trim().is_empty() => Ok(Vec::new()),
        Written::Variable(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        other => Err(wrong_type("a list of texts", other)),
    }
}

/// One of the names of `T`, an enum without content.
pub(super) fn choice<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let deserializer: StrDeserializer<'_, NoSuchVariant> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|error| Problem::Invalid(error.to_string()))
}

/// A hundred years, as `humantime` counts them. Sums of durations, and moments that are a duration
/// away, are made without looking whether there is such a number.
const DURATION_MAX: Duration = Duration::from_secs(100 * 31_557_600);

fn duration(text: &str) -> Result<Duration, Problem> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        Problem::Invalid(format!(
            "{text:?} is not a duration; write it like \"10s\", \"5m\" or \"90d\""
        ))
    })?;
    if duration > DURATION_MAX {
        return Err(Problem::Invalid(format!(
            "{text:?} is longer than a hundred years; write a duration below that"
        )));
    }
    Ok(duration)
}

/// A duration above zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, Problem> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err(Problem::Invalid(format!(
            "{text:?} is no time at all; write a duration above zero"
        )));
    }
    Ok(duration)
}
