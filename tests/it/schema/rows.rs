//! Good rows, what they are filled up with, and one callback for each result.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{CLIENTS, Client, DATABASES, Queue, Row, plain};

#[test]
fn a_gateway_writes_only_what_it_knows() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let before = SystemClock.now().as_millis();
        for answer in queue.ask(client, &[Row::payment().insert(), Row::refund().insert()]) {
            answer.unwrap_or_else(|error| panic!("{client:?}: {error}"));
        }
        let after = SystemClock.now().as_millis();

        let filled = "SELECT subject, extra, trans_info, state, attempts, leased_until, \
                      last_outcome, finished_at FROM callback_queue";
        let defaults = vec![
            json!(""),
            json!(""),
            json!(""),
            json!("pending"),
            json!(0),
            Value::Null,
            Value::Null,
            Value::Null,
        ];
        assert_eq!(
            queue.rows(filled),
            [defaults.clone(), defaults],
            "{client:?}"
        );

        let times = "SELECT created_at, next_attempt_at FROM callback_queue";
        for time in queue.rows(times).into_iter().flatten() {
            let time = time.as_i64().expect("an integer");
            assert!((before..=after).contains(&time), "{before} {time} {after}");
        }
    }
}

#[test]
fn what_was_written_is_read_back_unchanged() {
    let text = "ສະບາຍດີ \"quoted\" 'single' & = %20 \u{1f600}\r\n\t\\ <b>";
    let row = Row::payment()
        .with("amount", json!("000123.50"))
        .with("subject", json!(text))
        .with("extra", json!(text))
        .with("trans_info", json!(text));
    for client in CLIENTS {
        let queue = Queue::of(client);
        let answers = queue.ask(client, &[row.insert()]);
        assert!(answers[0].is_ok(), "{client:?}: {answers:?}");
        let read = queue.rows("SELECT amount, subject, extra, trans_info FROM callback_queue");
        let expected = vec![json!("000123.50"), json!(text), json!(text), json!(text)];
        assert_eq!(read, [expected], "{client:?}");
    }
}

#[test]
fn everything_that_the_rules_allow_gets_in() {
    let payment = Row::payment();
    let long = format!("https://merchant.example/{}", "a".repeat(2048 - 25));
    let mut rows = vec![
        Row::refund(),
        payment.clone().with("callback_url", json!(long)),
    ];
    for url in [
        "http://merchant.example",
        "HTTPS://Merchant.EXAMPLE/",
        "https://m:8443/a?b=c#d",
        "https://[::1]:8080/",
        "http://127.0.0.1/",
        "https://ຮ້ານ.example/",
        "http://a",
    ] {
        rows.push(payment.clone().with("callback_url", json!(url)));
    }
    for amount in [
        "0",
        "7",
        "123.00",
        "123.5",
        "000.10",
        "99999999999999999999999.99",
    ] {
        rows.push(payment.clone().with("amount", json!(amount)));
    }
    rows.push(payment.clone().with("pay_method", json!(4)));
    rows.push(payment.clone().with("currency", json!("USD")));
    rows.push(payment.clone().with("result", json!("failure")));
    rows.push(payment.clone().with("settlement_status", json!(2)));
    rows.push(Row::refund().with("result", json!("failure")));
    rows.push(
        Row::refund()
            .with("subject", json!(""))
            .with("extra", json!("")),
    );
    rows.push(payment.with("created_at", json!(1_663_738_614_280_i64)));
    for client in CLIENTS {
        let queue = Queue::of(client);
        let numbered = rows.iter().enumerate().map(|(number, row)| {
            let mut row = row
                .clone()
                .with("newpay_order_no", json!(format!("P{number}")));
            if row.0.iter().any(|(column, _)| *column == "refund_order_no") {
                row = row.with("newpay_refund_order_no", json!(format!("R{number}")));
            }
            row
        });
        let numbered: Vec<_> = numbered.collect();
        let statements: Vec<_> = numbered.iter().map(Row::insert).collect();
        for (row, answer) in numbered.iter().zip(queue.ask(client, &statements)) {
            assert!(answer.is_ok(), "{client:?}: {answer:?} {row:?}");
        }
    }
}

#[test]
fn each_result_is_queued_once() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let again = Row::payment().with("order_no", json!("another"));
        let refund_again = Row::refund().with("newpay_order_no", json!("another"));
        let second_refund = Row::refund().with("newpay_refund_order_no", json!("another"));
        let answers = queue.ask(
            client,
            &[
                Row::payment().insert(),
                // A refund names its payment's order too; and there may be several.
                Row::refund().insert(),
                second_refund.insert(),
                again.insert(),
                refund_again.insert(),
            ],
        );
        assert!(
            answers[..3].iter().all(Result::is_ok),
            "{client:?}: {answers:?}"
        );
        let rules = match client {
            Client::Shell | Client::Python => [
                "UNIQUE constraint failed: index 'callback_one_per_payment'",
                "UNIQUE constraint failed: callback_queue.newpay_refund_order_no",
            ],
            Client::Psql => [
                "violates unique constraint \"callback_one_per_payment\"",
                "violates unique constraint \"callback_one_per_refund\"",
            ],
        };
        for (answer, rule) in answers[3..].iter().zip(rules) {
            let error = answer.as_ref().expect_err("queued twice");
            assert!(error.contains(rule), "{client:?}: {error}");
        }
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 3);
    }
}

#[test]
fn a_producer_may_say_on_conflict_do_nothing() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        for row in [Row::payment(), Row::refund()] {
            let (insert, values) = row.insert();
            let idempotent = (format!("{insert} ON CONFLICT DO NOTHING"), values);
            let answers = queue.ask(client, &[idempotent.clone(), idempotent]);
            assert!(answers.iter().all(Result::is_ok), "{client:?}: {answers:?}");
        }
        assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 2);
    }
}

#[test]
fn ids_rise_and_are_never_used_again() {
    let finish = plain(
        "UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL, finished_at = 1",
    );
    for client in DATABASES {
        let queue = Queue::of(client);
        let answers = queue.ask(
            client,
            &[
                Row::payment().insert(),
                finish.clone(),
                plain("DELETE FROM callback_queue"),
                Row::payment().insert(),
            ],
        );
        assert!(answers.iter().all(Result::is_ok), "{client:?}: {answers:?}");
        assert_eq!(queue.value("SELECT id FROM callback_queue"), 2);
    }
}
