//! A transfer that is cut off goes on when it is run again, or is taken back.

use super::with_rows;
use crate::binary::{Place, payment};

const OLD: &str = "sqlite:queue.db";
const NEW: &str = "sqlite:new.db";

const ROWS: u64 = 20_000;

async fn cut_off(place: &Place, rows: u64) {
    super::cut_off(place, OLD, NEW, rows, || place.callbacks_so_far("new.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_arrives_whole() {
    let place = with_rows(ROWS as usize);
    for rows in [1, ROWS / 4, ROWS / 2, ROWS] {
        cut_off(&place, rows).await;
        place.use_store(OLD);
        place.refuses_all_work(&["is being moved to", "new.db", "--abandon"]);
        place.refuses_rows("queue.db", "this queue has moved to");
        place.use_store(NEW);
        place.refuses_all_work(&["new.db is not complete"]);
        place.refuses_rows("new.db", "a transfer into this queue is not finished");
    }
    let done = place.transfer(OLD, NEW).done();
    assert!(done.contains("has moved to"), "{done}");
    let sql = "SELECT * FROM callback_queue ORDER BY id";
    assert_eq!(place.rows_of("queue.db", sql), place.rows_of("new.db", sql));
    assert_eq!(place.count("new.db", "callback_queue"), ROWS);
    place.use_store(NEW);
    assert_eq!(
        place.enqueue(&[payment("http://127.0.0.1:9/", 1_000_000)]),
        [20_001]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_copy_is_found_and_the_transfer_taken_back() {
    let place = with_rows(ROWS as usize);
    cut_off(&place, 5000).await;
    place.rows_of(
        "new.db",
        "UPDATE internal_transfer_in SET copying = 1;
         UPDATE callback_queue SET attempts = 2 WHERE id = 4321;
         UPDATE internal_transfer_in SET copying = 0",
    );
    let error = place.sql_fails("new.db", "DELETE FROM callback_queue WHERE id = 1");
    let not_finished = "a transfer into this queue is not finished";
    assert!(error.contains(not_finished), "{error}");
    let words = [
        "table callback_queue differs at id 4321",
        "not the same",
        "--abandon",
    ];
    place.transfer(OLD, NEW).failed(1, &words);
    // As often as it is asked, and neither is worked on.
    place.transfer(OLD, NEW).failed(1, &words);
    place.use_store(NEW);
    place.refuses_all_work(&["is not complete"]);
    place.use_store(OLD);
    place.refuses_all_work(&["is being moved to"]);

    for other in [
        place.transfer(OLD, "sqlite:other.db"),
        place.abandon(OLD, "sqlite:other.db"),
    ] {
        other.failed(78, &["moves to", "new.db", "not to", "other.db"]);
    }

    let back = place.abandon(OLD, NEW).done();
    assert!(
        back.contains("is in use again") && back.contains("new.db"),
        "{back}"
    );
    assert_eq!(
        place.enqueue(&[payment("http://127.0.0.1:9/", 1_000_000)]),
        [20_001]
    );
    // What was copied is of another day.
    place
        .transfer(OLD, NEW)
        .failed(78, &["unfinished copy", "remove"]);
    for suffix in ["", "-wal", "-shm"] {
        // Whichever of them the last connection has left.
        let _ = std::fs::remove_file(place.path(&format!("new.db{suffix}")));
    }
    place.transfer(OLD, NEW).done();
    assert_eq!(place.count("new.db", "callback_queue"), ROWS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_copy_lost_is_named() {
    let place = with_rows(ROWS as usize);
    cut_off(&place, 5000).await;
    place.rows_of(
        "new.db",
        "UPDATE internal_transfer_in SET copying = 1;
         UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL, finished_at = 1 WHERE id = 7;
         DELETE FROM callback_queue WHERE id = 7;
         UPDATE internal_transfer_in SET copying = 0",
    );
    place.transfer(OLD, NEW).failed(
        1,
        &["table callback_queue differs at id 7", "lacks this row"],
    );
}

/// Cut off behind the moment at which the other one became the queue.
#[test]
fn the_last_step_is_taken_again() {
    let place = with_rows(10);
    place.transfer(OLD, NEW).done();
    let source = place.rows_of("queue.db", "SELECT transfer_id FROM internal_transfer_out");
    let source = source[0]["transfer_id"].as_str().expect("text");
    let cut_off = format!(
        "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at) VALUES ('{source}', 'x', 1)"
    );
    place.rows_of("new.db", &cut_off);
    place
        .abandon(OLD, NEW)
        .failed(78, &["that one is complete"]);
    place.transfer(OLD, NEW).done();
    assert_eq!(place.count("new.db", "internal_transfer_in"), 0);
    place.use_store(NEW);
    assert_eq!(place.enqueue(&[payment("http://127.0.0.1:9/", 11)]), [11]);
}

/// Cut off between the two marks.
#[test]
fn the_second_mark_is_made_again() {
    let place = with_rows(10);
    place.transfer(OLD, NEW).done();
    place.rows("UPDATE internal_transfer_out SET verified_at = NULL");
    for suffix in ["", "-wal", "-shm"] {
        // Whichever of them the last connection has left.
        let _ = std::fs::remove_file(place.path(&format!("new.db{suffix}")));
    }
    place.transfer(OLD, NEW).done();
    assert_eq!(place.count("new.db", "callback_queue"), 10);
}
