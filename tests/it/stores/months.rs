//! A log of attempts that `partition.postgres.sql` has divided by month. PostgreSQL alone can.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::postgres;
use callback_dispatcher::store::transfer::TABLES;
use callback_dispatcher::store::{Queue, Retention};

use super::Backend;
use crate::support::callback::{finished, insert};
use crate::support::postgres::{Database, Server};
use crate::support::store::Store;

const SCHEMA: &str = include_str!("../../../schema.postgres.sql");
const DIVIDE: &str = include_str!("../../../partition.postgres.sql");

const DAY: Duration = Duration::from_secs(86_400);

fn database(backend: &Backend) -> &Database {
    match &backend.store {
        Store::Postgres(database) => database,
        Store::Sqlite(_) => panic!("a database of PostgreSQL"),
    }
}

/// As the document says. Returns what it complains of.
fn divide(database: &Database, role: &str) -> String {
    let strictly = ["-v", "ON_ERROR_STOP=1"];
    database.script_as(role, &strictly, DIVIDE).1
}

/// An empty queue whose log is divided.
fn divided() -> Backend {
    let backend = Backend::postgres();
    assert_eq!(divide(database(&backend), "postgres"), "");
    backend
}

/// The first moment of the month that comes so many months after this one, in milliseconds.
fn month(database: &Database, ahead: i64) -> i64 {
    let sql = format!(
        "SELECT extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC')
           + {ahead} * interval '1 month')::bigint * 1000"
    );
    database.value(&sql).parse().expect("milliseconds")
}

/// Queues callback `id`, which was delivered by an attempt of this moment.
fn delivered(database: &Database, id: i64, at: i64) {
    let (id, at) = (id.to_string(), at.to_string());
    let attempted = [
        ("id", id.as_str()),
        ("attempts", "1"),
        ("attempt_seq", "1"),
        ("last_outcome", "'acknowledged'"),
    ];
    let changes = [&attempted[..], &finished("'delivered'", &at)].concat();
    database.sql(&format!(
        "{}
         INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
         VALUES ({id}, 1, {at}, 5, 'acknowledged', 1)",
        insert("https://one.example/", &id, &changes)
    ));
}

/// Which callbacks have attempts in which part of the log.
fn parts(database: &Database) -> String {
    database
        .sql("SELECT tableoid::regclass, callback_id FROM callback_attempt ORDER BY callback_id")
}

/// The names of the log's parts, in the order of time.
fn names(database: &Database) -> Vec<String> {
    let sql = "SELECT inhrelid::regclass FROM pg_inherits
               WHERE inhparent = 'callback_attempt'::regclass ORDER BY inhrelid::regclass::text";
    database.sql(sql).lines().map(str::to_owned).collect()
}

/// `callback_attempt_2027_01` for its first moment.
fn name(database: &Database, month: i64) -> String {
    database.value(&format!(
        "SELECT to_char(timestamp 'epoch' + {month} * interval '1 millisecond', '\"callback_attempt_\"YYYY_MM')"
    ))
}

fn turn(database: &Database, now: i64, passed: i64) -> String {
    database.sql(&format!(
        "SELECT callback_attempt_turn_months({now}, {passed})"
    ))
}

async fn prune(queue: &Arc<dyn Queue>, delivered_before: i64) -> usize {
    let retention = Retention {
        delivered_before: Timestamp::from_millis(delivered_before),
        exhausted_before: Timestamp::from_millis(0),
        limit: 200,
    };
    queue.prune(retention).await.expect("pruned")
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_go_into_their_months_and_go_with_them() {
    let backend = Backend::postgres();
    let database = database(&backend);
    let [next, second, third, fourth] = [1, 2, 3, 4].map(|ahead| month(database, ahead));
    delivered(
        database,
        1,
        next - 40 * i64::try_from(DAY.as_millis()).expect("few"),
    );
    assert_eq!(divide(database, "postgres"), "");
    // The first month may be the one after the next: then what would be its is in the part before.
    let made = names(database);
    assert!(made.contains(&name(database, second)), "{made:?}");
    let of_next = match made.contains(&name(database, next)) {
        true => name(database, next),
        false => "callback_attempt_before".to_owned(),
    };
    turn(database, next, 0);
    for (id, at) in [
        (2, next),
        (3, second - 1),
        (4, second),
        (5, third),
        (6, fourth),
    ] {
        delivered(database, id, at);
    }
    let [of_second, of_third] = [second, third].map(|month| name(database, month));
    let all = format!(
        "callback_attempt_before|1\n{of_next}|2\n{of_next}|3\n{of_second}|4\n{of_third}|5\n\
         callback_attempt_rest|6"
    );
    assert_eq!(parts(database), all);

    // What is pruned leaves its attempts in the months, and none elsewhere.
    let queue = backend.queue().await;
    database.sql("DELETE FROM callback_queue WHERE id IN (1, 2, 4)");
    assert_eq!(
        parts(database),
        all.replace("callback_attempt_before|1\n", "")
            .replace("callback_attempt_before|2\n", "")
    );
    // The parts that have passed by the end of the second month go, one at a time, the oldest first;
    // callback 3 is kept.
    while turn(database, third, third).contains("dropped") {}
    assert_eq!(
        parts(database),
        format!("callback_attempt_rest|3\n{of_third}|5\ncallback_attempt_rest|6")
    );
    assert!(!names(database).contains(&of_second));
    // And what moved goes with its callback.
    database.sql("DELETE FROM callback_queue WHERE id = 3");
    assert_eq!(
        parts(database),
        format!("{of_third}|5\ncallback_attempt_rest|6")
    );
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatchers_turn_the_months_when_they_prune() {
    let backend = divided();
    let database = database(&backend);
    let [last, this, second] = [-1, 0, 2].map(|ahead| month(database, ahead));
    let gone = name(database, second);
    // As it stands a month later, with a month missing.
    database.sql(&format!(
        "ALTER TABLE callback_attempt DETACH PARTITION {gone}; DROP TABLE {gone};
         ALTER TABLE callback_attempt DETACH PARTITION callback_attempt_before;
         ALTER TABLE callback_attempt ATTACH PARTITION callback_attempt_before
           FOR VALUES FROM (MINVALUE) TO ({last})"
    ));
    delivered(database, 1, last - 1);
    delivered(database, 2, last);
    let queue = backend.queue().await;
    // Not while it may have to be kept.
    assert_eq!(prune(&queue, last - 1).await, 0);
    let pruned = names(database);
    assert!(pruned.contains(&gone), "{pruned:?}");
    assert!(
        pruned.contains(&"callback_attempt_before".to_owned()),
        "{pruned:?}"
    );
    assert_eq!(prune(&queue, last).await, 1);
    let pruned = names(database);
    assert!(
        !pruned.contains(&"callback_attempt_before".to_owned()),
        "{pruned:?}"
    );
    assert_eq!(parts(database), "callback_attempt_rest|2");
    // What is to come is never dropped.
    let ahead = names(database);
    assert_eq!(prune(&queue, second + this).await, 1);
    assert_eq!(names(database), ahead);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_leaves_the_attempts_of_callbacks_that_are_gone() {
    let backend = divided();
    let database = database(&backend);
    let second = month(database, 2);
    delivered(database, 1, second);
    delivered(database, 2, second);
    database.sql("DELETE FROM callback_queue WHERE id = 1");
    assert_eq!(database.value("SELECT count(*) FROM callback_attempt"), "2");
    let log = TABLES.iter().find(|table| table.name == "callback_attempt");
    let log = log.expect("a table that is moved");
    let at = postgres::Database::parse(&database.url()).expect("a good URL");
    let source = postgres::transfer_source(&at).await.expect("held");
    assert_eq!(source.count(log).await, Ok(1));
    let page = source.page(log, None, 10).await.expect("a page");
    assert_eq!(page.rows.len(), 1);
}

#[test]
fn a_clock_that_was_wrong_stops_no_pruning() {
    let backend = divided();
    let database = database(&backend);
    let third = month(database, 3);
    // Before there was a month for it.
    delivered(database, 1, third);
    let second = month(database, 2);
    assert!(!turn(database, second, 0).contains(&name(database, third)));
    database.sql("DELETE FROM callback_queue WHERE id = 1");
    assert!(turn(database, second, 0).contains(&name(database, third)));
}

/// A queue of the role `dispatcher` in a schema of its own, on a server of its own.
fn with_roles() -> (Server, Database) {
    let server = Server::own();
    let database = server.create_database();
    database.sql(
        "CREATE ROLE dispatcher LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE support LOGIN;
         CREATE SCHEMA queue AUTHORIZATION dispatcher; GRANT USAGE ON SCHEMA queue TO operator, support;",
    );
    for role in ["dispatcher", "operator", "support"] {
        database.sql(&format!("ALTER ROLE {role} SET search_path = queue"));
    }
    assert_eq!(database.psql_as("dispatcher", SCHEMA), Ok(vec![]));
    (server, database)
}

#[test]
fn rights_views_and_guards_stay() {
    let (_server, database) = with_roles();
    let grants = "GRANT SELECT ON ALL TABLES IN SCHEMA queue TO operator;
                  GRANT SELECT (callback_id, outcome) ON callback_attempt TO support;
                  GRANT SELECT ON callback_exhausted TO support WITH GRANT OPTION";
    assert_eq!(database.psql_as("dispatcher", grants), Ok(vec![]));
    let rights = "SELECT table_name, grantee, privilege_type, is_grantable
                  FROM information_schema.role_table_grants WHERE grantee <> 'postgres'
                    AND table_name IN ('callback_attempt', 'callback_status', 'callback_exhausted')
                  UNION ALL
                  SELECT table_name || '.' || column_name, grantee, privilege_type, is_grantable
                  FROM information_schema.column_privileges
                  WHERE grantee = 'support' AND table_name <> 'callback_attempt_before' ORDER BY 1, 2, 3";
    let rules = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE conrelid = 'queue.callback_attempt'::regclass AND contype = 'c'
                 UNION ALL
                 SELECT viewname, definition FROM pg_views WHERE schemaname = 'queue'
                 UNION ALL
                 SELECT column_name, data_type || is_nullable || coalesce(column_default, '')
                 FROM information_schema.columns WHERE table_name = 'callback_attempt'
                 UNION ALL
                 SELECT tgname, '' FROM pg_trigger
                 WHERE tgrelid = 'queue.callback_attempt'::regclass ORDER BY 1, 2";
    let before = (database.psql(rights), database.psql(rules));
    assert_eq!(divide(&database, "dispatcher"), "");
    assert_eq!(database.psql(rights), before.0);
    assert_eq!(database.psql(rules), before.1);

    let attempt =
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
                   VALUES (1, 1, callback_now() + 86400000::bigint * (i), 5, 'refused', 1)";
    // In the part before, in a month and in the rest.
    for days in [0, 45, 400] {
        let attempt = attempt
            .replace("(i)", &days.to_string())
            .replace("(1,", &format!("({days},"));
        assert_eq!(database.psql_as("dispatcher", &attempt), Ok(vec![]));
    }
    let refusals = [
        "UPDATE callback_attempt SET outcome = 'acknowledged'",
        "TRUNCATE callback_attempt",
        "TRUNCATE callback_attempt_before",
        "TRUNCATE callback_attempt_rest",
    ];
    for sql in refusals {
        let said = database.psql_as("dispatcher", sql).expect_err(sql);
        assert!(
            said.contains("what happened does not change"),
            "{sql}: {said}"
        );
    }
    let charged = "UPDATE callback_attempt SET counted = 0, detail = detail || ' (not charged)'";
    assert_eq!(database.psql_as("dispatcher", charged), Ok(vec![]));
    let seen = database.psql_as("operator", "SELECT count(*) FROM callback_attempt");
    assert_eq!(seen, Ok(vec![vec!["3".to_owned()]]));
    let second = "INSERT INTO callback_attempt SELECT * FROM callback_attempt";
    let said = database
        .psql_as("dispatcher", second)
        .expect_err("each number once");
    assert!(said.contains("duplicate key"), "{said}");
}

#[test]
fn an_obstacle_is_named_and_nothing_changes() {
    let (_server, database) = with_roles();
    let said = divide(&database, "operator");
    assert!(
        said.contains("belongs to the role dispatcher, this is operator"),
        "{said}"
    );
    let said = divide(&database, "postgres");
    assert!(
        said.contains("there is no queue in this search_path"),
        "{said}"
    );

    let view = "CREATE VIEW slow AS SELECT * FROM callback_attempt WHERE duration_ms > 1000";
    assert_eq!(database.psql_as("dispatcher", view), Ok(vec![]));
    let said = divide(&database, "dispatcher");
    assert!(
        said.contains("the view slow reads callback_attempt"),
        "{said}"
    );
    let kind = "SELECT relkind FROM pg_class WHERE oid = 'queue.callback_attempt'::regclass";
    assert_eq!(database.value(kind), "r");

    // And it goes on from there.
    assert_eq!(database.psql_as("dispatcher", "DROP VIEW slow"), Ok(vec![]));
    assert_eq!(divide(&database, "dispatcher"), "");
    assert_eq!(database.value(kind), "p");
    let said = divide(&database, "dispatcher");
    assert!(said.contains("divided by month already"), "{said}");
}

/// An attempt of the oldest month that is being written while the month is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_written_meanwhile_does_not_go_with_its_month() {
    let backend = Arc::new(divided());
    let writer = Arc::clone(&backend);
    let database = database(&backend);
    let second = month(database, 2);
    delivered(database, 1, 1);
    database.sql("DELETE FROM callback_attempt");
    let writing = std::thread::spawn(move || {
        self::database(&writer).sql(
            "BEGIN;
             INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
             VALUES (1, 1, 1, 5, 'acknowledged', 1);
             SELECT pg_sleep(2);
             COMMIT",
        )
    });
    let sleeps = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event = 'PgSleep'";
    crate::support::waiting::until("it is being written", async || {
        database.value(sleeps) == "1"
    })
    .await;
    let done = turn(database, second, second);
    writing.join().expect("written");
    assert!(done.contains("dropped callback_attempt_before"), "{done}");
    assert_eq!(parts(database), "callback_attempt_rest|1");
}
