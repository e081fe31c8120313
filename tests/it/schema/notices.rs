//! PostgreSQL's notices to dispatchers at a commit. For SQLite the file's events serve.

use super::POSTGRES_SCHEMA;
use crate::support::callback;
use crate::support::postgres::{Database, Server};

fn new() -> Database {
    let database = Server::shared().create_database();
    assert_eq!(database.complaints(POSTGRES_SCHEMA), "");
    database
}

/// The payloads that `script` gives rise to, in order; `psql` says them after each statement.
fn notices(database: &Database, script: &str) -> Vec<String> {
    let (printed, complaints) = database.script(&[], &format!("LISTEN callback_queue;\n{script}"));
    assert_eq!(complaints, "", "{script}");
    let lines = printed.lines();
    let lines =
        lines.filter(|line| line.starts_with("Asynchronous notification \"callback_queue\""));
    let payloads = lines.map(|line| {
        let payload = line
            .split_once("with payload \"")
            .map_or("", |(_, rest)| rest);
        payload.split('"').next().unwrap_or_default().to_owned()
    });
    let mut payloads: Vec<_> = payloads.collect();
    payloads.sort();
    payloads
}

/// A gateway's INSERT, which it may repeat.
fn insert(number: i64, url: &str) -> String {
    let insert = callback::insert(url, &number.to_string(), &[]);
    insert.replace(';', " ON CONFLICT DO NOTHING;\n")
}

#[test]
fn a_commit_gives_one_notice_for_each_endpoint() {
    let database = new();
    let script = format!(
        "BEGIN;\n{}{}{}COMMIT;\n",
        insert(1, "https://a.example/1"),
        insert(2, "https://A.example:443/2"),
        insert(3, "http://b.example/")
    );
    let told = notices(&database, &script);
    assert_eq!(told, ["http://b.example 6", "https://a.example 6"]);
    let url = ("callback_url", "'https://c' || n % 3 || '.example/'");
    let many = callback::insert_rows(100, "", &[url]);
    let told = notices(&database, &many);
    assert_eq!(
        told,
        [
            "https://c0.example 6",
            "https://c1.example 6",
            "https://c2.example 6"
        ]
    );
}

#[test]
fn rows_that_are_rolled_back_or_ignored_give_no_notice() {
    let database = new();
    let row = insert(1, "https://a.example/");
    assert_eq!(
        notices(&database, &format!("BEGIN;\n{row}ROLLBACK;\n")),
        [""; 0]
    );
    assert_eq!(notices(&database, &row), ["https://a.example 6"]);
    assert_eq!(notices(&database, &row), [""; 0], "it is there already");
    let update = "UPDATE callback_queue SET next_attempt_at = 1;\n";
    assert_eq!(notices(&database, update), [""; 0]);
    let finished = callback::insert("https://a", "2", &callback::finished("'delivered'", "1"));
    assert_eq!(
        notices(&database, &finished),
        [""; 0],
        "nothing is to be done"
    );
}

#[test]
fn a_command_gives_a_notice_without_an_endpoint() {
    let database = new();
    let command = "INSERT INTO operator_command (action, app_id, actor, reason) VALUES ('pause', '6', 'a', 'r');\n";
    assert_eq!(notices(&database, command), [""]);
}

/// The longest URL is longer in bytes than a notice may be.
#[test]
fn an_origin_that_is_too_long_gives_a_notice_without_an_endpoint() {
    let database = new();
    let url = format!("https://{}", "\u{1f600}".repeat(2048 - 8));
    assert_eq!(notices(&database, &insert(1, &url)), [""]);
}
