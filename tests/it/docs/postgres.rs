//! `docs/postgres.md`: its blocks are run by the roles that they name, and its queries find what those
//! of `docs/sql.md` find.

use std::path::Path;

use serde_json::Value;

use super::{document, populated, queries, sqlite3};
use crate::support::postgres::{Database, Server};

const SCHEMA: &str = include_str!("../../../schema.postgres.sql");
const DIVIDE: &str = include_str!("../../../partition.postgres.sql");

/// What holds a queue, in an order in which it may be filled.
const TABLES: &[&str] = &[
    "callback_queue",
    "callback_attempt",
    "operator_command",
    "operator_command_item",
    "paused",
    "reconciliation",
    "reconciliation_open",
];

/// A block of SQL, and who runs it.
struct Block<'a> {
    role: &'a str,
    sql: &'a str,
}

/// What is to be done.
enum Step<'a> {
    Sql(Block<'a>),
    /// A script of ours, run by the role `dispatcher`.
    Script(&'static str),
}

/// In the order of the document.
fn steps(text: &str) -> Vec<Step<'_>> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    let blocks = fenced.filter_map(|block| {
        let (kind, sql) = block.split_once('\n')?;
        if kind == "sh" {
            let words: Vec<_> = sql.split_whitespace().collect();
            assert_eq!(words[..4], ["psql", "-v", "ON_ERROR_STOP=1", "-f"], "{sql}");
            assert!(words[5].starts_with("postgres://dispatcher@"), "{sql}");
            return Some(Step::Script(match words[4] {
                "schema.postgres.sql" => SCHEMA,
                "partition.postgres.sql" => DIVIDE,
                unknown => panic!("{unknown}"),
            }));
        }
        assert_eq!(kind, "sql");
        let (who, sql) = sql.split_once('\n').expect("a line that says who");
        let role = match who.strip_prefix("-- As ").expect("who runs it") {
            "dispatcher." => "dispatcher",
            "gateway." => "gateway",
            "operator." => "operator",
            superuser => {
                assert!(superuser.starts_with("the superuser"), "{superuser}");
                "postgres"
            }
        };
        Some(Step::Sql(Block { role, sql }))
    });
    blocks.collect()
}

/// The gateway's database, before there is a queue in it.
fn of_a_gateway(server: &Server) -> Database {
    let database = server.create_database();
    let made = database.psql(
        "CREATE TABLE orders (order_no text, state text); \
         INSERT INTO orders VALUES ('202209067002502223', 'new')",
    );
    assert_eq!(made, Ok(vec![]));
    database
}

/// What a role needs that is the gateway's own.
fn grant_its_own(database: &Database) {
    let granted = database.psql("GRANT SELECT, UPDATE ON orders TO gateway");
    assert_eq!(granted, Ok(vec![]));
}

fn run(database: &Database, block: &Block<'_>) {
    let (printed, complaints) = database.script_as(block.role, &[], block.sql);
    // The one that is shown to fail says so.
    let expected = block
        .sql
        .lines()
        .find_map(|line| line.strip_prefix("-- ERROR: ... "));
    match expected {
        Some(words) => assert!(complaints.contains(words), "{complaints}"),
        None => assert_eq!(complaints, "", "{}", block.sql),
    }
    let asks = block.sql.starts_with("SELECT") || block.sql.starts_with("WITH");
    assert!(asks || printed.is_empty(), "{printed}");
}

#[test]
fn every_block_does_what_it_is_for() {
    let text = document("postgres.md");
    let steps = steps(&text);
    assert!(steps.len() > 20, "only {} blocks", steps.len());
    let server = Server::own();
    let database = of_a_gateway(&server);
    for step in &steps {
        match step {
            Step::Sql(block) => {
                run(&database, block);
                if block.role == "postgres" {
                    grant_its_own(&database);
                }
            }
            Step::Script(script) => {
                let strictly = ["-v", "ON_ERROR_STOP=1"];
                let (_, complaints) = database.script_as("dispatcher", &strictly, script);
                assert_eq!(complaints, "", "no superuser is needed");
            }
        }
    }
    let written =
        "SELECT string_agg(kind || ' ' || origin, ', ' ORDER BY id) FROM callbacks.callback_queue";
    assert_eq!(
        database.value(written),
        "payment https://merchant.example, refund https://merchant.example"
    );
    assert_eq!(database.value("SELECT state FROM orders"), "paid");
    let asked = "SELECT action || ' ' || status FROM callbacks.operator_command";
    assert_eq!(database.value(asked), "resend waiting");
}

/// The document's queue, brought over row by row.
fn moved(from: &Path) -> Database {
    let database = Server::shared().create_database();
    assert_eq!(database.psql(SCHEMA), Ok(vec![]));
    let mut script = "ALTER TABLE operator_command DISABLE TRIGGER USER;\n".to_owned();
    for table in TABLES {
        script.push_str(&sqlite3(
            from,
            &["-readonly"],
            &format!(".mode insert {table}\nSELECT * FROM {table};"),
        ));
    }
    script.push_str("ALTER TABLE operator_command ENABLE TRIGGER USER;\n");
    let (_, complaints) = database.script(&[], &script);
    assert_eq!(complaints, "");
    database
}

/// Rows of JSON as text, in no order: the two write numbers in their own ways.
fn sorted(rows: impl Iterator<Item = Vec<Value>>) -> Vec<Vec<String>> {
    let value = |value: Value| match value.as_f64() {
        Some(number) => number.to_string(),
        None => value.to_string(),
    };
    let mut rows: Vec<Vec<_>> = rows
        .map(|row| row.into_iter().map(value).collect())
        .collect();
    rows.sort();
    rows
}

fn on_sqlite(path: &Path, sql: &str) -> Vec<Vec<String>> {
    let columns = sqlite3(path, &["-readonly", "-csv", "-header"], sql);
    let columns = columns.lines().next().expect("a header").replace('"', "");
    let printed = sqlite3(path, &["-readonly", "-json"], sql);
    let rows: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    let row = |row: Value| columns.split(',').map(|name| row[name].clone()).collect();
    sorted(rows.into_iter().map(row))
}

fn on_postgres(database: &Database, sql: &str) -> Vec<Vec<String>> {
    let sql = sql.trim_end().trim_end_matches(';');
    let rows = database.psql(&format!(
        "SELECT (SELECT json_agg(value ORDER BY place) FROM json_each(to_json(line)) \
         WITH ORDINALITY AS column_of(name, value, place)) FROM (\n{sql}\n) line"
    ));
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let row = |row: Vec<String>| serde_json::from_str(&row[0]).expect("JSON");
    sorted(rows.into_iter().map(row))
}

#[test]
fn every_query_finds_on_postgresql_what_it_finds_on_sqlite() {
    let ours = document("postgres.md");
    let theirs = document("sql.md");
    let mut translated: Vec<(&str, &str)> = Vec::new();
    for section in ours.split("\n### ").skip(1) {
        let title = section.lines().next().expect("a title");
        let block = steps(section).into_iter().find_map(|step| match step {
            Step::Sql(block) => Some(block),
            Step::Script(_) => None,
        });
        translated.push((title, block.expect("a query").sql));
    }
    let (_folder, path) = populated();
    let database = moved(&path);
    let mut used = 0;
    for shown in queries(&theirs) {
        let translation = translated.iter().find(|(title, _)| *title == shown.title);
        used += usize::from(translation.is_some());
        let sql = translation.map_or(shown.sql, |(_, sql)| sql);
        let found = on_postgres(&database, sql);
        assert_eq!(found, on_sqlite(&path, shown.sql), "{}", shown.title);
    }
    assert_eq!(used, translated.len(), "a title is not one of sql.md");
}
