//! The views as an operator reads them.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{Client, DATABASES, Queue, Row, Statement, plain};

/// 2022-09-21T05:36:54.280Z
const CREATED_AT: i64 = 1_663_738_614_280;

/// Payment `number` of app `app`, queued long ago and due at `due`.
fn payment(number: i64, app: &str, due: i64) -> Statement {
    Row::payment()
        .with("id", json!(number))
        .with("newpay_order_no", json!(number.to_string()))
        .with("app_id", json!(app))
        .with("created_at", json!(CREATED_AT))
        .with("next_attempt_at", json!(due))
        .insert()
}

fn set(number: i64, columns: &str) -> Statement {
    plain(&format!(
        "UPDATE callback_queue SET {columns} WHERE id = {number}"
    ))
}

fn finished(number: i64, state: &str, at: i64) -> Statement {
    let columns = format!("state = '{state}', next_attempt_at = NULL, finished_at = {at}");
    set(number, &columns)
}

fn leased(number: i64, until: i64) -> Statement {
    set(
        number,
        &format!("leased_until = {until}, leased_at = 1, lease_token = 1"),
    )
}

fn attempt(number: i64, seq: i64, http_status: i64, detail: &str) -> Statement {
    plain(&format!(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, \
         counted, http_status, detail) VALUES ({number}, {seq}, 1, 1, 'http_status', 1, \
         {http_status}, '{detail}')"
    ))
}

/// A failed attempt that the merchant is not charged with.
fn uncounted(number: i64, outcome: &str, detail: &str) -> Statement {
    plain(&format!(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail) \
         VALUES ({number}, 1, 1, 1, '{outcome}', 0, '{detail}')"
    ))
}

fn queue_with(client: Client, statements: &[Statement]) -> Queue {
    let queue = Queue::of(client);
    queue.takes(client, statements);
    queue
}

fn now() -> i64 {
    SystemClock.now().as_millis()
}

#[test]
fn status_has_a_line_for_each_callback_and_times_to_read() {
    for client in DATABASES {
        let due = CREATED_AT + 300_000;
        let queue = queue_with(
            client,
            &[
                payment(1, "6", due),
                payment(2, "6", due),
                payment(3, "6", due),
                payment(4, "6", due),
                payment(5, "6", due),
                leased(2, due),
                finished(3, "delivered", CREATED_AT + 1),
                finished(4, "exhausted", CREATED_AT + 2),
                finished(5, "cancelled", CREATED_AT + 3),
                attempt(1, 1, 500, "first"),
                attempt(1, 2, 502, "second"),
                set(1, "attempt_seq = 2"),
            ],
        );
        let created = json!("2022-09-21T05:36:54.280Z");
        let due = json!("2022-09-21T05:41:54.280Z");
        let line = |state: &str, due: &Value, end: Value| {
            vec![json!(state), created.clone(), due.clone(), end]
        };
        assert_eq!(
        queue.rows("SELECT state, created_at, next_attempt_at, finished_at FROM callback_status ORDER BY id"),
        [
            line("pending", &due, Value::Null),
            line("in_flight", &due, Value::Null),
            line("delivered", &Value::Null, json!("2022-09-21T05:36:54.281Z")),
            line("exhausted", &Value::Null, json!("2022-09-21T05:36:54.282Z")),
            line("cancelled", &Value::Null, json!("2022-09-21T05:36:54.283Z")),
        ]
    );
        assert_eq!(
            queue.value("SELECT last_detail FROM callback_status WHERE id = 1"),
            "second"
        );
    }
}

#[test]
fn an_operator_reads_the_same_in_the_sqlite3_program() {
    let queue = queue_with(
        Client::Python,
        &[payment(1, "6", CREATED_AT), leased(1, CREATED_AT)],
    );
    let (printed, complaints) = queue.shell("SELECT id, state, order_no FROM callback_status;");
    assert_eq!(complaints, "");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let line = json!({"id": 1, "state": "in_flight", "order_no": "202209067002502223"});
    assert_eq!(printed, json!([line]));
}

#[test]
fn stuck_names_who_waits_for_what() {
    for client in DATABASES {
        let now = now();
        let hour = 3_600_000;
        let queue = queue_with(
            client,
            &[
                payment(1, "6", now - hour),
                payment(2, "6", now + hour),
                payment(3, "6", now - hour),
                payment(4, "6", now - hour),
                payment(5, "6", now + hour),
                payment(6, "6", now - hour),
                payment(7, "6", now - 1000),
                leased(3, now - hour),
                leased(4, now + hour),
                set(5, "last_outcome = 'unsignable'"),
                finished(6, "exhausted", now - hour),
                payment(8, "6", now + hour),
                uncounted(8, "dns", "the resolver failed"),
                set(8, "attempt_seq = 1, last_outcome = 'dns'"),
                payment(9, "6", now + hour),
                uncounted(9, "interrupted", "a stop"),
                set(9, "attempt_seq = 1, last_outcome = 'interrupted'"),
            ],
        );
        let rows = queue.rows("SELECT id, why, behind_seconds FROM callback_stuck ORDER BY id");
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row[0].as_i64(), row[1].as_str()))
            .collect();
        let why = |row: usize, word: &str| found[row].1.is_some_and(|why| why.contains(word));
        let ids: Vec<_> = found.iter().map(|(id, _)| id.expect("a number")).collect();
        assert_eq!(ids, [1, 3, 5, 8], "{found:?}");
        assert!(
            why(0, "not claimed") && why(1, "past its lease") && why(2, "can't be signed"),
            "{found:?}"
        );
        assert!(
            why(3, "not charged") && why(3, "the resolver failed"),
            "{found:?}"
        );
        let behind = rows[0][2].as_i64().expect("seconds");
        assert!((3599..3700).contains(&behind), "{behind}");
    }
}

#[test]
fn exhausted_names_who_has_not_been_told_and_why() {
    for client in DATABASES {
        let queue = queue_with(
            client,
            &[
                payment(1, "6", CREATED_AT),
                payment(2, "6", CREATED_AT),
                payment(3, "6", CREATED_AT),
                attempt(1, 1, 500, "first"),
                attempt(1, 2, 503, "HTTP status 503"),
                set(1, "attempt_seq = 2"),
                finished(1, "exhausted", CREATED_AT),
                finished(2, "delivered", CREATED_AT),
            ],
        );
        let sql = "SELECT id, last_http_status, last_detail, exhausted_at FROM callback_exhausted";
        let line = vec![
            json!(1),
            json!(503),
            json!("HTTP status 503"),
            json!("2022-09-21T05:36:54.280Z"),
        ];
        assert_eq!(queue.rows(sql), [line]);
    }
}

#[test]
fn health_counts_each_callback_once_per_app() {
    for client in DATABASES {
        let now = now();
        let day = 86_400_000;
        let queue = queue_with(
            client,
            &[
                payment(1, "6", now),
                payment(2, "6", now),
                payment(3, "6", now),
                payment(4, "6", now),
                payment(5, "6", now),
                payment(6, "6", now),
                payment(7, "7", now),
                set(1, "attempts = 2"),
                leased(2, now),
                finished(3, "delivered", now),
                finished(4, "delivered", now - 1000),
                finished(5, "exhausted", now),
                finished(6, "delivered", now - 2 * day),
            ],
        );
        let sql = "SELECT app_id, pending, retrying, delivered_24h, exhausted_24h, \
               delivered_percent_24h, oldest_pending_created_at FROM merchant_health ORDER BY app_id";
        let created = json!("2022-09-21T05:36:54.280Z");
        assert_eq!(
            queue.rows(sql),
            [
                vec![
                    json!("6"),
                    json!(2),
                    json!(1),
                    json!(2),
                    json!(1),
                    json!(66.67),
                    created.clone()
                ],
                vec![
                    json!("7"),
                    json!(1),
                    json!(0),
                    json!(0),
                    json!(0),
                    Value::Null,
                    created
                ],
            ]
        );
    }
}

/// Names and order of the columns: what reads one reads the other.
#[test]
fn a_view_has_the_same_columns_on_both_databases() {
    for view in
        "callback_status callback_stuck callback_exhausted operator_command_status merchant_health"
            .split(' ')
    {
        let of_file = format!("SELECT name FROM pragma_table_info('{view}') ORDER BY cid");
        let of_database = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_name = '{view}' \
             ORDER BY ordinal_position"
        );
        let columns = Queue::of(Client::Python).rows(&of_file);
        assert!(columns.len() > 5, "{view}: {columns:?}");
        assert_eq!(
            Queue::of(Client::Psql).rows(&of_database),
            columns,
            "{view}"
        );
    }
}

/// One row that makes no sense does not take the view from all others.
#[test]
fn an_odd_time_reads_as_none() {
    for client in DATABASES {
        let odd = |number: i64, at: i64| set(number, &format!("next_attempt_at = {at}"));
        let queue = queue_with(
            client,
            &[
                payment(1, "6", CREATED_AT),
                payment(2, "6", CREATED_AT),
                odd(1, i64::MAX),
                odd(2, -i64::MAX),
                Row::payment()
                    .with("id", json!(3))
                    .with("created_at", json!(-i64::MAX))
                    .insert(),
                finished(3, "delivered", CREATED_AT),
            ],
        );
        let times = "SELECT next_attempt_at FROM callback_status WHERE id < 3";
        assert_eq!(
            queue.rows(times),
            [[Value::Null], [Value::Null]],
            "{client:?}"
        );
        assert_eq!(
            queue.value("SELECT id FROM callback_stuck"),
            2,
            "{client:?}"
        );
        assert_eq!(
            queue.value("SELECT count(*) FROM merchant_health"),
            1,
            "{client:?}"
        );
    }
}

/// Each view works out what the other does, down to the text.
#[test]
fn a_view_shows_the_same_on_both_databases() {
    let columns = [
        "SELECT * FROM callback_status ORDER BY id",
        "SELECT id, kind, app_id, order_no, origin, why, attempts, last_outcome, created_at, \
         next_attempt_at FROM callback_stuck ORDER BY id",
        "SELECT * FROM callback_exhausted ORDER BY id",
        "SELECT * FROM operator_command_status ORDER BY id",
        "SELECT * FROM merchant_health ORDER BY app_id",
    ];
    let now = now();
    let statements = [
        payment(1, "6", now - 3_600_000),
        payment(2, "B", now - 3_600_000),
        payment(3, "a", now + 3_600_000),
        payment(4, "a", now),
        payment(5, "a", now),
        payment(6, "a", now),
        payment(7, "B", now - 3_600_000),
        leased(2, now - 3_600_000),
        set(3, "last_outcome = 'unsignable', attempts = 1"),
        attempt(4, 1, 200, "it is \u{e9}"),
        set(4, "attempt_seq = 1"),
        finished(4, "delivered", now - 1_234),
        finished(5, "delivered", now - 999),
        finished(6, "exhausted", now - 1),
        plain("INSERT INTO paused (scope, name, command_id, since) VALUES ('app', 'B', 1, 1)"),
        plain(&format!(
            "INSERT INTO operator_command (action, app_id, since, actor, reason, created_at) \
             VALUES ('cancel', 'B', {CREATED_AT}, 'support', 'r', {CREATED_AT})"
        )),
        plain("UPDATE operator_command SET status = 'running', started_at = created_at + 6"),
    ];
    let shown = DATABASES.map(|client| {
        let queue = queue_with(client, &statements);
        columns.map(|sql| queue.rows(sql))
    });
    assert!(shown[0].iter().all(|rows| !rows.is_empty()), "{shown:?}");
    assert_eq!(shown[0], shown[1]);
}
