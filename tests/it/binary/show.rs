//! `show` for each outcome of the contract: what was sent, where it broke, what to tell whom.

use std::process::Command;

use serde_json::{Value, json};

use super::{Place, StoreKind, on_both, payment, refund};

/// The document's sample, signed with the key of app 6: its `sign` stands in the contract.
const SENT_TIMESTAMP: i64 = 1_663_738_614_280;

/// Outcome, phase, phases, HTTP status, detail; words of the course, and of what the merchant is told.
struct Case {
    outcome: &'static str,
    phase: Option<&'static str>,
    phases: Option<&'static str>,
    http_status: Option<u16>,
    detail: &'static str,
    course: &'static str,
    tells: &'static str,
}

const CASES: [Case; 12] = [
    Case {
        outcome: "acknowledged",
        phase: None,
        phases: Some(r#"{"dns":1,"connect":3,"tls":9,"head":200,"body":0}"#),
        http_status: Some(200),
        detail: "",
        course: "name 1 ms, connection 3 ms, TLS 9 ms, answer 200 ms, body 0 ms",
        tells: "answered HTTP 200 with transResult SUCCESS to the message with timestamp 1663738614280",
    },
    Case {
        outcome: "refused",
        phase: None,
        phases: Some(r#"{"head":20,"body":1}"#),
        http_status: Some(200),
        detail: "transResult is \"FAIL\"",
        course: "answer 20 ms, body 1 ms",
        tells: "your server answered without acknowledging it",
    },
    Case {
        outcome: "unreadable",
        phase: None,
        phases: Some(r#"{"head":20,"body":1}"#),
        http_status: Some(200),
        detail: "the body is empty",
        course: "answer 20 ms, body 1 ms",
        tells: "could not be read as one JSON object",
    },
    Case {
        outcome: "http_status",
        phase: None,
        phases: Some(r#"{"head":20,"body":1}"#),
        http_status: Some(503),
        detail: "HTTP status 503",
        course: "answer 20 ms, body 1 ms",
        tells: "your server answered with HTTP status 503",
    },
    Case {
        outcome: "timeout",
        phase: Some("head"),
        phases: Some(r#"{"dns":1,"connect":3}"#),
        http_status: None,
        detail: "no answer within 10s",
        course: "name 1 ms, connection 3 ms; broke off after 246 ms of waiting for the head of the answer",
        tells: "your server did not answer within 0.2 seconds",
    },
    Case {
        outcome: "dns",
        phase: Some("dns"),
        phases: None,
        http_status: None,
        detail: "no such name",
        course: "broke off after 250 ms of resolving the name",
        tells: "could not be resolved",
    },
    Case {
        outcome: "connect",
        phase: Some("connect"),
        phases: Some(r#"{"dns":50}"#),
        http_status: None,
        detail: "connection refused",
        course: "name 50 ms; broke off after 200 ms of connecting",
        tells: "we could not connect to your server",
    },
    Case {
        outcome: "tls",
        phase: Some("tls"),
        phases: Some(r#"{"connect":50}"#),
        http_status: None,
        detail: "invalid certificate: expired",
        course: "connection 50 ms; broke off after 200 ms of the TLS handshake",
        tells: "no secure connection to your server was possible",
    },
    Case {
        outcome: "protocol",
        phase: Some("body"),
        phases: Some(r#"{"head":100}"#),
        http_status: Some(200),
        detail: "connection reset",
        course: "answer 100 ms; broke off after 150 ms of reading the body of the answer",
        tells: "the connection to your server broke",
    },
    Case {
        outcome: "blocked",
        phase: None,
        phases: None,
        http_status: None,
        detail: "10.0.0.1 is a private address",
        course: "",
        tells: "the callBackUrl leads where we send no callbacks",
    },
    Case {
        outcome: "interrupted",
        phase: None,
        phases: None,
        http_status: None,
        detail: "the dispatcher stopped",
        course: "",
        tells: "it was interrupted on our side; you may have received it",
    },
    Case {
        outcome: "unsignable",
        phase: None,
        phases: None,
        http_status: None,
        detail: "no key for app 6",
        course: "",
        tells: "it could not be prepared on our side, and was not sent",
    },
];

impl Case {
    fn is_sent(&self) -> bool {
        !matches!(self.outcome, "blocked" | "interrupted" | "unsignable")
    }

    fn text(value: Option<&str>) -> String {
        value.map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'"))
    }

    /// Its attempt, of callback `id`.
    fn insert(&self, id: usize, sign: &str, digest: &str) -> String {
        let Self {
            outcome, detail, ..
        } = self;
        let (phase, phases) = (Self::text(self.phase), Self::text(self.phases));
        let status = self
            .http_status
            .map_or("NULL".to_owned(), |status| status.to_string());
        let sent = match self.is_sent() {
            true => format!("{SENT_TIMESTAMP}, '{sign}', 'of-6', '{digest}'"),
            false => "NULL, NULL, NULL, NULL".to_owned(),
        };
        format!(
            "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
               http_status, detail, phase, phases, sent_timestamp, sign, key_id, body_sha256)
             VALUES ({id}, 1, {SENT_TIMESTAMP}, 250, '{outcome}', 1, {status}, '{detail}', {phase}, {phases}, {sent});"
        )
    }
}

/// By a program that is not ours.
fn sha256(place: &Place, text: &str) -> String {
    place.write("body", text);
    let output = Command::new("sha256sum").arg(place.path("body")).output();
    let printed = String::from_utf8(output.expect("sha256sum is there").stdout);
    let printed = printed.expect("hex");
    printed.split(' ').next().expect("a digest").to_owned()
}

fn each_outcome_is_told_to_the_operator_and_to_the_merchant(store: StoreKind) {
    let place = Place::on(store);
    for number in 0..CASES.len() {
        place.enqueue(&[payment("https://merchant.example/cb", number)]);
    }
    let attempts: String = (1..)
        .zip(&CASES)
        .map(|(id, case)| case.insert(id, "a-sign", "a-digest"))
        .collect();
    place.rows(&attempts);
    place.rows(
        "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1 WHERE id = 1",
    );
    for (number, case) in CASES.iter().enumerate() {
        let order = format!("M{number}");
        let story = place.ask(&["show", &order, "--json"]).json()[0].clone();
        let outcome = case.outcome;
        let attempt = &story["attempts"][0];
        assert_eq!(attempt["outcome"], outcome);
        assert_eq!(attempt["course"], case.course, "{outcome}");
        assert_eq!(
            attempt["sent"].is_object(),
            case.is_sent(),
            "{outcome}: {attempt}"
        );
        let tells = story["tell_merchant"].as_str().expect("a text");
        assert!(tells.contains(case.tells), "{outcome}: {tells}");
        let shown = place.ask(&["show", &order]).done();
        assert!(
            shown.contains(case.course) && shown.contains(case.tells),
            "{shown}"
        );
        let next = match outcome {
            "acknowledged" => "nothing: it was acknowledged",
            _ => "the next attempt is due on ",
        };
        assert!(shown.contains(next), "{outcome}: {shown}");
    }
}

/// The contract's two vectors: body, canonical form and sign are made again from row and log.
fn what_was_sent_is_made_again_and_proven_by_its_digest(store: StoreKind) {
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
    let table = [
        (
            "202209210000006951",
            2,
            r#"{"appId":"6","payMethod":1,"refundOrderAmt":"123.00","currency":"LAK","newpayOrderNo":"202209210000006950","newpayRefundOrderNo":"202209210000006951","orderNo":"202209067002502223","refundOrderNo":"202209067002502232","tranStatus":1,"transInfo":"Transaction Success","timestamp":"1663738614280","sign":"3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU="}"#,
            "appId=6&currency=LAK&newpayOrderNo=202209210000006950&newpayRefundOrderNo=202209210000006951&orderNo=202209067002502223&payMethod=1&refundOrderAmt=123.00&refundOrderNo=202209067002502232&timestamp=1663738614280&tranStatus=1&transInfo=Transaction Success",
        ),
        (
            "1",
            1,
            r#"{"appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK","newpayOrderNo":"202209210000006950","orderNo":"202209067002502223","subject":"1","transStatus":0,"transInfo":"Transaction Success","settlementStatus":1,"timestamp":"1663738614280","extra":"","sign":"ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0="}"#,
            "appId=6&currency=LAK&extra=&newpayOrderNo=202209210000006950&orderAmt=123.00&orderNo=202209067002502223&payMethod=1&settlementStatus=1&subject=1&timestamp=1663738614280&transInfo=Transaction Success&transStatus=0",
        ),
    ];
    for (order, id, body, canonical_form) in table {
        let sign = &body[body.len() - 46..body.len() - 2];
        place.rows(&CASES[0].insert(id, sign, &sha256(&place, body)));
        let story = place.ask(&["show", order, "--json"]).json()[0].clone();
        let sent = &story["attempts"][0]["sent"];
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
    each_outcome_is_told_to_the_operator_and_to_the_merchant,
    what_was_sent_is_made_again_and_proven_by_its_digest,
);
