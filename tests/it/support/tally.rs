//! Counts that a campaign's script adds up.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Appends `lines` to the file that the environment variable names, if it does; in one write,
/// because other tests append to it too.
pub(crate) fn append(variable: &str, lines: &str) {
    let Some(path) = std::env::var_os(variable) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let mut file = file.unwrap_or_else(|error| panic!("{variable}: {error}"));
    file.write_all(lines.as_bytes())
        .expect("room for the lines");
}
