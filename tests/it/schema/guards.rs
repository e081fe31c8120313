//! Triggers that refuse to change or delete what others rely on.

use serde_json::{Value, json};

use super::{CLIENTS, Client, DATABASES, FILE_CLIENTS, Queue, Row, Statement, plain};

const IMMUTABLE: &str = "the gateway's columns do not change after the INSERT";
const OWED: &str = "a pending callback is owed to a merchant";
const LOG: &str = "what happened does not change";

/// A queue with a payment (1) and a refund (2).
fn queue_of_two(client: Client) -> Queue {
    let queue = Queue::of(client);
    queue.takes(client, &[Row::payment().insert(), Row::refund().insert()]);
    queue
}

fn attempt(callback_id: i64, seq: i64, outcome: Value, counted: Value) -> Statement {
    let sql = "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, \
               counted) VALUES (?, ?, 1663738614280, 12, ?, ?)";
    (
        sql.to_owned(),
        vec![json!(callback_id), json!(seq), outcome, counted],
    )
}

fn finish(id: i64) -> Statement {
    plain(&format!(
        "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, \
         finished_at = 1663738614280 WHERE id = {id}"
    ))
}

#[test]
fn the_gateways_columns_never_change() {
    // Each with a value that every rule would let in.
    let changes = [
        ("id", "99"),
        (
            "kind",
            "'refund', newpay_refund_order_no = '1', refund_order_no = '1', \
          settlement_status = NULL",
        ),
        ("callback_url", "'https://other.example/'"),
        ("app_id", "'7'"),
        ("pay_method", "4"),
        ("amount", "'123.01'"),
        ("currency", "'USD'"),
        ("newpay_order_no", "'9'"),
        ("order_no", "'9'"),
        ("subject", "'9'"),
        ("extra", "'9'"),
        ("result", "'failure'"),
        ("trans_info", "'9'"),
        ("settlement_status", "2"),
        ("created_at", "created_at + 1"),
    ];
    let of_payment = changes.map(|(column, value)| format!("{column} = {value} WHERE id = 1"));
    let of_refund = ["newpay_refund_order_no", "refund_order_no"]
        .map(|column| format!("{column} = '9' WHERE id = 2"));
    let changes = of_payment.into_iter().chain(of_refund);
    let refused: Vec<_> = changes
        .map(|change| {
            (
                plain(&format!("UPDATE callback_queue SET {change}")),
                IMMUTABLE,
            )
        })
        .collect();
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let before = queue.rows("SELECT * FROM callback_queue");
        queue.refuses(client, &refused);
        assert_eq!(queue.rows("SELECT * FROM callback_queue"), before);
    }
}

#[test]
fn a_delivered_callback_does_not_change_either() {
    let redirect = plain("UPDATE callback_queue SET callback_url = 'https://other.example/'");
    for client in DATABASES {
        let queue = queue_of_two(client);
        queue.takes(client, &[finish(1)]);
        queue.refuses(client, &[(redirect.clone(), IMMUTABLE)]);
    }
}

#[test]
fn an_update_that_changes_nothing_of_the_gateways_goes_through() {
    let statements = [
        plain("UPDATE callback_queue SET app_id = app_id, next_attempt_at = 5, attempts = 1"),
        finish(1),
    ];
    for client in DATABASES {
        queue_of_two(client).takes(client, &statements);
    }
}

#[test]
fn a_pending_callback_cannot_be_deleted() {
    let in_flight = "UPDATE callback_queue SET leased_until = 9, leased_at = 1, lease_token = 1 \
                     WHERE id = 2";
    for client in CLIENTS {
        let queue = queue_of_two(client);
        queue.takes(client, &[plain(in_flight)]);
        let deletes = [" WHERE id = 1", " WHERE id = 2", ""];
        let deletes = deletes.map(|which| plain(&format!("DELETE FROM callback_queue{which}")));
        queue.refuses(client, &deletes.map(|delete| (delete, OWED)));
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 2);
    }
}

/// SQLite's alone: PostgreSQL has no INSERT OR REPLACE.
#[test]
fn a_queued_callback_cannot_be_replaced() {
    let replacing = |row: Row| {
        let (insert, values) = row.insert();
        (insert.replacen("INSERT", "INSERT OR REPLACE", 1), values)
    };
    let failure = |row: Row| row.with("result", json!("failure"));
    for client in FILE_CLIENTS {
        let queue = queue_of_two(client);
        let before = queue.rows("SELECT * FROM callback_queue");
        let other = Row::payment().with("newpay_order_no", json!("other"));
        let ignoring = |row: Row| (row.insert().0 + " ON CONFLICT DO NOTHING", row.insert().1);
        let refused = [
            failure(Row::payment()),
            failure(Row::refund()),
            failure(other.clone()).with("id", json!(1)),
        ];
        queue.refuses(
            client,
            &refused.map(|row| (replacing(row), "queued already")),
        );
        // Nothing in the way is no REPLACE, also after a row that was ignored.
        let ignored = ignoring(failure(Row::payment()));
        queue.takes(client, &[ignored, replacing(other)]);
        assert_eq!(
            queue.rows("SELECT * FROM callback_queue WHERE id < 3"),
            before
        );
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 3);
    }
}

#[test]
fn an_upsert_cannot_change_a_result() {
    let (insert, values) = Row::payment().with("result", json!("failure")).insert();
    let upsert = format!(
        "{insert} ON CONFLICT (newpay_order_no, coalesce(newpay_refund_order_no, '')) \
         DO UPDATE SET result = excluded.result"
    );
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let upsert = (upsert.clone(), values.clone());
        queue.refuses(client, &[(upsert, IMMUTABLE)]);
    }
}

#[test]
fn a_finished_callback_is_deleted_with_its_attempts() {
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let statements = [
            attempt(1, 1, json!("acknowledged"), json!(1)),
            attempt(2, 1, json!("timeout"), json!(1)),
            finish(1),
            plain("DELETE FROM callback_queue WHERE id = 1"),
        ];
        queue.takes(client, &statements);
        assert_eq!(queue.value("SELECT callback_id FROM callback_attempt"), 2);
    }
}

#[test]
fn the_log_of_attempts_only_grows() {
    let columns = "callback_id seq started_at duration_ms outcome counted http_status detail
        response_excerpt remote_addr sent_timestamp sign key_id body_sha256";
    let rewritten: Vec<_> = columns
        .split_whitespace()
        .map(|column| format!("UPDATE callback_attempt SET {column} = {column}"))
        .map(|sql| (plain(&sql), LOG))
        .collect();
    for client in CLIENTS {
        let queue = queue_of_two(client);
        queue.takes(client, &[attempt(1, 1, json!("refused"), json!(1))]);
        queue.refuses(client, &rewritten);
    }
}

#[test]
fn an_attempt_can_be_uncounted_once_and_for_a_reason() {
    let uncount =
        "UPDATE callback_attempt SET counted = 0, detail = detail || '; why' WHERE seq = 1";
    let refused = [
        "UPDATE callback_attempt SET counted = 1 WHERE seq = 1",
        "UPDATE callback_attempt SET counted = 0, detail = 'other' WHERE seq = 2",
        "UPDATE callback_attempt SET detail = detail || 'more' WHERE seq = 2",
    ];
    let others = [
        ("callback_id", "2"),
        ("seq", "3"),
        ("started_at", "1"),
        ("duration_ms", "1"),
        ("outcome", "'acknowledged'"),
        ("http_status", "200"),
        ("response_excerpt", "'x'"),
        ("remote_addr", "'x'"),
        ("sent_timestamp", "1"),
        ("sign", "'x'"),
        ("key_id", "'x'"),
        ("body_sha256", "'x'"),
        ("phase", "'dns'"),
        ("phases", "'{}'"),
    ];
    let rewritten = others.map(|(column, value)| {
        format!("UPDATE callback_attempt SET counted = 0, {column} = {value} WHERE seq = 2")
    });
    let taken = [
        attempt(1, 1, json!("connect"), json!(1)),
        plain(
            "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, \
             counted, detail) VALUES (1, 2, 1663738614280, 12, 'connect', 1, 'as it was')",
        ),
        plain("UPDATE callback_attempt SET counted = 0 WHERE seq = 3"),
        plain(uncount),
    ];
    let refused = refused.iter().copied().chain([uncount]);
    let refused = refused.chain(rewritten.iter().map(String::as_str));
    let refused: Vec<_> = refused.map(|sql| (plain(sql), LOG)).collect();
    for client in CLIENTS {
        let queue = queue_of_two(client);
        queue.takes(client, &taken);
        queue.refuses(client, &refused);
    }
}

#[test]
fn an_attempt_has_an_outcome_and_a_number_of_its_own() {
    for client in CLIENTS {
        let (no_number, twice) = match client {
            Client::Shell | Client::Python => {
                ("cannot store TEXT value in INTEGER column", "UNIQUE")
            }
            Client::Psql => (
                "invalid input syntax for type bigint",
                "callback_attempt_pkey",
            ),
        };
        let no_outcome = client.null_in("callback_attempt", "outcome");
        let not_counted = client.null_in("callback_attempt", "counted");
        let table = [
            (attempt(1, 1, Value::Null, json!(1)), no_outcome.as_str()),
            (attempt(1, 1, json!("dns"), json!(2)), "counted_is_0_or_1"),
            (
                attempt(1, 1, json!("dns"), Value::Null),
                not_counted.as_str(),
            ),
            (attempt(1, 1, json!("dns"), json!("yes")), no_number),
            (
                plain(
                    "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, \
                 counted, phase) VALUES (1, 1, 1, 1, 'dns', 1, 'name')",
                ),
                "phase_is_known",
            ),
        ];
        let queue = queue_of_two(client);
        queue.refuses(client, &table);
        let same = attempt(1, 1, json!("dns"), json!(1));
        queue.takes(client, std::slice::from_ref(&same));
        queue.refuses(client, &[(same, twice)]);
    }
}

#[test]
fn every_outcome_of_the_program_may_be_recorded() {
    let outcomes = callback_dispatcher::domain::Outcome::ALL;
    let mut statements = Vec::new();
    for (seq, outcome) in (1..).zip(outcomes) {
        statements.push(attempt(1, seq, json!(outcome.as_str()), json!(1)));
        statements.push(plain(&format!(
            "UPDATE callback_queue SET last_outcome = '{outcome}' WHERE id = 1"
        )));
    }
    for client in DATABASES {
        queue_of_two(client).takes(client, &statements);
    }
}
