//! The `sqlite3` program and Python, each with the SQLite library of its own system.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::postgres::feed;

/// What the program prints for `sql`, or its complaint. `options` are the program's.
pub(crate) fn try_sqlite3(path: &Path, options: &[&str], sql: &str) -> Result<String, String> {
    let mut command = Command::new("sqlite3");
    command
        .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
        .args(options)
        .arg(path);
    let said = feed(command, &format!("{sql}\n;\n"));
    match said.succeeded {
        true => Ok(said.printed.trim_end().to_owned()),
        false => Err(said.complaints.trim().to_owned()),
    }
}

/// What it prints: a line for each row, columns apart by `|`.
#[track_caller]
pub(crate) fn sqlite3(path: &Path, sql: &str) -> String {
    try_sqlite3(path, &[], sql).unwrap_or_else(|complaint| panic!("{sql}: {complaint}"))
}

/// The rows of a statement as objects.
#[track_caller]
pub(crate) fn rows(path: &Path, sql: &str) -> Vec<Value> {
    let json = try_sqlite3(path, &["-json"], sql);
    match json.unwrap_or_else(|complaint| panic!("{sql}: {complaint}")) {
        none if none.is_empty() => Vec::new(),
        json => serde_json::from_str(&json).expect("JSON"),
    }
}

/// What a Python program prints that reads `input` and is given the database's path and `arguments`.
#[track_caller]
pub(crate) fn python(program: &str, path: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(path).args(arguments);
    let said = feed(command, input);
    assert!(said.succeeded, "{}", said.complaints);
    said.printed
}
