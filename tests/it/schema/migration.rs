//! Files of older versions become what a new one is, with all that was in them. On PostgreSQL there
//! is no older version.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use callback_dispatcher::store::sqlite::{self, SCHEMA_VERSION};
use serde_json::{Value, json};

use super::{Client, Queue, Row, feed, plain};

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
    for answer in queue.ask(Client::Python, &rows) {
        answer.expect("a good statement");
    }
    queue
}

/// Everything that the file says of itself: columns of tables, the text of all else.
fn objects(path: &Path) -> BTreeMap<String, String> {
    let ask = |sql: &str| {
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "-json"]).arg(path);
        let (printed, complaints) = feed(command, sql);
        assert_eq!(complaints, "");
        serde_json::from_str::<Vec<Value>>(&printed).expect("JSON rows")
    };
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
        sqlite::init(&queue.path()).unwrap_or_else(|error| panic!("from {version}: {error}"));
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

/// A CHECK is no part of what `table_xinfo` tells.
#[test]
fn the_rules_of_a_migrated_file_hold() {
    for (version, schema) in OLDER {
        let queue = older(schema);
        sqlite::init(&queue.path()).unwrap_or_else(|error| panic!("from {version}: {error}"));
        let broken = [
            (
                "UPDATE callback_queue SET attempts = -1 WHERE id = 1",
                "attempts_is_not_negative",
            ),
            (
                "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, phase) \
                 VALUES (2, 1, 1, 1, 'dns', 1, 'name')",
                "phase_is_known",
            ),
        ];
        for (sql, rule) in broken {
            let answer = queue.ask(Client::Python, &[plain(sql)]).remove(0);
            let error = answer.expect_err(sql);
            assert!(error.contains(rule), "{sql}: {error}");
        }
    }
}
