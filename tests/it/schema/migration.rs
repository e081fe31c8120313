//! Queues of older versions become what a new one is, with all that was in them.

use std::collections::BTreeMap;
use std::path::Path;

use callback_dispatcher::store::postgres;
use callback_dispatcher::store::sqlite::{SCHEMA_VERSION, init, transfer_source};
use serde_json::{Value, json};

use super::{Client, POSTGRES_SCHEMA, Queue, Row, plain};
use crate::support::callback::insert;
use crate::support::postgres::{Database, Server};
use crate::support::sqlite;

/// `schema.sql` as each older version had it.
const OLDER: &[(i64, &str)] = &[
    (1, include_str!("versions/1.sql")),
    (2, include_str!("versions/2.sql")),
    (3, include_str!("versions/3.sql")),
    (4, include_str!("versions/4.sql")),
    (5, include_str!("versions/5.sql")),
];

/// A queue as an older program made it, with a callback in each state and an attempt.
fn older(schema: &str) -> Queue {
    let queue = Queue::file_of(schema);
    let mut rows = vec![Row::payment().insert(), Row::refund().insert()];
    rows.push(plain(
        "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1 WHERE id = 1",
    ));
    rows.push(plain(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
         VALUES (1, 1, 1, 7, 'acknowledged', 1)"
            .replace('\n', " ")
            .as_str(),
    ));
    queue.takes(Client::Python, &rows);
    queue
}

/// Everything that the file says of itself: columns of tables, the text of all else.
fn objects(path: &Path) -> BTreeMap<String, String> {
    let ask = |sql: &str| sqlite::rows(path, sql);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let objects = ask("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'");
    let objects = objects.iter().map(|object| {
        let name = text(&object["name"]);
        let about = match text(&object["type"]).as_str() {
            "table" => json!(ask(&format!("PRAGMA table_xinfo({name})"))).to_string(),
            _ => bare(&text(&object["sql"])),
        };
        (name, about)
    });
    objects.collect()
}

/// Without comments, and with one space wherever there is any.
fn bare(sql: &str) -> String {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

#[test]
fn an_older_file_becomes_what_a_new_one_is() {
    let fresh = objects(&Queue::file().path());
    assert!(fresh.len() > 30, "{fresh:?}");
    for (version, schema) in OLDER {
        let queue = older(schema);
        assert_eq!(queue.value("PRAGMA user_version"), *version);
        init(&queue.path()).unwrap_or_else(|error| panic!("from {version}: {error}"));
        assert_eq!(queue.value("PRAGMA user_version"), SCHEMA_VERSION);
        let migrated = objects(&queue.path());
        for (name, about) in &fresh {
            assert_eq!(migrated.get(name), Some(about), "from {version}: {name}");
        }
        assert_eq!(migrated.len(), fresh.len(), "from {version}");
        assert_eq!(
            queue.rows("SELECT id, state FROM callback_queue ORDER BY id"),
            [
                vec![json!(1), json!("delivered")],
                vec![json!(2), json!("pending")]
            ]
        );
        assert_eq!(
            queue.rows("SELECT duration_ms, phase, phases FROM callback_attempt"),
            [vec![json!(7), Value::Null, Value::Null]]
        );
        assert_eq!(queue.value("PRAGMA integrity_check"), "ok");
    }
}

/// As version 5 marked a queue that moves to another database, and one that is being filled.
const MARKED: &[&str] = &[
    "INSERT INTO queue_moved (source, to_name, at) VALUES ('t', 'new.db', 1)",
    "CREATE TRIGGER callback_queue_has_moved_insert BEFORE INSERT ON callback_queue \
     BEGIN SELECT RAISE(ABORT, 'callback_queue: this queue has moved to new.db'); END",
    "INSERT INTO queue_arriving (source, from_name, at) VALUES ('t', 'old.db', 1)",
];

#[tokio::test]
async fn the_marks_of_a_transfer_are_migrated_with_their_triggers() {
    let insert = || {
        Row::payment()
            .with("newpay_order_no", json!("new"))
            .insert()
    };
    for (mark, words) in [
        (&MARKED[..2], "has moved to new.db"),
        (&MARKED[2..], "is not finished"),
    ] {
        let queue = older(OLDER[4].1);
        let mark_statements: Vec<_> = mark.iter().map(|sql| plain(sql)).collect();
        queue.takes(Client::Python, &mark_statements);
        init(&queue.path()).expect("migrated");
        queue.refuses(Client::Python, &[(insert(), words)]);
        let end = transfer_source(&queue.path(), "a test").expect("held");
        let out = end.transfer_out().await.expect("read");
        assert_eq!(
            out.map(|out| out.to),
            mark.get(1).map(|_| "new.db".to_owned())
        );
        end.unmark_source().await.expect("no longer marked");
        end.unmark_target().await.expect("no longer marked");
        drop(end);
        queue.takes(Client::Python, &[insert()]);
    }
}

/// No CHECK is part of what `table_xinfo` tells; and a newer program may record an outcome that this
/// one does not know.
#[test]
fn a_migrated_file_has_the_rules_of_a_new_one() {
    for (version, schema) in OLDER {
        let queue = older(schema);
        init(&queue.path()).unwrap_or_else(|error| panic!("from {version}: {error}"));
        let attempt = |outcome: &str, phase: &str| {
            plain(&format!(
                "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, phase) \
                 VALUES (2, 1, 1, 1, '{outcome}', 1, {phase})"
            ))
        };
        let refused = [
            (
                plain("UPDATE callback_queue SET attempts = -1 WHERE id = 1"),
                "attempts_is_not_negative",
            ),
            (attempt("dns", "'name'"), "phase_is_known"),
        ];
        queue.refuses(Client::Python, &refused);
        let prune = plain(
            "INSERT INTO operator_command (action, until, actor, reason) VALUES ('prune', 1, 'noy', 'r')",
        );
        queue.takes(Client::Python, &[prune]);
        let last_outcome = plain("UPDATE callback_queue SET last_outcome = 'new' WHERE id = 2");
        queue.takes(Client::Python, &[last_outcome, attempt("new", "NULL")]);
    }
}

/// Columns, rules, triggers, indexes, functions and views.
const CATALOG: &str = "
SELECT 'column', table_name || '.' || column_name, data_type || column_default || is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'comment', relname || coalesce('.' || attname, ''), description
FROM pg_description JOIN pg_class c ON c.oid = objoid
LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
WHERE relnamespace = 'public'::regnamespace
ORDER BY 1, 2";

fn postgres_of(schema: &str) -> (Database, postgres::Database) {
    let database = Server::shared().create_database();
    assert_eq!(database.script(&[], schema).1, "");
    let url = postgres::Database::parse(&database.url()).expect("a URL");
    (database, url)
}

#[test]
fn every_table_column_and_view_has_a_comment() {
    let (fresh, _) = postgres_of(POSTGRES_SCHEMA);
    let silent = "SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'r'
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
          AND (obj_description(c.oid) IS NULL OR a.attnum IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL)";
    assert_eq!(fresh.sql(silent), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_postgresql_queue_becomes_what_a_new_one_is() {
    let (fresh, _) = postgres_of(POSTGRES_SCHEMA);
    let (older, url) = postgres_of(include_str!("versions/postgres/1.sql"));
    older.sql(&insert("https://one.example/", "N", &[]));
    older.sql("UPDATE callback_queue SET held = 1; GRANT SELECT ON callback_stuck TO PUBLIC");
    let grants = "SELECT relacl FROM pg_class WHERE relname = 'callback_stuck'";
    let granted = older.value(grants);
    older.sql("INSERT INTO dispatcher (name) VALUES ('host 1')");
    let held = postgres::init(&url)
        .await
        .expect_err("a dispatcher is at work");
    assert!(held.to_string().contains("host 1"), "{held}");
    assert_eq!(older.value("SELECT version FROM queue_schema"), "1");
    older.sql("DELETE FROM dispatcher");
    assert!(
        !postgres::init(&url).await.expect("migrated"),
        "it was there"
    );
    assert_eq!(older.sql(CATALOG), fresh.sql(CATALOG));
    assert_eq!(older.value("SELECT version FROM queue_schema"), "6");
    assert_eq!(
        older.value("SELECT count(*) FROM callback_queue WHERE state = 'pending'"),
        "1"
    );
    assert_eq!(older.value(grants), granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marks_of_a_transfer_are_migrated_with_their_triggers_on_postgresql() {
    let insert = insert("https://one.example/", "N", &[]);
    for (mark, words) in [
        (
            "INSERT INTO queue_moved (source, to_name, at) VALUES ('t', 'new', 1);
             CREATE TRIGGER callback_queue_has_moved BEFORE INSERT OR UPDATE OR DELETE ON callback_queue
             FOR EACH STATEMENT EXECUTE FUNCTION callback_refuse('this queue has moved to new')",
            "has moved to new",
        ),
        (
            "INSERT INTO queue_arriving (source, from_name, at) VALUES ('t', 'old', 1);
             CREATE TRIGGER callback_queue_waits_for_its_transfer BEFORE INSERT OR UPDATE OR DELETE
             ON callback_queue FOR EACH STATEMENT
             EXECUTE FUNCTION queue_refuse_unless_copying('a transfer is not finished')",
            "is not finished",
        ),
    ] {
        let (older, url) = postgres_of(include_str!("versions/postgres/1.sql"));
        older.sql(mark);
        postgres::init(&url).await.expect("migrated");
        let refused = older.try_sql(&insert).expect_err("marked");
        assert!(refused.contains(words), "{refused}");
        let end = postgres::transfer_source(&url).await.expect("held");
        end.unmark_source().await.expect("no longer marked");
        end.unmark_target().await.expect("no longer marked");
        older.sql(&insert);
    }
}
