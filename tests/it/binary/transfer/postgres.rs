//! The same with PostgreSQL at either end or at both.

use tokio_postgres::{Client, NoTls};

use super::{COMMAND, TABLES, callback, cut_off, digests, populated, with_rows};
use crate::binary::payment;
use crate::support::callback::insert;
use crate::support::postgres::{Database, Server};

const OLD: &str = "sqlite:queue.db";

const ROWS: u64 = 10_000;

fn database() -> Database {
    Server::shared().create_database()
}

/// A connection of its own.
async fn session(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls)
        .await
        .expect("the server runs");
    tokio::spawn(connection);
    client
}

/// Callbacks in a database whose tables are perhaps just being made.
fn callbacks_so_far(database: &Database) -> u64 {
    let count = database.try_sql("SELECT count(*) FROM callback_queue");
    count.map_or(0, |count| count.parse().expect("a count"))
}

#[track_caller]
fn refuses_rows(database: &Database, words: &str) {
    for sql in [&callback(), COMMAND] {
        let error = database.try_sql(sql).expect_err(sql);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn there_and_back_it_is_the_same() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    let to_one = place.transfer(OLD, &one.url()).done();
    assert_eq!(digests(&to_one).len(), TABLES.len(), "{to_one}");
    let to_two = place.transfer(&one.url(), &two.url()).done();
    assert_eq!(digests(&to_two), digests(&to_one));
    let back = place.transfer(&two.url(), "sqlite:back.db").done();
    assert_eq!(digests(&back), digests(&to_one));
    for (table, key) in TABLES {
        let sql = format!("SELECT * FROM {table} ORDER BY {key}");
        let (old, back) = (place.rows(&sql), place.rows_of("back.db", &sql));
        assert_eq!(old, back, "{table}");
    }
    let again = place.transfer(OLD, &one.url()).done();
    assert!(again.contains("before; nothing was changed"), "{again}");
}

/// The digests, and what is compared, go by the order of the columns.
#[test]
fn both_databases_have_the_same_columns() {
    let place = populated("http://127.0.0.1:9/");
    let one = database();
    place.transfer(OLD, &one.url()).done();
    for (table, _) in TABLES {
        let columns = format!(
            "SELECT string_agg(attname, ', ' ORDER BY attnum) AS names FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        let here =
            format!("SELECT group_concat(name, ', ') AS names FROM pragma_table_info('{table}')");
        assert_eq!(place.rows(&here)[0]["names"], one.sql(&columns), "{table}");
    }
}

#[test]
fn ids_go_on_behind_the_highest_ever_given() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    place.transfer(&one.url(), &two.url()).done();
    place.use_store(&two.url());
    let ids = place.enqueue(&[payment("http://127.0.0.1:9/", 99)]);
    assert_eq!(ids, [13], "12 was given and pruned");
    assert_eq!(two.sql(&format!("{COMMAND} RETURNING id")), "6");
}

#[test]
fn the_queue_that_is_left_takes_nothing_more() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    // In flight, of a dispatcher that has died.
    one.sql("UPDATE callback_queue SET leased_until = callback_now() + 1500, leased_at = callback_now(),
           lease_token = 8 WHERE id = 1",
    );
    place.transfer(&one.url(), &two.url()).done();
    let outcome = "SELECT outcome FROM callback_attempt WHERE callback_id = 1";
    assert_eq!(two.sql(outcome), "interrupted");

    place.use_store(&one.url());
    place.refuses_all_work(&["has moved to", "store.url", "To go back"]);
    refuses_rows(&one, "this queue has moved to postgres://");
    // A dispatcher that was cut off all the while claims nothing, and records nothing.
    for sql in [
        "UPDATE callback_queue SET leased_until = 1, leased_at = 1, lease_token = 1 WHERE id = 1",
        "DELETE FROM callback_queue WHERE id = 2",
        "UPDATE operator_command SET status = 'refused', finished_at = 1 WHERE id = 4",
    ] {
        let error = one.try_sql(sql).expect_err(sql);
        assert!(error.contains("this queue has moved to"), "{error}");
    }
    place
        .abandon(&one.url(), &two.url())
        .failed(78, &["that one is complete"]);
}

/// Who may only INSERT is told why not, at either end.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_needs_no_further_rights_to_be_told() {
    let place = with_rows(ROWS as usize);
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    cut_off(&place, &one.url(), &two.url(), 5000, || {
        callbacks_so_far(&two)
    })
    .await;
    let role = format!("gateway_{}", std::process::id());
    one.sql(&format!("CREATE ROLE {role}"));
    for (database, words) in [
        (&one, "this queue has moved to"),
        (&two, "a transfer into this queue is not finished"),
    ] {
        database.sql(&format!("GRANT INSERT ON callback_queue TO {role}"));
        let as_gateway = format!("SET ROLE {role}; {}", callback());
        let error = database.try_sql(&as_gateway).expect_err("refused");
        assert!(error.contains(words), "{error}");
    }
    place.transfer(&one.url(), &two.url()).done();
    two.sql(&format!("SET ROLE {role}; {}", callback()));
    one.sql(&format!("DROP OWNED BY {role}"));
    two.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// A transaction that has begun before the mark was made does not slip past it.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_is_refused_as_well() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    let gateway = session(&one).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM paused";
    gateway.batch_execute(begin).await.expect("a snapshot");
    place.transfer(&one.url(), &two.url()).done();
    let error = gateway
        .batch_execute(&callback())
        .await
        .expect_err("refused");
    let said = error.as_db_error().expect("the server says so").message();
    assert!(said.contains("this queue has moved to"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_arrives_whole() {
    let place = with_rows(ROWS as usize);
    let one = database();
    for rows in [1, ROWS / 2, ROWS] {
        cut_off(&place, OLD, &one.url(), rows, || callbacks_so_far(&one)).await;
        place.use_store(OLD);
        place.refuses_all_work(&["is being moved to", "--abandon"]);
        place.use_store(&one.url());
        place.refuses_all_work(&["is not complete"]);
        refuses_rows(&one, "a transfer into this queue is not finished");
    }
    let there = place.transfer(OLD, &one.url()).done();
    for rows in [1, ROWS / 2, ROWS] {
        let copied = || place.callbacks_so_far("back.db");
        cut_off(&place, &one.url(), "sqlite:back.db", rows, copied).await;
        refuses_rows(&one, "this queue has moved to");
    }
    let back = place.transfer(&one.url(), "sqlite:back.db").done();
    assert_eq!(digests(&back), digests(&there));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_copy_is_found_and_the_transfer_taken_back() {
    let place = with_rows(ROWS as usize);
    let (one, two, three) = (database(), database(), database());
    place.transfer(OLD, &one.url()).done();
    cut_off(&place, &one.url(), &two.url(), 5000, || {
        callbacks_so_far(&two)
    })
    .await;
    let alter = "UPDATE callback_queue SET attempts = 2 WHERE id = 4321";
    let error = two.try_sql(alter).expect_err("it is not complete");
    let words = "a transfer into this queue is not finished";
    assert!(error.contains(words), "{error}");
    let copying = |value| format!("UPDATE internal_transfer_in SET copying = {value}");
    two.sql(&format!("{}; {alter}; {}", copying(1), copying(0)));
    place
        .transfer(&one.url(), &two.url())
        .failed(1, &["table callback_queue differs at id 4321", "--abandon"]);
    place.use_store(&two.url());
    place.refuses_all_work(&["is not complete"]);
    place.abandon(&one.url(), &two.url()).done();
    one.sql(&callback());
    place
        .transfer(&one.url(), &two.url())
        .failed(78, &["unfinished copy", "remove"]);
    place.transfer(&one.url(), &three.url()).done();
    assert_eq!(callbacks_so_far(&three), ROWS + 1);
    three.sql(COMMAND);
}

/// Cut off behind the moment at which the other one became the queue.
#[test]
fn the_last_step_is_taken_again() {
    let place = populated("http://127.0.0.1:9/");
    let one = database();
    place.transfer(OLD, &one.url()).done();
    let source = place.rows("SELECT transfer_id FROM internal_transfer_out");
    let source = source[0]["transfer_id"].as_str().expect("text");
    one.sql(&format!(
        "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at) VALUES ('{source}', 'x', 1)"
    ));
    place.transfer(OLD, &one.url()).done();
    assert_eq!(one.sql("SELECT count(*) FROM internal_transfer_in"), "0");
}

#[test]
fn a_queue_at_work_is_not_moved() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    one.sql("INSERT INTO dispatcher (name) VALUES ('process 7 on alpha')");
    let words = ["held by another dispatcher", "process 7 on alpha"];
    place.transfer(&one.url(), &two.url()).failed(75, &words);
    place
        .transfer(&one.url(), "sqlite:new.db")
        .failed(75, &words);
    assert!(!place.path("new.db").exists());
    one.sql("DELETE FROM dispatcher");
    one.sql(&callback());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transfers_exclude_each_other() {
    let place = populated("http://127.0.0.1:9/");
    let (one, two) = (database(), database());
    place.transfer(OLD, &one.url()).done();
    let other = session(&one).await;
    let lock = "SELECT pg_advisory_lock(1313882946)";
    other
        .batch_execute(lock)
        .await
        .expect("as a transfer holds it");
    place
        .transfer(&one.url(), &two.url())
        .failed(75, &["another transfer"]);
    drop(other);
    one.sql(&callback());
}

#[test]
fn text_that_postgres_cannot_hold_is_named_and_may_be_replaced() {
    let place = populated("http://127.0.0.1:9/");
    place.rows(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail, response_excerpt)
         VALUES (4, 1, 1, 1, 'refused', 1, 'a' || char(0) || 'b', CAST(x'ff61' AS TEXT))",
    );
    let one = database();
    let words = [
        "table callback_attempt, callback_id 4, seq 1, column detail: the text has a NUL in it",
        "--replace-unfit",
    ];
    place.transfer(OLD, &one.url()).failed(1, &words);
    place.transfer(OLD, &one.url()).failed(1, &words);
    let url = one.url();
    let mut replacing = super::arguments(OLD, &url).to_vec();
    replacing.push("--replace-unfit");
    place.ask(&replacing).done();
    let stored = "SELECT detail, response_excerpt FROM callback_attempt WHERE callback_id = 4";
    assert_eq!(one.sql(stored), "a\u{fffd}b|\u{fffd}a");
}

#[test]
fn text_that_is_sent_to_a_merchant_is_not_replaced() {
    let place = populated("http://127.0.0.1:9/");
    let subject = [("subject", "CAST(x'6fff' AS TEXT)")];
    place.rows(&insert("http://127.0.0.1:9/", "NX", &subject));
    let one = database();
    let url = one.url();
    let mut replacing = super::arguments(OLD, &url).to_vec();
    replacing.push("--replace-unfit");
    let words = [
        "table callback_queue, id 13, column subject: the text is not UTF-8",
        "cancel that callback",
    ];
    place.ask(&replacing).failed(1, &words);
    // The remedy.
    place.abandon(OLD, &one.url()).done();
    place.ask(&["cancel", "13", "--reason", "not UTF-8"]).done();
    place.rows("DELETE FROM callback_queue WHERE id = 13");
    place.transfer(OLD, &database().url()).done();
}
