//! What a dispatcher is told of at the commit: PostgreSQL's alone, SQLite has the file's events.

use super::POSTGRES_SCHEMA;
use crate::support::postgres::{Database, Server};

fn new() -> Database {
    let database = Server::shared().create_database();
    let (_, complaints) = database.script(&[], POSTGRES_SCHEMA);
    assert_eq!(complaints, "");
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

fn insert(number: i64, url: &str) -> String {
    format!(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, \
         newpay_order_no, order_no, result, settlement_status) VALUES ('payment', '{url}', '6', 1, \
         '1', 'LAK', '{number}', 'M', 'success', 1) ON CONFLICT DO NOTHING;\n"
    )
}

#[test]
fn new_rows_are_told_of_once_for_each_endpoint() {
    let database = new();
    let script = format!(
        "BEGIN;\n{}{}{}COMMIT;\n",
        insert(1, "https://a.example/1"),
        insert(2, "https://A.example:443/2"),
        insert(3, "http://b.example/")
    );
    let told = notices(&database, &script);
    assert_eq!(told, ["http://b.example 6", "https://a.example 6"]);
    let many = "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, \
                newpay_order_no, order_no, result, settlement_status) SELECT 'payment', \
                'https://c' || n % 3 || '.example/', '6', 1, '1', 'LAK', 'N' || n, 'M', 'success', 1 \
                FROM generate_series(1, 100) n;\n";
    let told = notices(&database, many);
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
fn nobody_is_told_of_what_did_not_come_to_be() {
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
    let finished = "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, \
         newpay_order_no, order_no, result, settlement_status, state, next_attempt_at, finished_at) VALUES \
         ('payment', 'https://a', '6', 1, '1', 'LAK', '2', 'M', 'success', 1, 'delivered', NULL, 1);\n";
    assert_eq!(
        notices(&database, finished),
        [""; 0],
        "nothing is to be done"
    );
}

#[test]
fn a_command_is_told_of_without_a_name() {
    let database = new();
    let command = "INSERT INTO operator_command (action, app_id, actor, reason) VALUES ('pause', '6', 'a', 'r');\n";
    assert_eq!(notices(&database, command), [""]);
}

/// The longest URL is longer in bytes than a notice may be.
#[test]
fn an_origin_that_is_too_long_for_a_notice_is_told_of_without_a_name() {
    let database = new();
    let url = format!("https://{}", "\u{1f600}".repeat(2048 - 8));
    assert_eq!(notices(&database, &insert(1, &url)), [""]);
}
