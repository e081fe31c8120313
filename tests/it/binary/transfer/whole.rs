//! What arrives is what was there, and nothing is sent twice.

use std::collections::BTreeMap;

use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::transfer::TABLES as TABLES_CARRIED;
use serde_json::{Value, json};

use super::{TABLES, about, digests, populated};
use crate::binary::{Place, StoreKind, found, on_both, payment};
use crate::support::sqlite::python;
use crate::support::store::Store;

const OLD: &str = "sqlite:queue.db";
const NEW: &str = "sqlite:new.db";

const DOCUMENT: &str = include_str!("../../../../docs/transfer.md");

fn assert_same(place: &Place, from: &str, to: &str) {
    for (table, key) in TABLES {
        let sql = format!("SELECT * FROM {table} ORDER BY {key}");
        assert!(!place.rows_of(from, &sql).is_empty(), "{table}");
        assert_eq!(
            place.rows_of(from, &sql),
            place.rows_of(to, &sql),
            "{table}"
        );
    }
    let sql = "SELECT name, seq FROM sqlite_sequence ORDER BY name";
    assert_eq!(place.rows_of(from, sql), place.rows_of(to, sql));
}

#[test]
fn every_kind_of_row_arrives_and_goes_back() {
    let place = populated("http://127.0.0.1:9/");
    let there = place.transfer(OLD, NEW).done();
    assert!(there.contains("has moved to"), "{there}");
    assert_eq!(digests(&there).len(), TABLES.len(), "{there}");
    assert_same(&place, "queue.db", "new.db");
    let in_flight = "SELECT outcome, counted FROM callback_attempt WHERE callback_id = 5";
    assert_eq!(
        place.rows_of("new.db", in_flight),
        [json!({"outcome": "interrupted", "counted": 0})]
    );
    assert_eq!(place.count("new.db", "internal_transfer_in"), 0);

    let back = place.transfer(NEW, "sqlite:third.db").done();
    assert_eq!(digests(&back), digests(&there));
    assert_same(&place, "queue.db", "third.db");
}

/// As the program in the documentation computes it.
#[test]
fn the_digest_is_the_documented_one() {
    let place = populated("http://127.0.0.1:9/");
    let out = place.transfer(OLD, NEW).done();
    let (_, program) = DOCUMENT.split_once("```python\n").expect("a program");
    let (program, _) = program.split_once("```").expect("its end");
    let digest = python(program, &place.path("new.db"), &[], "");
    assert_eq!(digest.trim().len(), 64, "{digest}");
    assert!(out.contains(digest.trim()), "{digest} in {out}");
}

/// A table that is new must not be left behind, and columns of a key come first.
#[test]
fn all_that_a_queue_consists_of_is_carried() {
    let place = Place::new();
    let carried = |table: &Value| TABLES_CARRIED.iter().any(|carried| *table == carried.name);
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'
        AND name NOT IN ('internal_conflict', 'internal_transfer_out', 'internal_transfer_in', 'learned_limit', 'sqlite_sequence')";
    for table in place.rows(tables) {
        assert!(carried(&table["name"]), "{table}");
    }
    for table in &TABLES_CARRIED {
        let columns = place.rows(&format!(
            "SELECT name FROM pragma_table_info('{}') WHERE pk = cid + 1",
            table.name
        ));
        let key: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
        assert_eq!(key, table.key, "{}", table.name);
    }
}

#[test]
fn ids_go_on_behind_the_highest_ever_given() {
    let place = populated("http://127.0.0.1:9/");
    place.transfer(OLD, NEW).done();
    place.use_store(NEW);
    let ids = place.enqueue(&[payment("http://127.0.0.1:9/", 99)]);
    assert_eq!(ids, [13], "12 was given and pruned");
}

#[test]
fn a_finished_transfer_is_not_repeated() {
    let place = populated("http://127.0.0.1:9/");
    place.transfer(OLD, NEW).done();
    place.use_store(NEW);
    place.enqueue(&[payment("http://127.0.0.1:9/", 99)]);
    let again = place.transfer(OLD, NEW).done();
    assert!(again.contains("before; nothing was changed"), "{again}");
    assert_eq!(place.count("new.db", "callback_queue"), 11);
}

async fn the_daemon_over_there_sends_what_is_due_once(store: StoreKind) {
    let place = Place::new();
    // The queue's own file stands in the folder.
    let (new, url) = match store {
        StoreKind::Sqlite => (Store::Sqlite(place.path("new.db")), NEW.to_owned()),
        StoreKind::Postgres => {
            let new = Store::new(store, place.folder());
            let url = new.url();
            (new, url)
        }
    };
    let merchant = place.merchant(Answer::Ack).await;
    let callback_url = merchant.url("/callback");
    place.rows(&include_str!("population.sql").replace("MERCHANT", &callback_url));
    place.transfer(OLD, &url).done();
    place.use_store(&url);
    let daemon = place.run().ready().await;
    let waiting = "SELECT 1 FROM callback_queue WHERE state = 'pending' AND id NOT IN (6, 11)
                   UNION ALL SELECT 1 FROM operator_command WHERE finished_at IS NULL";
    found("all that may be sent is sent", || {
        new.rows(waiting).is_empty().then_some(())
    })
    .await;

    // Finished, and at work: the same answer.
    let again = place.transfer(OLD, &url).done();
    assert!(again.contains("before; nothing was changed"), "{again}");
    daemon.stops().await;

    let mut sent = BTreeMap::new();
    for line in place.journal() {
        *sent.entry(about(&line)).or_insert(0) += 1;
    }
    let once = ["N1", "N5", "N7", "N8", "NR2"].map(|number| (number.to_owned(), 1));
    assert_eq!(sent, BTreeMap::from(once));
    merchant.stop().await;
}

on_both!(the_daemon_over_there_sends_what_is_due_once);
