//! Texts on the command line that must say something, and words of a list.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Reads a text without the white space around it, and refuses an empty one.
pub(super) fn parse(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; give some text".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Reads one of `words`, which errors and completions show.
pub(super) fn word<T>(
    words: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse::<T>())
}
