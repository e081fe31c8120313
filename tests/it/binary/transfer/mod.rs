//! `transfer`: a queue moves to another database, whole and once, whatever happens on the way.

mod interrupted;
mod postgres;
mod refused;
mod whole;

use serde_json::Value;

use super::{Place, Process, Said, found};
use crate::support::callback::{insert, insert_rows};
use crate::support::sqlite::try_sqlite3;

/// What a gateway inserts, and an operator.
fn callback() -> String {
    insert("http://127.0.0.1:9/", "NX", &[])
}

const COMMAND: &str = "INSERT INTO operator_command (action, callback_id, actor, reason) \
     VALUES ('cancel', 1, 'a', 'b')";

/// What a transfer carries, and by what its rows are in order.
const TABLES: &[(&str, &str)] = &[
    ("callback_queue", "id"),
    ("callback_attempt", "callback_id, seq"),
    ("operator_command", "id"),
    ("operator_command_item", "command_id, callback_id"),
    ("paused", "scope, name"),
    ("reconciliation_open", "day, callback_id"),
    ("reconciliation", "day"),
];

/// A place whose queue has every kind of row in it.
fn populated(merchant: &str) -> Place {
    let place = Place::new();
    place.rows(&include_str!("population.sql").replace("MERCHANT", merchant));
    place
}

/// A place with `rows` callbacks that are due.
fn with_rows(rows: usize) -> Place {
    let place = Place::new();
    place.rows(&insert_rows(rows, "http://127.0.0.1:9/", &[]));
    place
}

fn arguments<'a>(from: &'a str, to: &'a str) -> [&'a str; 5] {
    ["transfer", "--from", from, "--to", to]
}

/// The lines of the tables in what a transfer says when it is done.
fn digests(said: &str) -> Vec<&str> {
    let is_a_table = |line: &&str| {
        let name = line.split_whitespace().next().unwrap_or_default();
        TABLES.iter().any(|(table, _)| *table == name)
    };
    said.lines().filter(is_a_table).collect()
}

/// The callback that a POST is about.
fn about(line: &Value) -> String {
    let body = &line["body"];
    let number = body
        .get("newpayRefundOrderNo")
        .unwrap_or(&body["newpayOrderNo"]);
    number.as_str().expect("text").to_owned()
}

/// Begins or goes on with a transfer, and kills it once there are so many rows in the copy.
async fn cut_off(place: &Place, from: &str, to: &str, rows: u64, copied: impl Fn() -> u64) {
    let mut transfer = Process::spawn(place.command(&arguments(from, to)));
    found(&format!("{rows} rows are copied"), || {
        (copied() >= rows).then_some(())
    })
    .await;
    transfer.kill();
    assert_eq!(transfer.said(), "", "it was not done yet");
}

impl Place {
    fn transfer(&self, from: &str, to: &str) -> Said {
        self.ask(&arguments(from, to))
    }

    fn abandon(&self, from: &str, to: &str) -> Said {
        let mut arguments = arguments(from, to).to_vec();
        arguments.push("--abandon");
        self.ask(&arguments)
    }

    /// Works on another queue from now on.
    fn use_store(&self, url: &str) {
        let text = std::fs::read_to_string(self.path("dispatcher.toml")).expect("readable");
        let rest = text.find("[retry]").expect("as the place has made it");
        self.write(
            "dispatcher.toml",
            &format!("[store]\nurl = \"{url}\"\n{}", &text[rest..]),
        );
    }

    /// Every command that works on the queue is refused with these words.
    #[track_caller]
    fn refuses_all_work(&self, words: &[&str]) {
        for command in [
            &["run"][..],
            &["enqueue"],
            &["prune", "--reason", "x"],
            &["resend", "1", "--reason", "x"],
            &["pause", "--app", "6", "--reason", "x"],
        ] {
            self.ask(command).failed(78, words);
        }
        let check = self.ask(&["check"]);
        assert_eq!(check.code, Some(78), "{check:?}");
    }

    /// Both what the `sqlite3` program inserts are refused with these words.
    #[track_caller]
    fn refuses_rows(&self, database: &str, words: &str) {
        for sql in [&callback(), COMMAND] {
            let error = self.sql_fails(database, sql);
            assert!(error.contains(words), "{error}");
        }
    }

    /// What the `sqlite3` program says of a statement that fails.
    #[track_caller]
    fn sql_fails(&self, database: &str, sql: &str) -> String {
        try_sqlite3(&self.path(database), &[], sql).expect_err(sql)
    }

    /// Callbacks in a file that is perhaps just being made.
    fn callbacks_so_far(&self, database: &str) -> u64 {
        let is_there = self.path(database).exists()
            && self.count(
                database,
                "sqlite_schema WHERE name = 'internal_transfer_in'",
            ) == 1;
        match is_there {
            true => self.count(database, "callback_queue"),
            false => 0,
        }
    }

    fn count(&self, database: &str, table: &str) -> u64 {
        let rows = self.rows_of(database, &format!("SELECT count(*) AS n FROM {table}"));
        rows[0]["n"].as_u64().expect("a count")
    }
}
