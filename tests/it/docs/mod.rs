//! What the documents for operators say is so.
//!
//! `docs/sql.md` shows queries with their output and cost: each is run as it stands there, by the
//! system's `sqlite3`, and has to give just that output, by the indexes that are named. The queries of
//! `docs/postgres.md` have to find the same.

mod operations;
mod postgres;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::postgres::feed;

const POPULATION: &str = include_str!("population.sql");

/// A query of the document with what is said of it.
#[derive(Debug)]
struct Shown<'a> {
    title: &'a str,
    sql: &'a str,
    output: &'a str,
    cost: String,
}

/// Every section that has a query.
fn queries(document: &str) -> Vec<Shown<'_>> {
    let sections = document.split("\n## ").skip(1);
    sections.map(query).collect()
}

fn query(section: &str) -> Shown<'_> {
    let title = section.lines().next().expect("a title");
    let between = |text: &'_ str, from: &str, to: &str| -> Option<(usize, usize)> {
        let begin = text.find(from)? + from.len();
        let end = begin + text[begin..].find(to)?;
        Some((begin, end))
    };
    let lacks = |what: &str| -> ! { panic!("{title}: no {what}") };
    let sql = between(section, "```sql\n", "\n```").unwrap_or_else(|| lacks("query"));
    let rest = &section[sql.1..];
    let output = between(rest, "\n\n```\n", "\n```").unwrap_or_else(|| lacks("output"));
    let cost = rest.find("\nCost: ").unwrap_or_else(|| lacks("cost"));
    let cost = rest[cost..].trim().replace('\n', " ");
    Shown {
        title,
        sql: &section[sql.0..sql.1],
        output: &rest[output.0..output.1],
        cost,
    }
}

/// The queue that the document is about.
fn populated() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("queue.db");
    sqlite3(&path, &[], include_str!("../../../schema.sql"));
    sqlite3(&path, &["-bail"], POPULATION);
    (folder, path)
}

/// What the `sqlite3` program prints for `sql`; it has nothing to complain of.
fn sqlite3(path: &Path, options: &[&str], sql: &str) -> String {
    let mut command = Command::new("sqlite3");
    command.arg("-batch").args(options).arg(path);
    let said = feed(command, sql);
    let complaints = said.complaints;
    assert!(
        said.succeeded && complaints.is_empty(),
        "{sql}: {complaints}"
    );
    said.printed
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    fs::read_to_string(path).expect("the document is there")
}

/// The names in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_query_gives_the_output_that_is_shown() {
    let document = document("sql.md");
    let queries = queries(&document);
    assert!(
        queries.len() >= 12,
        "only {} queries were found",
        queries.len()
    );
    let (_folder, path) = populated();
    for shown in queries {
        let printed = sqlite3(&path, &["-readonly", "-box"], shown.sql);
        assert_eq!(printed.trim_end(), shown.output, "{}", shown.title);
        assert_ne!(
            shown.output, "",
            "{}: an empty sample shows nothing",
            shown.title
        );
    }
}

#[test]
fn every_query_costs_what_is_said() {
    let document = document("sql.md");
    let (_folder, path) = populated();
    // Statistics of a small queue make the planner scan; an operator may have taken some.
    for shown in queries(&document) {
        let plan = sqlite3(
            &path,
            &["-readonly"],
            &format!("EXPLAIN QUERY PLAN {}", shown.sql),
        );
        let cost = &shown.cost;
        for name in quoted(cost) {
            let is_index = plan.contains(&format!("INDEX {name} "))
                || plan.contains(&format!("INDEX {name}\n"));
            let is_table =
                name == "callback_attempt" && plan.contains("USING PRIMARY KEY (callback_id=?)");
            assert!(
                is_index || is_table,
                "{}: no {name} in\n{plan}",
                shown.title
            );
        }
        let mut scans = plan.lines().filter(|step| step.contains("SCAN "));
        if cost.contains("no scan") {
            // What a subquery has found may be gone through.
            let scan =
                scans.find(|step| !step.contains("SCAN (subquery") && !step.contains("SCAN lag"));
            assert_eq!(scan, None, "{}\n{plan}", shown.title);
        } else {
            let large = ["q", "a", "callback_queue", "callback_attempt"];
            let scan = scans.find(|step| {
                let table = step
                    .split("SCAN ")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next());
                let is_large = table.is_some_and(|table| large.contains(&table));
                is_large && !quoted(cost).any(|name| step.ends_with(name))
            });
            assert_eq!(
                scan, None,
                "{}: walks what it does not name\n{plan}",
                shown.title
            );
        }
    }
}
