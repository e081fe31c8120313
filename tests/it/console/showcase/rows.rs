//! The rows of the showcase.

use std::time::Duration;

use callback_dispatcher::domain::{
    self, Currency, Kind, Message, PayMethod, Payment, Refund, Settlement, Timestamp,
    TransactionResult,
};
use sha2::{Digest as _, Sha256};

use super::{HOSTILE, MINUTE};

/// How an attempt ends.
#[derive(Clone, Copy)]
struct End {
    outcome: &'static str,
    status: Option<u16>,
    detail: &'static str,
    answer: &'static str,
    phase: Option<&'static str>,
    /// JSON.
    phases: &'static str,
}

/// A merchant of the showcase: app, URL, and how its attempts fail, if they do.
struct Merchant {
    app: &'static str,
    url: &'static str,
    fails: Option<End>,
}

const ACKNOWLEDGED: End = End {
    outcome: "acknowledged",
    status: Some(200),
    detail: "",
    answer: "{\"transResult\":\"SUCCESS\"}",
    phase: None,
    phases: r#"{"dns":2,"connect":21,"tls":44,"head":50,"body":1}"#,
};

const MERCHANTS: [Merchant; 5] = [
    Merchant {
        app: "6",
        url: "https://shop.vientiane.example/newpay/callback",
        fails: None,
    },
    Merchant {
        app: "11",
        url: "https://pay.luangprabang.example/notify",
        fails: Some(End {
            outcome: "http_status",
            status: Some(503),
            detail: "HTTP 503 Service Unavailable",
            answer: "<html><head><title>503</title></head><body>Maintenance until 03:00. \
                     Please come back later.</body></html>",
            ..ACKNOWLEDGED
        }),
    },
    Merchant {
        app: "23",
        url: "https://api.pakse.example:8443/cb?source=newpay",
        fails: Some(End {
            outcome: "timeout",
            status: None,
            detail: "no answer within 10 s",
            answer: "",
            phase: Some("head"),
            phases: r#"{"dns":3,"connect":25,"tls":51}"#,
        }),
    },
    Merchant {
        app: "42",
        url: "https://tickets.savannakhet.example/hooks/payment",
        fails: Some(End {
            outcome: "refused",
            detail: "transResult is \"FAIL\", not \"SUCCESS\"",
            answer: "{\"transResult\":\"FAIL\",\"message\":\"order unknown\"}",
            ..ACKNOWLEDGED
        }),
    },
    Merchant {
        app: "77",
        url: "https://old.thakhek.example/callback.php",
        fails: Some(End {
            outcome: "tls",
            status: None,
            detail: "the certificate has expired",
            answer: "",
            phase: Some("tls"),
            phases: r#"{"dns":2,"connect":19}"#,
        }),
    },
];

/// Callbacks in every state, with their attempts: in parts that fit into a command line.
pub(super) fn sql(now: Timestamp) -> Vec<String> {
    let part = |rounds: std::ops::Range<u64>| {
        let rows = rounds.flat_map(|round| {
            let queued = now.before(MINUTE * u32::try_from(7 * round + 3).expect("small"));
            let merchants = MERCHANTS.iter().zip(5 * round + 1..);
            merchants.map(move |(merchant, id)| callback(id, merchant, round, queued))
        });
        format!("BEGIN;\n{}COMMIT;", rows.collect::<String>())
    };
    let last = hostile(121, now) + &commands(now);
    vec![
        part(0..8),
        part(8..16),
        part(16..24),
        format!("BEGIN;\n{last}COMMIT;"),
    ]
}

/// What operators have done in the last hour.
fn commands(now: Timestamp) -> String {
    let asked = |minutes| now.before(MINUTE * minutes).as_millis();
    let (first, second, third) = (asked(47), asked(12), asked(3));
    format!(
        "INSERT INTO operator_command (action, callback_id, actor, reason, created_at) VALUES \
           ('resend', 2, 'support', 'their maintenance is over', {first}); \
         INSERT INTO operator_command (action, app_id, state, actor, reason, rate, created_at) VALUES \
           ('resend', '42', 'exhausted', 'day shift (console)', 'they have imported the missing orders', 20, {second}); \
         INSERT INTO operator_command (action, origin, actor, reason, created_at) VALUES \
           ('pause', 'https://api.pakse.example:8443', 'night shift (console)', 'they have asked us to, ticket 4711', {third}); \
         INSERT INTO paused (scope, name, command_id, since) VALUES \
           ('origin', 'https://api.pakse.example:8443', 3, {third}); \
         UPDATE operator_command SET status = 'done', selected = 1, done = 1, answer = '1 callback has a new round.', \
           started_at = created_at + 4, finished_at = created_at + 11 WHERE id = 1; \
         UPDATE operator_command SET status = 'done', selected = 18, done = 16, skipped = 2, \
           skipped_why = '{{\"acknowledged\":2}}', answer = '16 callbacks have a new round; 2 stay as they are.', \
           started_at = created_at + 4, finished_at = created_at + 913 WHERE id = 2; \
         UPDATE operator_command SET status = 'done', selected = 1, done = 1, answer = 'The origin is paused.', \
           started_at = created_at + 3, finished_at = created_at + 5 WHERE id = 3;\n"
    )
}

/// What a callback of the showcase says.
struct Said<'a> {
    id: u64,
    kind: Kind,
    app: &'a str,
    text: &'a str,
}

impl Said<'_> {
    fn order(&self) -> String {
        format!("S-{:06}", self.id)
    }

    fn newpay_order(&self) -> String {
        format!("2026112{:09}", self.id)
    }

    fn refund(&self) -> String {
        format!("R-{:06}", self.id)
    }

    fn amount(&self) -> String {
        format!("{}.00", 1_000 + self.id * 7_919 % 480_000)
    }

    fn subject(&self) -> &str {
        match self.kind {
            Kind::Payment => self.text,
            Kind::Refund => "",
        }
    }

    fn message(&self) -> Message {
        let amount = self.amount().parse().expect("an amount");
        match self.kind {
            Kind::Payment => Message::Payment(Payment {
                app_id: self.app.to_owned(),
                pay_method: PayMethod::NewPay,
                amount,
                currency: Currency::Lak,
                newpay_order_no: self.newpay_order(),
                order_no: self.order(),
                subject: self.subject().to_owned(),
                extra: String::new(),
                result: TransactionResult::Success,
                trans_info: self.text.to_owned(),
                settlement: Settlement::NotSettled,
            }),
            Kind::Refund => Message::Refund(Refund {
                app_id: self.app.to_owned(),
                pay_method: PayMethod::NewPay,
                amount,
                currency: Currency::Lak,
                newpay_order_no: self.newpay_order(),
                newpay_refund_order_no: self.newpay_order(),
                order_no: self.order(),
                refund_order_no: self.refund(),
                result: TransactionResult::Success,
                trans_info: self.text.to_owned(),
            }),
        }
    }

    /// Its row; `more` are the dispatcher's columns.
    fn insert(&self, url: &str, queued: Timestamp, more: &str) -> String {
        let (refund_columns, refund_values) = match self.kind {
            Kind::Refund => (
                "newpay_refund_order_no, refund_order_no",
                format!(
                    "{}, {}",
                    quoted(&self.newpay_order()),
                    quoted(&self.refund())
                ),
            ),
            Kind::Payment => ("settlement_status", "1".to_owned()),
        };
        format!(
            "INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, currency, \
               newpay_order_no, order_no, subject, result, trans_info, created_at, state, attempts, \
               next_attempt_at, finished_at, last_outcome, attempt_seq, {refund_columns}) \
             VALUES ({}, '{}', {}, {}, 1, '{}', 'LAK', {}, {}, {}, 'success', {}, {}, {more}, \
               {refund_values});\n",
            self.id,
            self.kind,
            quoted(url),
            quoted(self.app),
            self.amount(),
            quoted(&self.newpay_order()),
            quoted(&self.order()),
            quoted(self.subject()),
            quoted(self.text),
            queued.as_millis(),
        )
    }

    /// An attempt of it that began `at` and took so many milliseconds.
    fn attempt(&self, seq: u64, at: Timestamp, took: u64, end: &End) -> String {
        let sign = "ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0=";
        let timestamp = at.to_wire();
        let message = self.message();
        let body = domain::body(&message.members(&timestamp), sign);
        let digest = hex::encode(Sha256::digest(&body));
        format!(
            "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, \
               http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, \
               body_sha256, phase, phases) \
             VALUES ({}, {seq}, {timestamp}, {took}, '{}', 1, {}, {}, {}, '203.0.113.{}:443', \
               {timestamp}, '{sign}', '2026-11', '{digest}', {}, {});\n",
            self.id,
            end.outcome,
            end.status
                .map_or("NULL".to_owned(), |status| status.to_string()),
            quoted(end.detail),
            quoted(end.answer),
            self.id % 250 + 1,
            end.phase.map_or("NULL".to_owned(), quoted),
            quoted(end.phases),
        )
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn callback(id: u64, merchant: &Merchant, round: u64, queued: Timestamp) -> String {
    let said = Said {
        id,
        kind: if round % 5 == 4 {
            Kind::Refund
        } else {
            Kind::Payment
        },
        app: merchant.app,
        text: "Transaction Success",
    };
    let Some(failure) = merchant.fails.filter(|_| round % 4 != 3) else {
        let finished = queued.as_millis() + 138;
        let more = format!("'delivered', 1, NULL, {finished}, 'acknowledged', 1");
        let start = queued.after(Duration::from_millis(20));
        return said.insert(merchant.url, queued, &more)
            + &said.attempt(1, start, 118, &ACKNOWLEDGED);
    };
    // Four attempts five minutes apart; those that began lately have some left.
    let attempts = (round * 7 / 5 + 1).min(4);
    let start = |seq: u64| queued.after(MINUTE * 5 * u32::try_from(seq - 1).expect("small"));
    let outcome = failure.outcome;
    let more = if attempts == 4 {
        let finished = start(4).as_millis() + 900;
        format!("'exhausted', 4, NULL, {finished}, '{outcome}', 4")
    } else {
        let due = start(attempts + 1).as_millis();
        format!("'pending', {attempts}, {due}, NULL, '{outcome}', {attempts}")
    };
    let mut sql = said.insert(merchant.url, queued, &more);
    for seq in 1..=attempts {
        let took = if outcome == "timeout" {
            10_000
        } else {
            118 + id % 200
        };
        sql.push_str(&said.attempt(seq, start(seq), took, &failure));
    }
    sql
}

/// A callback in which everything that others write is hostile.
fn hostile(id: u64, now: Timestamp) -> String {
    let said = Said {
        id,
        kind: Kind::Payment,
        app: "<script>7</script>",
        text: HOSTILE,
    };
    let queued = now.before(MINUTE);
    let more = format!(
        "'pending', 1, {}, NULL, 'unreadable', 1",
        now.as_millis() + 240_000
    );
    let end = End {
        outcome: "unreadable",
        detail: HOSTILE,
        answer: HOSTILE,
        ..ACKNOWLEDGED
    };
    let url = "https://hostile.example/?q=<script>document.title=1</script>";
    said.insert(url, queued, &more) + &said.attempt(1, queued, 33, &end)
}
