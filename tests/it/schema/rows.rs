//! Good rows, what they are filled up with, and one callback for each result.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{CLIENTS, Client, DATABASES, Queue, Row, plain};

#[test]
fn a_gateway_writes_only_what_it_knows() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let before = SystemClock.now().as_millis();
        queue.takes(client, &[Row::payment().insert(), Row::refund().insert()]);
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
fn rows_are_read_back_as_written() {
    let text = "ສະບາຍດີ \"quoted\" 'single' & = %20 \u{1f600}\r\n\t\\ <b>";
    let row = Row::payment()
        .with("amount", json!("000123.50"))
        .with("subject", json!(text))
        .with("extra", json!(text))
        .with("trans_info", json!(text));
    for client in CLIENTS {
        let queue = Queue::of(client);
        queue.takes(client, &[row.insert()]);
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
    let urls = "http://merchant.example HTTPS://Merchant.EXAMPLE/ https://m:8443/a?b=c#d
        https://[::1]:8080/ http://127.0.0.1/ https://ຮ້ານ.example/ http://a";
    for url in urls.split_whitespace() {
        rows.push(payment.clone().with("callback_url", json!(url)));
    }
    for amount in "0 7 123.00 123.5 000.10 99999999999999999999999.99".split(' ') {
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
        let statements: Vec<_> = numbered.map(|row| row.insert()).collect();
        queue.takes(client, &statements);
    }
}

#[test]
fn each_result_is_queued_once() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let again = Row::payment().with("order_no", json!("another"));
        let refund_again = Row::refund().with("newpay_order_no", json!("another"));
        let second_refund = Row::refund().with("newpay_refund_order_no", json!("another"));
        // A refund names its payment's order too; and there may be several.
        let taken = [Row::payment(), Row::refund(), second_refund];
        queue.takes(client, &taken.map(|row| row.insert()));
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
        let refused = [again.insert(), refund_again.insert()];
        let table: Vec<_> = refused.into_iter().zip(rules).collect();
        queue.refuses(client, &table);
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
            queue.takes(client, &[idempotent.clone(), idempotent]);
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
        let delete = plain("DELETE FROM callback_queue");
        let payment = Row::payment().insert();
        queue.takes(client, &[payment.clone(), finish.clone(), delete, payment]);
        assert_eq!(queue.value("SELECT id FROM callback_queue"), 2);
    }
}
