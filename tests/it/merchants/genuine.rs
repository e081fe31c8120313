//! What must be taken, and recorded once.

use std::time::Duration;

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::domain::{Message, NewCallback, Outcome, TransactionResult};
use callback_dispatcher::service;
use callback_dispatcher::store::ShownState;
use futures_util::future::join_all;

use super::message::{SECRET, VECTORS, genuine, hmac_key, now, payment, refund, signed_at};
use super::receiver::{Language, Shop};
use crate::live::Daemon;
use crate::support::place::Place;

/// Results of both kinds and both ways, from the queue to the receiver's record; and a probe.
pub(super) async fn the_daemon_delivers(language: &'static Language) {
    let shop = Shop::new(language);
    let receiver = shop.open();
    let (place, url) = (Place::new(), receiver.url(0));
    let daemon = Daemon::start(&place, &[]).await;
    let mut refused = payment("N2");
    refused.result = TransactionResult::Failure;
    let mut failed = refund("N3");
    failed.result = TransactionResult::Failure;
    let messages = [
        Message::Payment(payment("N1")),
        Message::Payment(refused),
        Message::Refund(refund("N1")),
        Message::Refund(failed),
    ];
    let callbacks = messages.map(|message| NewCallback {
        callback_url: url.clone(),
        message,
    });
    daemon.enqueue(callbacks.to_vec()).await;
    // A refund is found by its own number, its payment by the number of the shop's order.
    for order in ["N2", "N1-R", "N3-R"] {
        daemon.until_state(order, ShownState::Delivered).await;
        assert_eq!(daemon.attempts(order).await.len(), 1, "{order}");
    }
    daemon.until_count(ShownState::Delivered, 4).await;
    daemon.stop().await;

    let configuration = place.configuration(&[]);
    let probed = service::probe(&configuration, "6", &url, SystemClock.now()).await;
    let diagnosis = probed.expect("it was sent");
    assert!(diagnosis.acknowledged, "{diagnosis:?}");
    receiver.kill();
    assert_eq!(
        shop.recorded(),
        [
            "payment N1 success 123.00 LAK".to_owned(),
            "payment N2 failure 123.00 LAK".to_owned(),
            format!("payment {} failure 0.00 LAK", diagnosis.probed.order_no),
            "refund N1-R success 23.00 USD".to_owned(),
            "refund N3-R failure 23.00 USD".to_owned(),
        ]
    );
}

/// Texts that JSON, URLs, shells or number parsers could harm, and the contract's own vectors.
pub(super) async fn every_text_and_the_contracts_vectors_hold(language: &'static Language) {
    let shop = Shop::of_any_age(language);
    let receiver = shop.open();
    let texts = [
        "ເສື້ອ 😀",
        "a=b & c%20+ d",
        "uid=7&orderNo=A1",
        r#"\u0041 "quoted" \ / </p>"#,
        " space around ",
        "tab\tline\r\nnull\u{0}end\u{7f}\u{2028}",
        "1.0",
        "007",
        "1e3",
        "null",
        // Decomposed; whoever composes it breaks the sign.
        "e\u{301}",
    ];
    for (n, text) in texts.into_iter().enumerate() {
        let mut message = payment(&format!("T{n}"));
        message.subject = text.to_owned();
        message.extra = text.to_owned();
        message.amount = "000.10".parse().expect("an amount");
        let body = genuine(&Message::Payment(message));
        let taken = receiver.take(&body).await;
        assert_eq!(taken, Outcome::Acknowledged, "{text:?}");
    }
    for vector in VECTORS {
        let taken = receiver.take(vector.as_bytes()).await;
        assert_eq!(taken, Outcome::Acknowledged, "{vector}");
    }
    // The same members in another order, spread over lines, with a letter escaped.
    let spread = r#"
        { "sign": "3lf\/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU=", "timestamp": "1663738614280",
          "tr\u0061nStatus" : 1, "transInfo": "Transaction Success",
          "refundOrderNo": "202209067002502232", "orderNo": "202209067002502223",
          "newpayRefundOrderNo": "202209210000006951", "newpayOrderNo": "202209210000006950",
          "currency": "LAK", "refundOrderAmt": "123.00", "payMethod": 1, "appId": "6" }
    "#;
    assert_eq!(
        receiver.take(spread.as_bytes()).await,
        Outcome::Acknowledged
    );
    receiver.kill();
    let recorded = shop.recorded();
    assert_eq!(recorded.len(), texts.len() + VECTORS.len(), "{recorded:?}");
}

/// One after the other, and at once, over as many processes as share the results.
pub(super) async fn duplicates_are_recorded_once(language: &'static Language) {
    let shop = Shop::new(language);
    let receiver = shop.open();
    // A retry comes with a timestamp of its own.
    let attempt = |order: &str, n: u64| {
        let moment = now().before(Duration::from_millis(n));
        let message = Message::Payment(payment(order));
        signed_at(moment, &hmac_key(SECRET), &message)
    };
    for n in 0..3 {
        let taken = receiver.take(&attempt("N1", n)).await;
        assert_eq!(taken, Outcome::Acknowledged, "attempt {n}");
    }
    // Again and again, as what a lock is for shows in some of the races only.
    for order in (0..RACES).map(race) {
        let at_once = (0..12).map(|n| {
            let body = attempt(&order, n);
            let receiver = &receiver;
            async move {
                receiver
                    .take_by(usize::try_from(n).expect("small"), &body)
                    .await
            }
        });
        for taken in join_all(at_once).await {
            assert_eq!(taken, Outcome::Acknowledged, "{order}");
        }
    }
    let refund = Message::Refund(refund("N1"));
    for _ in 0..2 {
        let taken = receiver.take(&genuine(&refund)).await;
        assert_eq!(taken, Outcome::Acknowledged);
    }
    receiver.kill();
    let races = (0..RACES).map(|n| format!("payment {} success 123.00 LAK", race(n)));
    let mut expected: Vec<String> = races.collect();
    expected.push("payment N1 success 123.00 LAK".to_owned());
    expected.push("refund N1-R success 23.00 USD".to_owned());
    expected.sort();
    assert_eq!(shop.recorded(), expected);
}

/// Orders whose attempts arrive all at once.
const RACES: usize = 30;

fn race(n: usize) -> String {
    format!("RACE-{n}")
}

/// What it acknowledged is there after SIGKILL, and what a crash cut off does no harm.
pub(super) async fn recorded_callbacks_outlive_the_receiver(language: &'static Language) {
    let shop = Shop::new(language);
    let first = Message::Payment(payment("N1"));
    let second = Message::Payment(payment("N2"));
    let receiver = shop.open();
    assert_eq!(receiver.take(&genuine(&first)).await, Outcome::Acknowledged);
    receiver.kill();
    shop.cut_off_a_line();
    let receiver = shop.open();
    assert_eq!(
        receiver.take(&genuine(&second)).await,
        Outcome::Acknowledged
    );
    assert_eq!(receiver.take(&genuine(&first)).await, Outcome::Acknowledged);
    // A final result that changes is for people to look at.
    let mut other = payment("N1");
    other.result = TransactionResult::Failure;
    let other = genuine(&Message::Payment(other));
    assert_eq!(receiver.refuse(&other).await, Ok(409));
    receiver.kill();
    assert_eq!(
        shop.recorded(),
        [
            "payment N1 success 123.00 LAK",
            "payment N2 success 123.00 LAK"
        ]
    );
}
