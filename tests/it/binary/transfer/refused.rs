//! What is refused, and that nothing is changed by it.

use super::populated;
use crate::binary::{Place, payment};

const OLD: &str = "sqlite:queue.db";
const NEW: &str = "sqlite:new.db";

/// An unfinished copy of another transfer.
fn arriving(place: &Place, database: &str) {
    place.use_store(&format!("sqlite:{database}"));
    place.ask(&["init"]).done();
    place.rows_of(
        database,
        "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at) VALUES ('another', '/srv/elsewhere.db', 1)",
    );
}

#[test]
fn the_queue_that_is_left_takes_nothing_more() {
    let place = populated("http://127.0.0.1:9/");
    place.transfer(OLD, NEW).done();
    let new = place.path("new.db").display().to_string();
    place.refuses_all_work(&["has moved to", &new, "store.url", "To go back"]);
    place.refuses_rows("queue.db", &format!("this queue has moved to {new}"));
    for sql in [
        "UPDATE callback_queue SET next_attempt_at = 1 WHERE id = 1",
        "DELETE FROM callback_queue WHERE id = 2",
        "UPDATE operator_command SET status = 'refused', finished_at = 1 WHERE id = 4",
    ] {
        let error = place.sql_fails("queue.db", sql);
        assert!(error.contains("this queue has moved to"), "{error}");
    }
    // It can be read, and is no new place for anything.
    place.ask(&["show", "N2"]).done();
    place
        .transfer(NEW, OLD)
        .failed(78, &["queue.db is not empty"]);
    place
        .abandon(OLD, NEW)
        .failed(78, &["that one is complete", "into a new database"]);
    place
        .transfer(OLD, "sqlite:other.db")
        .failed(78, &["has moved to", "new.db"]);
    assert!(!place.path("other.db").exists());
}

#[test]
fn an_unfinished_copy_takes_nothing() {
    let place = populated("http://127.0.0.1:9/");
    arriving(&place, "half.db");
    place.refuses_all_work(&[
        "half.db is not complete",
        "/srv/elsewhere.db",
        "transfer` again",
    ]);
    // Nor does it take another transfer.
    place
        .transfer(OLD, "sqlite:half.db")
        .failed(78, &["another transfer, from /srv/elsewhere.db"]);
    place.use_store(OLD);
    assert_eq!(place.enqueue(&[payment("http://127.0.0.1:9/", 99)]), [13]);
}

#[test]
fn a_database_with_rows_is_no_new_place() {
    let place = populated("http://127.0.0.1:9/");
    place.use_store(NEW);
    place.ask(&["init"]).done();
    place.enqueue(&[payment("http://127.0.0.1:9/", 99)]);
    place
        .transfer(OLD, NEW)
        .failed(78, &["new.db is not empty", "Nothing was changed"]);
    place.use_store(OLD);
    assert_eq!(place.enqueue(&[payment("http://127.0.0.1:9/", 99)]), [13]);
}

#[test]
fn senseless_arguments_are_refused() {
    let place = populated("http://127.0.0.1:9/");
    let elsewhere = format!(
        "sqlite:{}/../{}/queue.db",
        place.folder().display(),
        place.folder().file_name().expect("a name").display()
    );
    place
        .transfer(OLD, &elsewhere)
        .failed(78, &["is both the queue to be moved and its new place"]);
    place.abandon(OLD, NEW).failed(78, &["is not being moved"]);
    place
        .transfer("sqlite:nowhere.db", NEW)
        .failed(78, &["nowhere.db does not exist"]);
    place
        .transfer("mysql://a:b@c/d", NEW)
        .failed(78, &["--from: not a store"]);
    place.transfer("env:NO_SUCH_VARIABLE", NEW).failed(
        78,
        &["--from env:NO_SUCH_VARIABLE: environment variable not found"],
    );
    for name in ["new.db", "nowhere.db", "nowhere.db.lock"] {
        assert!(!place.path(name).exists(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_at_work_is_not_moved() {
    let place = populated("http://127.0.0.1:9/");
    let daemon = place.run().ready().await;
    let pid = format!("process {}", daemon.pid());
    place
        .transfer(OLD, NEW)
        .failed(75, &["held by another dispatcher", &pid]);
    assert!(!place.path("new.db").exists());
    daemon.stops().await;
}
