//! `kill -9` under load, again and again: nothing is lost, and what was recorded as acknowledged
//! is never sent again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

use callback_dispatcher::merchant::{Answer, Script};
use serde_json::Value;

use super::{Place, payment, refund};

const KILLS: usize = 24;

/// Half of them payments, half their refunds.
const ROWS: usize = 800;

/// POSTs between a start and its kill: fewer than [`ROWS`] in all, so that every kill finds work.
const POSTS_PER_LIFE: usize = 20;

const ATTEMPTS_MAX: i64 = 3;

/// One order in ten is never acknowledged, one in ten only sometimes; each answer takes a moment,
/// so that a kill finds some on their way.
fn script() -> Script {
    Script::each(|post| {
        let order = post.text("newpayOrderNo").unwrap_or_default();
        let moment: u32 = post.text("timestamp").unwrap_or_default()[6..]
            .parse()
            .unwrap_or_default();
        match order.chars().last() {
            Some('0') => Answer::Refuse,
            Some('1') if moment.is_multiple_of(2) => Answer::Close,
            _ => Answer::Slow(Duration::from_millis(2 + u64::from(moment % 20))),
        }
    })
}

/// The callback that a POST is about.
fn about(line: &Value) -> String {
    let body = &line["body"];
    let number = body
        .get("newpayRefundOrderNo")
        .unwrap_or(&body["newpayOrderNo"]);
    number.as_str().expect("text").to_owned()
}

/// What is recorded as delivered while no dispatcher runs. Read from a copy, which must be sound:
/// opening the queue itself would tidy up after the crash before the dispatcher has to.
fn delivered(place: &Place) -> HashSet<String> {
    for suffix in ["", "-wal"] {
        let path = |name| place.path(&format!("{name}{suffix}"));
        fs::copy(path("queue.db"), path("copy.db")).expect("a crash leaves its log");
    }
    let integrity = place.rows_of("copy.db", "PRAGMA integrity_check");
    assert_eq!(integrity[0]["integrity_check"], "ok");
    let sql = "SELECT coalesce(newpay_refund_order_no, newpay_order_no) AS number
               FROM callback_queue WHERE state = 'delivered'";
    let rows = place.rows_of("copy.db", sql);
    rows.iter()
        .map(|row| row["number"].as_str().expect("text").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_recorded_is_sent_again() {
    let place = Place::new();
    let merchant = place.merchant(script()).await;
    let url = merchant.url("/cb");
    let callbacks: Vec<_> = (0..ROWS)
        .map(|number| match number % 2 {
            0 => payment(&url, number / 2),
            _ => refund(&url, number / 2),
        })
        .collect();
    assert_eq!(place.enqueue(&callbacks).len(), ROWS);

    // After each kill: where the journal stood, and what was recorded by then.
    let mut deaths = Vec::new();
    for _ in 0..KILLS {
        let before = merchant.count();
        let mut daemon = place.run();
        tokio::time::timeout(super::PATIENCE, merchant.wait_for(before + POSTS_PER_LIFE))
            .await
            .unwrap_or_else(|_| panic!("no POSTs: {}", daemon.said()));
        daemon.kill();
        deaths.push((place.journal().len(), delivered(&place)));
    }
    let (_, recorded) = deaths.last().expect("there were kills");
    assert!(recorded.len() < ROWS, "the last kill came too late");

    let daemon = place.run().ready().await;
    place.all_finished().await;
    daemon.stops().await;

    let journal = place.journal();
    for (number, (position, recorded)) in deaths.iter().enumerate() {
        for line in &journal[*position..] {
            let order = about(line);
            assert!(
                !recorded.contains(&order),
                "{order} again after kill {number}"
            );
        }
    }
    assert!(journal.iter().all(|line| line["sign_holds"] == true));
    let interrupted = the_log_agrees(&place, &journal);
    println!(
        "{KILLS} kills, {ROWS} callbacks, {} POSTs, {interrupted} attempts interrupted",
        journal.len()
    );
    assert!(interrupted > 0, "no kill found an attempt in flight");
    let integrity = place.rows("PRAGMA integrity_check");
    assert_eq!(integrity[0]["integrity_check"], "ok");
    assert_eq!(place.rows("PRAGMA foreign_key_check").len(), 0);
}

/// Holds the attempts' log against the queue and against what the merchant saw; returns how many
/// attempts were interrupted.
fn the_log_agrees(place: &Place, journal: &[Value]) -> usize {
    let sql = "SELECT q.id, coalesce(newpay_refund_order_no, newpay_order_no) AS number,
                 state, attempts, leased_until, last_outcome,
                 json_group_array(json_object('seq', seq, 'outcome', outcome, 'counted', counted,
                   'sign', sign)) AS log
               FROM callback_queue q JOIN callback_attempt a ON a.callback_id = q.id GROUP BY q.id";
    let rows = place.rows(sql);
    assert_eq!(rows.len(), ROWS, "each has attempts");
    let mut posts: HashMap<String, HashSet<&str>> = HashMap::new();
    for line in journal {
        let sign = line["body"]["sign"].as_str().expect("a sign");
        posts.entry(about(line)).or_default().insert(sign);
    }
    let mut interrupted = 0;
    for row in &rows {
        let mut log: Vec<Value> =
            serde_json::from_str(row["log"].as_str().expect("text")).expect("JSON");
        log.sort_by_key(|attempt| attempt["seq"].as_i64());
        let seqs: Vec<_> = log.iter().map(|attempt| attempt["seq"].as_u64()).collect();
        assert!(
            seqs.into_iter().eq((1..).take(log.len()).map(Some)),
            "{row}"
        );
        assert_eq!(row["leased_until"], Value::Null, "{row}");
        assert_eq!(row["last_outcome"], log[log.len() - 1]["outcome"], "{row}");

        let counted = log.iter().filter(|attempt| attempt["counted"] == 1).count();
        assert_eq!(row["attempts"], counted, "{row}");
        let acknowledged = log
            .iter()
            .filter(|attempt| attempt["outcome"] == "acknowledged");
        match row["state"].as_str() {
            Some("delivered") => assert_eq!(row["last_outcome"], "acknowledged", "{row}"),
            Some("exhausted") => assert_eq!(row["attempts"], ATTEMPTS_MAX, "{row}"),
            _ => panic!("neither delivered nor exhausted: {row}"),
        }
        assert_eq!(
            acknowledged.count(),
            usize::from(row["state"] == "delivered"),
            "{row}"
        );

        let seen = &posts[row["number"].as_str().expect("text")];
        assert!(seen.len() <= log.len(), "a POST without an attempt: {row}");
        for attempt in &log {
            if attempt["outcome"] == "interrupted" {
                interrupted += 1;
                assert_eq!(attempt["counted"], 0, "{row}");
            } else {
                let sign = attempt["sign"].as_str().expect("a sign");
                assert!(seen.contains(sign), "an attempt that was no POST: {row}");
            }
        }
    }
    interrupted
}
