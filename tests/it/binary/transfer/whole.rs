//! What arrives is what was there, and nothing is sent twice.

use std::collections::BTreeMap;

use callback_dispatcher::merchant::Answer;
use serde_json::json;

use super::{TABLES, about, digests, populated};
use crate::binary::{Place, payment, until};

const OLD: &str = "sqlite:queue.db";
const NEW: &str = "sqlite:new.db";

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
    assert_eq!(place.count("new.db", "queue_arriving"), 0);

    let back = place.transfer(NEW, "sqlite:third.db").done();
    assert_eq!(digests(&back), digests(&there));
    assert_same(&place, "queue.db", "third.db");
}

/// Written anew in another language, from the documentation alone.
#[test]
fn the_digest_is_the_documented_one() {
    let place = populated("http://127.0.0.1:9/");
    let out = place.transfer(OLD, NEW).done();
    let program = "
import hashlib, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.text_factory = bytes
digest = hashlib.sha256()
for row in db.execute('SELECT * FROM callback_attempt ORDER BY callback_id, seq'):
    for value in row:
        if value is None: digest.update(b'-')
        elif isinstance(value, int): digest.update(b'i%d' % value)
        else: digest.update(b't%d:' % len(value) + value)
        digest.update(b'\\n')
    digest.update(b'\\n')
print(digest.hexdigest())
";
    let said = std::process::Command::new("python3")
        .args(["-c", program])
        .arg(place.path("new.db"))
        .output()
        .expect("python3 is installed by scripts/check");
    let digest = String::from_utf8(said.stdout).expect("UTF-8");
    assert_eq!(digest.trim().len(), 64, "{digest}");
    assert!(out.contains(digest.trim()), "{digest} in {out}");
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
fn what_is_done_is_not_done_again() {
    let place = populated("http://127.0.0.1:9/");
    place.transfer(OLD, NEW).done();
    place.use_store(NEW);
    place.enqueue(&[payment("http://127.0.0.1:9/", 99)]);
    let again = place.transfer(OLD, NEW).done();
    assert!(again.contains("before; nothing was changed"), "{again}");
    assert_eq!(place.count("new.db", "callback_queue"), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_over_there_sends_what_is_due_once() {
    let place = Place::new();
    let merchant = place.merchant(Answer::Ack).await;
    let url = merchant.url("/callback");
    place.rows(&include_str!("population.sql").replace("MERCHANT", &url));
    place.transfer(OLD, NEW).done();
    place.use_store(NEW);
    let daemon = place.run().ready().await;
    let waiting = "SELECT 1 FROM callback_queue WHERE state = 'pending' AND held = 0 AND id <> 11
                   UNION ALL SELECT 1 FROM operator_command WHERE finished_at IS NULL";
    until("all that may be sent is sent", || {
        place.rows_of("new.db", waiting).is_empty().then_some(())
    })
    .await;

    // Finished, and at work: the same answer.
    let again = place.transfer(OLD, NEW).done();
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
