//! `show` for each outcome of the contract: what was sent, where it broke, what to tell whom.

use std::process::Command;

use serde_json::{Value, json};

use super::{Place, StoreKind, assert_has, on_both, payment, refund};
use crate::support::table::rows;
use crate::support::vectors::{BODIES, CANONICAL_FORMS, SIGNS};

/// The document's sample, signed with the key of app 6: its `sign` stands in the contract.
const SENT_TIMESTAMP: i64 = 1_663_738_614_280;

/// Outcome; phase, phases and HTTP status as SQL; detail; words of the course, and of what the merchant
/// is told.
const CASES: &str = r#"
    acknowledged | NULL | '{"dns":1,"connect":3,"tls":9,"head":200,"body":0}' | 200 |  | name 1 ms, connection 3 ms, TLS 9 ms, answer 200 ms, body 0 ms | answered HTTP 200 with transResult SUCCESS to the message with timestamp 1663738614280
    refused | NULL | '{"head":20,"body":1}' | 200 | transResult is "FAIL" | answer 20 ms, body 1 ms | your server answered without acknowledging it
    unreadable | NULL | '{"head":20,"body":1}' | 200 | the body is empty | answer 20 ms, body 1 ms | could not be read as one JSON object
    http_status | NULL | '{"head":20,"body":1}' | 503 | HTTP status 503 | answer 20 ms, body 1 ms | your server answered with HTTP status 503
    timeout | 'head' | '{"dns":1,"connect":3}' | NULL | no answer within 10s | name 1 ms, connection 3 ms; broke off after 246 ms of waiting for the head of the answer | your server did not answer within 0.2 seconds
    dns | 'dns' | NULL | NULL | no such name | broke off after 250 ms of resolving the name | could not be resolved
    connect | 'connect' | '{"dns":50}' | NULL | connection refused | name 50 ms; broke off after 200 ms of connecting | we could not connect to your server
    tls | 'tls' | '{"connect":50}' | NULL | invalid certificate: expired | connection 50 ms; broke off after 200 ms of the TLS handshake | no secure connection to your server was possible
    protocol | 'body' | '{"head":100}' | 200 | connection reset | answer 100 ms; broke off after 150 ms of reading the body of the answer | the connection to your server broke
    blocked | NULL | NULL | NULL | 10.0.0.1 is a private address |  | the callBackUrl leads where we send no callbacks
    interrupted | NULL | NULL | NULL | the dispatcher stopped |  | it was interrupted on our side; you may have received it
    unsignable | NULL | NULL | NULL | no key for app 6 |  | it could not be prepared on our side, and was not sent
"#;

fn is_sent(outcome: &str) -> bool {
    !matches!(outcome, "blocked" | "interrupted" | "unsignable")
}

/// The attempt of callback `id` that such a row describes.
fn insert(id: usize, case: [&str; 7], sign: &str, digest: &str) -> String {
    let [outcome, phase, phases, status, detail, ..] = case;
    let sent = match is_sent(outcome) {
        true => format!("{SENT_TIMESTAMP}, '{sign}', 'of-6', '{digest}'"),
        false => "NULL, NULL, NULL, NULL".to_owned(),
    };
    format!(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
           http_status, detail, phase, phases, sent_timestamp, sign, key_id, body_sha256)
         VALUES ({id}, 1, {SENT_TIMESTAMP}, 250, '{outcome}', 1, {status}, '{detail}', {phase}, {phases}, {sent});"
    )
}

/// By a program that is not ours.
fn sha256(place: &Place, text: &str) -> String {
    place.write("body", text);
    let output = Command::new("sha256sum").arg(place.path("body")).output();
    let printed = String::from_utf8(output.expect("sha256sum is there").stdout);
    let printed = printed.expect("hex");
    printed.split(' ').next().expect("a digest").to_owned()
}

fn each_outcome_is_explained_to_operator_and_merchant(store: StoreKind) {
    let place = Place::on(store);
    let cases = rows(CASES);
    for (number, case) in cases.iter().enumerate() {
        place.enqueue(&[payment("https://merchant.example/cb", number)]);
        place.rows(&insert(number + 1, *case, "a-sign", "a-digest"));
    }
    place.rows(
        "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1 WHERE id = 1",
    );
    for (number, [outcome, _, _, _, _, course, tells]) in cases.into_iter().enumerate() {
        let order = format!("M{number}");
        let callback = place.ask(&["show", &order, "--json"]).json()[0].clone();
        let attempt = &callback["attempts"][0];
        assert_eq!(attempt["outcome"], outcome);
        assert_eq!(attempt["course"], course, "{outcome}");
        assert_eq!(attempt["sent"].is_object(), is_sent(outcome), "{attempt}");
        let tell_merchant = callback["tell_merchant"].as_str().expect("a text");
        assert_has(tell_merchant, &[tells]);
        let shown = place.ask(&["show", &order]).done();
        let next = match outcome {
            "acknowledged" => "nothing: it was acknowledged",
            _ => "an attempt has been due since ",
        };
        assert_has(&shown, &[course, tells, next]);
    }
}

/// The contract's two vectors: body, canonical form and sign are made again from row and log.
fn a_sent_body_is_made_again_and_proven_by_its_digest(store: StoreKind) {
    let place = Place::on(store);
    let sample = |mut callback: Value, subject: bool| {
        for (member, value) in [
            ("newpayOrderNo", "202209210000006950"),
            ("orderNo", "202209067002502223"),
        ] {
            callback[member] = json!(value);
        }
        if !subject {
            callback["newpayRefundOrderNo"] = json!("202209210000006951");
            callback["refundOrderNo"] = json!("202209067002502232");
        }
        callback
    };
    let url = "https://merchant.example/cb";
    place.enqueue(&[sample(payment(url, 1), true), sample(refund(url, 1), false)]);
    for (order, id) in [("202209210000006951", 2), ("1", 1)] {
        let (body, canonical_form) = (BODIES[id - 1], CANONICAL_FORMS[id - 1]);
        place.rows(&insert(
            id,
            rows(CASES)[0],
            SIGNS[id - 1],
            &sha256(&place, body),
        ));
        let callback = place.ask(&["show", order, "--json"]).json()[0].clone();
        let sent = &callback["attempts"][0]["sent"];
        assert_eq!(sent["body"], body);
        assert_eq!(sent["canonical_form"], canonical_form);
        assert_eq!(sent["key_id"], "of-6");
        assert_eq!(sent["is_proven"], true);
        // The body is one that `verify` accepts.
        let said = place.feed(&["verify"], body).done();
        assert!(
            said.contains(canonical_form) && said.contains("holds"),
            "{said}"
        );
    }
    place.rows(match store {
        StoreKind::Sqlite => "DROP TRIGGER callback_queue_is_immutable",
        StoreKind::Postgres => "DROP TRIGGER callback_queue_is_immutable ON callback_queue",
    });
    place.rows("UPDATE callback_queue SET amount = '1.00' WHERE id = 1");
    let shown = place.ask(&["show", "1"]).done();
    assert!(
        shown.contains("this is not the message of the attempt"),
        "{shown}"
    );
}

/// Four timeouts are one row, unless each is asked for; hidden characters are escaped everywhere.
fn attempts_that_ended_alike_share_a_row(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment("https://merchant.example/cb", 1)]);
    let attempts: String = (1..=5)
        .map(|seq| {
            let (outcome, detail) = match seq {
                5 => ("refused", "a\u{202e}b\u{9b}"),
                _ => ("connect", "connection refused"),
            };
            let at = SENT_TIMESTAMP + 300_000 * seq;
            format!(
                "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail)
                 VALUES (1, {seq}, {at}, 7, '{outcome}', 1, '{detail}');"
            )
        })
        .collect();
    place.rows(&attempts);
    let shown = place.ask(&["show", "1"]).done();
    let rows = |shown: &str| shown.matches("connection refused").count();
    assert_eq!(rows(&shown), 1, "{shown}");
    for part in [
        " 1-4 ",
        "2022-09-21T05:41:54.280Z to ",
        "--full describes all 5",
        "attempt 5\n",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(!shown.contains("attempt 4\n"), "{shown}");
    assert!(shown.contains("a<U+202E>b<U+009B>"), "{shown}");
    let full = place.ask(&["show", "1", "--full"]).done();
    assert_eq!(rows(&full), 4, "{full}");
    assert!(
        (1..=5).all(|seq| full.contains(&format!("attempt {seq}\n"))),
        "{full}"
    );
    let json = place.ask(&["show", "1", "--json"]).done();
    assert!(json.contains("a\\u202eb\\u009b"), "{json}");
    assert!(
        !json.contains('\u{202e}') && !json.contains('\u{9b}'),
        "{json}"
    );
}

on_both!(
    plain:
    attempts_that_ended_alike_share_a_row,
    each_outcome_is_explained_to_operator_and_merchant,
    a_sent_body_is_made_again_and_proven_by_its_digest,
);
