//! The database file as a whole.

use std::collections::BTreeSet;

use callback_dispatcher::store::sqlite;
use serde_json::json;

use super::{Client, Queue, Row, plain};

const VERSION: i64 = sqlite::SCHEMA_VERSION;

/// Each earlier version, as it was shipped.
const EARLIER: [(i64, &str); 1] = [(1, include_str!("../../fixtures/schema-1.sql"))];

#[test]
fn the_file_says_whose_it_is_and_how_it_is_kept() {
    let queue = Queue::new();
    assert_eq!(queue.value("PRAGMA application_id"), 0x4e50_4342, "NPCB");
    assert_eq!(queue.value("PRAGMA user_version"), VERSION);
    assert_eq!(queue.value("PRAGMA auto_vacuum"), 2, "incremental");
    assert_eq!(queue.value("PRAGMA journal_mode"), "wal");
    assert_eq!(queue.value("PRAGMA integrity_check"), "ok");
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    // How packaging/callback-dispatcher.tmpfiles gives the queue its mode.
    let queue = Queue::new();
    let path = queue.directory.path().join("other.db");
    std::fs::write(&path, b"").expect("a writable directory");
    let mut command = std::process::Command::new("sqlite3");
    command.arg("-batch").arg(&path);
    let (_, complaints) = super::feed(command, super::SCHEMA);
    assert_eq!(complaints, "");
    let mut command = std::process::Command::new("sqlite3");
    command.arg("-batch").arg(&path);
    let (printed, _) = super::feed(command, "PRAGMA auto_vacuum; PRAGMA user_version;");
    assert_eq!(printed, format!("2\n{VERSION}\n"));
}

#[test]
fn a_second_run_of_the_schema_changes_nothing() {
    let queue = Queue::new();
    let answer = queue
        .ask(Client::Python, &[Row::payment().insert()])
        .remove(0);
    answer.expect("a good row");
    let (_, complaints) = queue.shell(super::SCHEMA);
    assert!(complaints.contains("already exists"), "{complaints}");
    assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 1);
    assert_eq!(queue.value("PRAGMA user_version"), VERSION);
}

#[test]
fn an_earlier_version_becomes_the_same_as_a_new_file_and_keeps_its_rows() {
    let objects = |queue: &Queue| -> BTreeSet<String> {
        let all = "SELECT type, name, sql FROM sqlite_schema";
        let all = queue.ask(Client::Python, &[plain(all)]).remove(0);
        let all = all.expect("objects").into_iter();
        all.map(|object| json!(object).to_string()).collect()
    };
    assert_eq!(EARLIER.len(), usize::try_from(VERSION - 1).expect("small"));
    for (version, schema) in EARLIER {
        let queue = Queue {
            directory: tempfile::TempDir::new().expect("a temporary directory"),
        };
        let (_, complaints) = queue.shell(schema);
        assert_eq!(complaints, "");
        assert_eq!(queue.value("PRAGMA user_version"), version);
        queue
            .ask(Client::Python, &[Row::payment().insert()])
            .remove(0)
            .expect("a good row");
        sqlite::init(&queue.path()).unwrap_or_else(|error| panic!("from {version}: {error}"));
        assert_eq!(queue.value("PRAGMA user_version"), VERSION);
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 1);
        assert_eq!(objects(&queue), objects(&Queue::new()), "from {version}");
    }
}

#[test]
fn the_dispatchers_questions_are_answered_by_an_index() {
    let queue = Queue::new();
    let questions = [
        (
            "SELECT id FROM callback_queue WHERE origin = 'https://m' AND state = 'pending' \
             AND leased_until IS NULL AND next_attempt_at <= 1 ORDER BY next_attempt_at",
            "callback_due",
        ),
        (
            "SELECT id FROM callback_queue WHERE leased_until IS NOT NULL",
            "callback_in_flight",
        ),
        (
            "SELECT id FROM callback_queue WHERE state = 'delivered' AND finished_at < 1",
            "callback_finished",
        ),
        (
            "SELECT id FROM callback_queue WHERE order_no = '1'",
            "callback_by_order",
        ),
    ];
    for (question, index) in questions {
        let explained = plain(&format!("EXPLAIN QUERY PLAN {question}"));
        let plan = queue
            .ask(Client::Python, &[explained])
            .remove(0)
            .expect("a plan");
        let plan = format!("{plan:?}");
        assert!(
            plan.contains(&format!("INDEX {index} ")),
            "{question}: {plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{question}: {plan}");
    }
}
