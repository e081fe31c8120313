//! `show`, `list`, `stats`: what support and scripts read.

use callback_dispatcher::merchant::{Answer, Script};
use serde_json::{Value, json};

use super::{Place, StoreKind, assert_has, on_both, payment, refund, with};

/// A payment that was delivered, its refund that was given up, and a payment of app 8 that waits:
/// it has no key.
async fn played(store: StoreKind) -> Place {
    let place = Place::on(store);
    let merchant = place
        .merchant(Script::each(|post| {
            match post.text("newpayRefundOrderNo").is_some() {
                true => Answer::Status(503),
                false => Answer::Ack,
            }
        }))
        .await;
    let url = merchant.url("/cb");
    place.enqueue(&[payment(&url, 1), refund(&url, 1)]);
    let daemon = place.run().ready().await;
    place.all_finished().await;
    daemon.stops().await;
    place.enqueue(&[with(payment(&url, 2), "appId", json!("8"))]);
    place
}

fn ids(list: &Value) -> Vec<i64> {
    let rows = list.as_array().expect("an array").iter();
    rows.map(|row| row["id"].as_i64().expect("an id")).collect()
}

async fn show_finds_by_every_number_and_tells_what_to_tell(store: StoreKind) {
    let place = played(store).await;
    for (number, found) in [
        ("1", vec![1]),
        ("M2", vec![3]),
        ("N2", vec![3]),
        ("MR1", vec![2]),
        ("NR1", vec![2]),
    ] {
        let stories = place.ask(&["show", number, "--json"]).json();
        let stories = stories.as_array().expect("an array");
        let shown: Vec<_> = stories
            .iter()
            .map(|shown| shown["callback"]["id"].as_i64().expect("an id"))
            .collect();
        assert_eq!(shown, found, "{number}");
    }
    for both in ["M1", "N1"] {
        let stories = place.ask(&["show", both, "--json"]).json();
        assert_eq!(
            stories.as_array().map(Vec::len),
            Some(2),
            "{both}: payment and refund"
        );
    }

    let text = place.ask(&["show", "1"]).done();
    assert_has(
        &text,
        &[
            "callback 1: payment delivered",
            "acknowledged",
            "of-6",
            "tell the merchant:",
            "order M1",
            "HTTP 200 with transResult SUCCESS",
        ],
    );
    let text = place.ask(&["show", "MR1"]).done();
    assert_has(
        &text,
        &[
            "callback 2: refund exhausted",
            "http_status",
            "503",
            "refund MR1",
            "was sent to http://127.0.0.1:",
            "3 times",
            "never acknowledged",
            "We have stopped trying",
        ],
    );
    let text = place.ask(&["show", "M2"]).done();
    assert!(
        text.contains("no attempt yet") && text.contains("is queued for"),
        "{text}"
    );
    place.ask(&["show", "M9"]).failed(1, &["M9"]);
    place.ask(&["show", "M9", "--json"]).failed(1, &["M9"]);

    let shown = &place.ask(&["show", "MR1", "--json"]).json()[0];
    assert!(
        shown["tell_merchant"]
            .as_str()
            .is_some_and(|text| text.contains("MR1"))
    );
    assert_eq!(shown["callback"]["state"], "exhausted");
    let attempts = shown["attempts"].as_array().expect("an array");
    assert_eq!(attempts.len(), 3);
    for (attempt, seq) in attempts.iter().zip(1..) {
        assert_eq!(attempt["seq"], seq);
        assert_eq!(attempt["http_status"], 503);
        assert_eq!(attempt["counted"], true);
    }
}

async fn list_filters(store: StoreKind) {
    let place = played(store).await;
    for (arguments, found) in [
        ("", vec![3, 2, 1]),
        ("--state delivered", vec![1]),
        ("--state exhausted", vec![2]),
        ("--state pending", vec![3]),
        ("--state cancelled", vec![]),
        ("--app 8", vec![3]),
        ("--app 6", vec![2, 1]),
        ("--outcome http_status", vec![2]),
        ("--outcome timeout", vec![]),
        ("--since 1h", vec![3, 2, 1]),
        ("--since 2999-01-01T00:00:00Z", vec![]),
        ("--until 1h", vec![]),
        ("--until 2999-01-01", vec![3, 2, 1]),
        ("--status 503", vec![2]),
        ("--status 502", vec![]),
        ("--state exhausted --status 503", vec![2]),
        ("--origin https://nobody.example", vec![]),
        ("--limit 2", vec![3, 2]),
        ("--app 6 --limit 1", vec![2]),
        ("--app 6 --state delivered --outcome acknowledged", vec![1]),
    ] {
        let mut words = vec!["list", "--json"];
        words.extend(arguments.split_whitespace());
        assert_eq!(ids(&place.ask(&words).json()), found, "{arguments}");
    }
    let text = place.ask(&["list", "--limit", "2"]).done();
    let next = text
        .rsplit_once("--after ")
        .expect("where to go on")
        .1
        .trim();
    let rest = place.ask(&["list", "--json", "--after", next]).json();
    assert_eq!(ids(&rest), [1]);
    let refund = place.ask(&["list", "--status", "503", "--json"]).json();
    assert_eq!(refund[0]["last_http_status"], 503);
    let address = refund[0]["last_remote_addr"].as_str().expect("an address");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let origin = refund[0]["origin"].as_str().expect("a text");
    assert_eq!(
        ids(&place.ask(&["list", "--json", "--origin", origin]).json()),
        [3, 2, 1]
    );
    assert_has(
        &text,
        &[
            "MR1",
            "exhausted",
            "http_status",
            "M2",
            "pending",
            "raise --limit",
        ],
    );
    assert!(!text.contains("delivered"), "{text}");
}

async fn stats_count(store: StoreKind) {
    let place = played(store).await;
    let numbers = place.ask(&["stats", "--json"]).json();
    let depth = &numbers["depth"];
    for (state, count) in [("pending", 1), ("delivered", 1), ("exhausted", 1)] {
        assert_eq!(depth[state], count, "{numbers}");
    }
    assert!(numbers["oldest_due"].is_string() || numbers["oldest_due"].is_number());
    let merchants = numbers["merchants"].as_array().expect("an array");
    let app = |id: &str| {
        let found = merchants.iter().find(|row| row["app_id"] == id);
        found.unwrap_or_else(|| panic!("no app {id}: {numbers}"))
    };
    assert_eq!(app("6")["delivered_24h"], 1);
    assert_eq!(app("6")["exhausted_24h"], 1);
    assert_eq!(app("6")["delivered_percent_24h"].as_f64(), Some(50.0));
    assert_eq!(app("8")["pending"], 1);

    let text = place.ask(&["stats"]).done();
    assert_has(&text, &["pending", "delivered", "exhausted", "50", "due:"]);
    let empty = Place::on(store).ask(&["stats"]).done();
    assert!(empty.contains("nothing is waiting"), "{empty}");
}

on_both!(
    show_finds_by_every_number_and_tells_what_to_tell,
    list_filters,
    stats_count,
);
