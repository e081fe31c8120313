//! What stands in the tables is not changed or lost behind the dispatcher's back.

use serde_json::{Value, json};

use super::{CLIENTS, Client, DATABASES, FILE_CLIENTS, Queue, Row, Statement, plain};

const IMMUTABLE: &str = "the gateway's columns do not change after the INSERT";
const OWED: &str = "a pending callback is owed to a merchant";
const LOG: &str = "what happened does not change";

/// A queue with a payment (1) and a refund (2).
fn queue_of_two(client: Client) -> Queue {
    let queue = Queue::of(client);
    let inserts = [Row::payment().insert(), Row::refund().insert()];
    for answer in queue.ask(client, &inserts) {
        answer.expect("a good row");
    }
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
    let mut statements: Vec<_> = changes
        .iter()
        .map(|(column, value)| {
            plain(&format!(
                "UPDATE callback_queue SET {column} = {value} WHERE id = 1"
            ))
        })
        .collect();
    for column in ["newpay_refund_order_no", "refund_order_no"] {
        statements.push(plain(&format!(
            "UPDATE callback_queue SET {column} = '9' WHERE id = 2"
        )));
    }
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let before = queue.rows("SELECT * FROM callback_queue");
        for ((sql, _), answer) in statements.iter().zip(queue.ask(client, &statements)) {
            let error = answer.expect_err(sql);
            assert!(error.contains(IMMUTABLE), "{client:?}: {sql}: {error}");
        }
        assert_eq!(queue.rows("SELECT * FROM callback_queue"), before);
    }
}

#[test]
fn they_do_not_change_once_delivered_either() {
    let redirect = plain("UPDATE callback_queue SET callback_url = 'https://other.example/'");
    for client in DATABASES {
        let queue = queue_of_two(client);
        let answers = queue.ask(client, &[finish(1), redirect.clone()]);
        assert!(answers[0].is_ok(), "{client:?}: {answers:?}");
        assert!(
            answers[1]
                .as_ref()
                .is_err_and(|error| error.contains(IMMUTABLE)),
            "{client:?}: {answers:?}"
        );
    }
}

#[test]
fn an_update_that_changes_nothing_of_the_gateways_goes_through() {
    let statements = [
        plain("UPDATE callback_queue SET app_id = app_id, next_attempt_at = 5, attempts = 1"),
        finish(1),
    ];
    for client in DATABASES {
        for answer in queue_of_two(client).ask(client, &statements) {
            answer.expect("the dispatcher's columns may change");
        }
    }
}

#[test]
fn what_is_owed_cannot_be_deleted() {
    let in_flight = "UPDATE callback_queue SET leased_until = 9, leased_at = 1, lease_token = 1 \
                     WHERE id = 2";
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let statements = [
            plain(in_flight),
            plain("DELETE FROM callback_queue WHERE id = 1"),
            plain("DELETE FROM callback_queue WHERE id = 2"),
            plain("DELETE FROM callback_queue"),
        ];
        let answers = queue.ask(client, &statements);
        assert!(answers[0].is_ok(), "{client:?}: {answers:?}");
        for answer in &answers[1..] {
            let error = answer.as_ref().expect_err("deleted");
            assert!(error.contains(OWED), "{client:?}: {error}");
        }
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 2);
    }
}

/// SQLite's alone: PostgreSQL has no INSERT OR REPLACE.
#[test]
fn what_is_queued_cannot_be_replaced() {
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
        let answers = queue.ask(
            client,
            &[
                replacing(failure(Row::payment())),
                replacing(failure(Row::refund())),
                replacing(failure(other.clone()).with("id", json!(1))),
                // Nothing in the way is no REPLACE, also after a row that was ignored.
                ignoring(failure(Row::payment())),
                replacing(other),
            ],
        );
        for answer in &answers[..3] {
            let error = answer.as_ref().expect_err("replaced");
            assert!(error.contains("queued already"), "{client:?}: {error}");
        }
        assert!(
            answers[3..].iter().all(Result::is_ok),
            "{client:?}: {answers:?}"
        );
        assert_eq!(
            queue.rows("SELECT * FROM callback_queue WHERE id < 3"),
            before
        );
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 3);
    }
}

#[test]
fn what_is_queued_cannot_be_turned_into_another_result() {
    let (insert, values) = Row::payment().with("result", json!("failure")).insert();
    let upsert = format!(
        "{insert} ON CONFLICT (newpay_order_no, coalesce(newpay_refund_order_no, '')) \
         DO UPDATE SET result = excluded.result"
    );
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let upsert = (upsert.clone(), values.clone());
        let error = queue.ask(client, &[upsert]).remove(0).expect_err("changed");
        assert!(error.contains(IMMUTABLE), "{client:?}: {error}");
    }
}

#[test]
fn what_is_finished_is_deleted_with_its_attempts() {
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let statements = [
            attempt(1, 1, json!("acknowledged"), json!(1)),
            attempt(2, 1, json!("timeout"), json!(1)),
            finish(1),
            plain("DELETE FROM callback_queue WHERE id = 1"),
        ];
        for answer in queue.ask(client, &statements) {
            answer.unwrap_or_else(|error| panic!("{client:?}: {error}"));
        }
        assert_eq!(queue.value("SELECT callback_id FROM callback_attempt"), 2);
    }
}

#[test]
fn the_log_of_attempts_only_grows() {
    let columns = [
        "callback_id",
        "seq",
        "started_at",
        "duration_ms",
        "outcome",
        "counted",
        "http_status",
        "detail",
        "response_excerpt",
        "remote_addr",
        "sent_timestamp",
        "sign",
        "key_id",
        "body_sha256",
    ];
    for client in CLIENTS {
        let queue = queue_of_two(client);
        let mut statements = vec![attempt(1, 1, json!("refused"), json!(1))];
        for column in columns {
            statements.push(plain(&format!(
                "UPDATE callback_attempt SET {column} = {column}"
            )));
        }
        let mut answers = queue.ask(client, &statements).into_iter();
        let first = answers.next().expect("an answer for each");
        assert!(first.is_ok(), "{client:?}: {first:?}");
        for answer in answers {
            let error = answer.expect_err("an attempt was rewritten");
            assert!(error.contains(LOG), "{client:?}: {error}");
        }
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
    let mut statements = vec![
        attempt(1, 1, json!("connect"), json!(1)),
        plain(
            "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, \
             counted, detail) VALUES (1, 2, 1663738614280, 12, 'connect', 1, 'as it was')",
        ),
        plain("UPDATE callback_attempt SET counted = 0 WHERE seq = 3"),
        plain(uncount),
        plain(uncount),
    ];
    statements.extend(refused.map(plain));
    statements.extend(rewritten.iter().map(|sql| plain(sql)));
    for client in CLIENTS {
        let mut answers = queue_of_two(client).ask(client, &statements).into_iter();
        for allowed in answers.by_ref().take(4) {
            assert!(allowed.is_ok(), "{client:?}: {allowed:?}");
        }
        for answer in answers {
            let error = answer.expect_err("an attempt was rewritten");
            assert!(error.contains(LOG), "{client:?}: {error}");
        }
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
        let statements: Vec<_> = table
            .iter()
            .map(|(statement, _)| statement.clone())
            .collect();
        for ((_, rule), answer) in table.iter().zip(queue.ask(client, &statements)) {
            let error = answer.expect_err(rule);
            assert!(error.contains(rule), "{client:?}: {error}, not {rule}");
        }
        let same = vec![attempt(1, 1, json!("dns"), json!(1)); 2];
        let answers = queue.ask(client, &same);
        assert!(answers[0].is_ok(), "{client:?}: {answers:?}");
        assert!(
            answers[1]
                .as_ref()
                .is_err_and(|error| error.contains(twice)),
            "{client:?}: {answers:?}"
        );
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
        for answer in queue_of_two(client).ask(client, &statements) {
            answer.expect("the schema knows the outcome");
        }
    }
}
