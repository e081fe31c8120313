//! The SQLite file as a whole; `database.rs` is for PostgreSQL.

use callback_dispatcher::store::sqlite;

use super::{Client, Queue, Row};
use crate::support::sqlite::sqlite3;

const VERSION: i64 = sqlite::SCHEMA_VERSION;

#[test]
fn the_file_says_whose_it_is_and_how_it_is_kept() {
    let queue = Queue::file();
    assert_eq!(queue.value("PRAGMA application_id"), 0x4e50_4342, "NPCB");
    assert_eq!(queue.value("PRAGMA user_version"), VERSION);
    assert_eq!(queue.value("PRAGMA auto_vacuum"), 2, "incremental");
    assert_eq!(queue.value("PRAGMA journal_mode"), "wal");
    assert_eq!(queue.value("PRAGMA integrity_check"), "ok");
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    // How packaging/callback-dispatcher.tmpfiles gives the queue its mode.
    let queue = Queue::file();
    let path = queue.folder().join("other.db");
    std::fs::write(&path, b"").expect("a writable directory");
    sqlite3(&path, super::SCHEMA);
    let printed = sqlite3(&path, "PRAGMA auto_vacuum; PRAGMA user_version");
    assert_eq!(printed, format!("2\n{VERSION}"));
}

#[test]
fn a_second_run_of_the_schema_changes_nothing() {
    let queue = Queue::file();
    queue.takes(Client::Python, &[Row::payment().insert()]);
    let (_, complaints) = queue.shell(super::SCHEMA);
    assert!(complaints.contains("already exists"), "{complaints}");
    assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 1);
    assert_eq!(queue.value("PRAGMA user_version"), VERSION);
}

#[test]
fn the_dispatchers_questions_are_answered_by_an_index() {
    let queue = Queue::file();
    let questions = [
        (
            "SELECT id FROM callback_queue WHERE app_id = '6' AND origin = 'https://m' AND state = 'pending' \
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
        let plan = queue.rows(&format!("EXPLAIN QUERY PLAN {question}"));
        let plan = format!("{plan:?}");
        assert!(
            plan.contains(&format!("INDEX {index} ")),
            "{question}: {plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{question}: {plan}");
    }
}
