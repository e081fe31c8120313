//! The PostgreSQL database as a whole; `file.rs` is for SQLite.

use super::{Client, POSTGRES_SCHEMA, Queue, Row, plain};
use crate::support::callback::insert;
use crate::support::postgres::{Database, Server};

fn new() -> Database {
    let database = Server::shared().create_database();
    assert_eq!(database.complaints(POSTGRES_SCHEMA), "");
    database
}

#[test]
fn a_second_run_of_the_schema_changes_nothing() {
    let database = new();
    let dump = "SELECT count(*), max(oid) FROM pg_class";
    let before = database.psql(dump);
    let again = database.complaints(POSTGRES_SCHEMA);
    assert!(again.contains("already exists"), "{again}");
    assert_eq!(database.psql(dump), before);
    assert_eq!(database.value("SELECT version FROM queue_schema"), "6");
}

#[test]
fn the_version_stands_once() {
    let database = new();
    let second = database.psql("INSERT INTO queue_schema VALUES (2)");
    let error = second.expect_err("two versions");
    assert!(error.contains("queue_schema_has_one_row"), "{error}");
}

#[test]
fn all_of_it_is_made_or_nothing() {
    let database = Server::shared().create_database();
    let broken =
        POSTGRES_SCHEMA.replace("CREATE VIEW merchant_health", "CREATE VIEW callback_queue");
    assert!(database.complaints(&broken).contains("already exists"));
    let made = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(database.value(made), "0");
}

#[test]
fn another_encoding_is_refused_with_the_remedy() {
    let options = "ENCODING 'SQL_ASCII' TEMPLATE template0";
    let database = Server::shared().create_database_with(options);
    let said = database.complaints(POSTGRES_SCHEMA);
    let remedy =
        "the encoding of this database is SQL_ASCII; create the database with ENCODING 'UTF8'";
    assert!(said.contains(remedy), "{said}");
    assert_eq!(
        database.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'callback%'"),
        "0"
    );
}

/// Where letters have another order, and lower case is not ASCII's alone.
#[test]
fn the_databases_locale_changes_nothing() {
    let options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'lo' LOCALE 'C.UTF-8'";
    let database = Server::shared().create_database_with(options);
    assert_eq!(database.complaints(POSTGRES_SCHEMA), "");
    for host in ["B.example", "a.example", "\u{c9}.example"] {
        let (url, app) = (format!("HTTPS://{host}:443/"), format!("left('{host}', 1)"));
        database.sql(&insert(&url, host, &[("app_id", &app)]));
    }
    let sorted =
        "SELECT string_agg(app_id || ' ' || origin, ', ' ORDER BY app_id) FROM callback_queue";
    assert_eq!(
        database.value(sorted),
        "B https://b.example, a https://a.example, \u{c9} https://\u{c9}.example"
    );
}

/// The functions find the tables of their own schema, whoever calls and with whatever path.
#[test]
fn the_queue_may_live_in_any_schema() {
    let database = Server::shared().create_database();
    let place = "CREATE SCHEMA \"The Queue\"; SET search_path = \"The Queue\", public;";
    assert_eq!(
        database.complaints(&format!("{place}{POSTGRES_SCHEMA}")),
        ""
    );
    let elsewhere = r#"
        CREATE TEMP TABLE callback_attempt (callback_id bigint, seq bigint);
        INSERT INTO callback_attempt VALUES (1, 1);
        CREATE TEMP TABLE reconciliation (day text, digest text);
        INSERT INTO "The Queue".callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
          newpay_order_no, order_no, result, settlement_status, state, next_attempt_at, finished_at)
        VALUES ('payment', 'https://a.example/', '6', 1, '1', 'LAK', '1', 'M', 'success', 1, 'delivered', NULL, 1);
        INSERT INTO "The Queue".callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
        VALUES (1, 1, 1, 1, 'acknowledged', 1);
        INSERT INTO "The Queue".operator_command (action, app_id, actor, reason) VALUES ('pause', '6', 'a', 'r');
        INSERT INTO "The Queue".reconciliation_open VALUES ('2026-11-24', 1, 'unknown', 0);
        SELECT count(*) FROM "The Queue".callback_status;
        DELETE FROM "The Queue".callback_queue;
        SELECT (SELECT count(*) FROM "The Queue".callback_attempt), (SELECT count(*) FROM callback_attempt);
    "#;
    let (printed, complaints) = database.script(&[], elsewhere);
    assert_eq!((printed.as_str(), complaints.as_str()), ("1\n0|1\n", ""));
}

#[test]
fn tables_cannot_be_truncated() {
    let database = new();
    for table in [
        "callback_queue",
        "callback_attempt",
        "operator_command",
        "operator_command_item",
        "reconciliation",
        "reconciliation_open",
    ] {
        let said = database.complaints(&format!("TRUNCATE {table}"));
        assert!(said.contains(&format!("ERROR:  {table}: ")), "{said}");
    }
}

/// Two dispatchers that close a day each do not see each other's.
#[test]
fn the_audit_chain_does_not_fork() {
    let queue = Queue::of(Client::Psql);
    let record = |day: &str, previous: &str| {
        let (zeros, digest) = ("0".repeat(64), "ab".repeat(32));
        let previous = if previous.is_empty() {
            &zeros
        } else {
            previous
        };
        plain(&format!(
            "INSERT INTO reconciliation VALUES ('{day}', '{previous}', 1, 0, 1, NULL, NULL, 0, 0, 0, 0, 0, 0, 1, \
             '{digest}', '{digest}')"
        ))
    };
    // As if the second one had not seen the first.
    let answers = queue.ask(
        Client::Psql,
        &[
            record("2026-11-24", ""),
            plain("ALTER TABLE reconciliation DISABLE TRIGGER USER"),
            record("2026-11-25", ""),
        ],
    );
    assert!(answers[..2].iter().all(Result::is_ok), "{answers:?}");
    let error = answers[2].as_ref().expect_err("a fork");
    assert!(error.contains("a_day_has_one_successor"), "{error}");
}

#[test]
fn the_dispatchers_questions_are_answered_by_an_index() {
    let queue = Queue::of(Client::Psql);
    let mut statements = Vec::new();
    for number in 0..200 {
        let row = Row::payment().with("newpay_order_no", serde_json::json!(number.to_string()));
        statements.push(row.insert());
    }
    // A few wait, a few are in flight; what else there is has been delivered.
    statements.push(plain(
        "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 9 WHERE id > 60",
    ));
    statements.push(plain(
        "UPDATE callback_queue SET leased_until = id, leased_at = 1, lease_token = id WHERE id <= 50",
    ));
    statements.push(plain("ANALYZE"));
    queue.takes(Client::Psql, &statements);
    let waits = "state = 'pending' AND leased_until IS NULL";
    let due = format!("app_id = '6' AND origin = 'https://m' AND {waits} AND next_attempt_at <= 1");
    let questions = [
        (
            format!("id FROM callback_queue WHERE {due} ORDER BY next_attempt_at, id"),
            "callback_due",
        ),
        (
            format!(
                "origin FROM callback_queue WHERE {waits} AND (app_id, origin) > ('6', 'https://m') \
                 ORDER BY app_id, origin LIMIT 1"
            ),
            "callback_due",
        ),
        (
            "id FROM callback_queue WHERE leased_until IS NOT NULL AND leased_until < 1".to_owned(),
            "callback_in_flight",
        ),
        (
            "id FROM callback_queue WHERE leased_until IS NOT NULL AND lease_token = 1".to_owned(),
            "callback_in_flight_by_token",
        ),
        (
            "id FROM callback_queue WHERE state = 'delivered' AND finished_at IS NOT NULL \
             AND finished_at < 1 ORDER BY finished_at"
                .to_owned(),
            "callback_finished",
        ),
        (
            "id FROM callback_queue WHERE order_no = '1'".to_owned(),
            "callback_by_order",
        ),
    ];
    for (question, index) in questions {
        // So small a table is read as a whole, and a small index too.
        let settings = ["enable_seqscan", "enable_sort", "enable_bitmapscan"];
        let mut statements: Vec<_> = settings
            .map(|name| plain(&format!("SET {name} = off")))
            .to_vec();
        statements.push(plain(&format!(
            "CREATE FUNCTION plan() RETURNS SETOF text LANGUAGE plpgsql AS \
             $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || {}; END $$",
            format_args!("$q$SELECT {question}$q$")
        )));
        statements.push(plain("SELECT string_agg(plan, ' ') FROM plan()"));
        statements.push(plain("DROP FUNCTION plan"));
        let answers = queue.ask(Client::Psql, &statements);
        let plan = format!("{:?}", answers[4]);
        assert!(
            plan.contains(&format!("using {index} ")),
            "{question}: {plan}"
        );
        assert!(
            !plan.contains("Sort") && !plan.contains("Seq Scan"),
            "{question}: {plan}"
        );
    }
}
