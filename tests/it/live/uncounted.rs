//! Attempts that fail for no fault of the merchant's are not charged to it.

use std::sync::Arc;

use callback_dispatcher::clock::{Clock, ManualClock};
use callback_dispatcher::domain::LOCAL_FAULT_WAIT;
use callback_dispatcher::health::{TroubleKind, troubles};
use callback_dispatcher::merchant::{Answer, MockMerchant};
use callback_dispatcher::store::ShownState;

use super::{
    Daemon, FIVE_MINUTES, HMAC, Place, StoreKind, clock, insert, key, on_both, payment, payment_of,
    until,
};

async fn acks(place: &Place, clock: &ManualClock) -> MockMerchant {
    place
        .merchant_at(Answer::Ack, Arc::new(clock.clone()))
        .await
}

async fn an_app_without_a_key_waits_for_one(store: StoreKind) {
    let place = Place::on(store);
    let clock = clock();
    let merchant = acks(&place, &clock).await;
    let url = merchant.url("/callback");
    let mut daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    daemon
        .enqueue(vec![payment_of("7", &url, "waits"), payment(&url, "known")])
        .await;
    daemon.until_state("known", ShownState::Delivered).await;
    // Six times: more often than the budget would allow.
    for n in 1..=6 {
        daemon.until_attempts("waits", n).await;
        let callback = daemon.callback("waits").await;
        assert_eq!(
            (callback.state, callback.attempts),
            (ShownState::Pending, 0)
        );
        assert_eq!(
            callback.next_attempt_at,
            Some(clock.now().after(FIVE_MINUTES))
        );
        clock.advance(FIVE_MINUTES);
    }
    daemon.until_attempts("waits", 7).await;
    for attempt in daemon.attempts("waits").await {
        assert_eq!(
            (attempt.outcome.as_str(), attempt.counted),
            ("unsignable", false)
        );
        assert!(attempt.detail.contains('7'), "{}", attempt.detail);
        assert_eq!(
            (attempt.sign, attempt.key_id, attempt.sent_timestamp),
            (None, None, None)
        );
    }
    assert_eq!(merchant.count(), 1);

    place.write_keys(&(key("6", HMAC) + &key("7", HMAC)));
    let fixed = daemon.service.reload(place.configuration(&[])).await;
    assert_eq!(fixed.expect("reloaded").needs_restart, Vec::<&str>::new());
    clock.advance(FIVE_MINUTES);
    let callback = daemon.until_state("waits", ShownState::Delivered).await;
    assert_eq!(callback.attempts, 1);
    assert_eq!(daemon.attempts("waits").await.len(), 8);
    assert_eq!(merchant.count(), 2);
    daemon.stop().await;
}

/// What is not charged is tried every 15 seconds without end, and people are told.
async fn what_our_own_proxy_refuses_is_not_charged_and_people_see_why(store: StoreKind) {
    let place = Place::on(store);
    let clock = clock();
    // Nobody listens there.
    let proxy = [("EGRESS__PROXY", "http://127.0.0.1:1")];
    let daemon = Daemon::start_at(&place, &proxy, clock.clone()).await;
    let merchant = "https://merchant.example/callback";
    daemon.enqueue(vec![payment(merchant, "waits")]).await;
    // An hour of it.
    daemon.until_attempts("waits", 1).await;
    for n in 2..=240 {
        clock.advance(LOCAL_FAULT_WAIT);
        daemon.until_attempts("waits", n).await;
    }
    let callback = daemon.callback("waits").await;
    assert_eq!(callback.attempts, 0);
    let why = place.sql("SELECT why FROM callback_stuck");
    assert_eq!(
        why.trim(),
        "not charged to the merchant, and tried until it works: egress.proxy: connection refused"
    );
    until("people are told", async || {
        let troubled = daemon
            .service
            .inspection()
            .troubled(clock.now())
            .await
            .expect("read");
        let told = troubles(&troubled, &[], clock.now());
        told.iter().any(|trouble| {
            trouble.kind == TroubleKind::NotCharged && trouble.text.contains("not charged")
        })
    })
    .await;
    daemon.stop().await;
}

/// Its sign would hold for an order of a million as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_text_is_neither_signed_nor_sent_unless_told_to() {
    let place = Place::new();
    let clock = clock();
    let merchant = acks(&place, &clock).await;
    let url = merchant.url("/callback");
    let chosen = "'&newpayOrderNo=N9&orderAmt=1000000.00'";
    place.sql(
        &[
            insert(&url, "chosen", &[("extra", chosen)]),
            insert(&url, "harmless", &[("extra", "'uid=7&orderNo=A1'")]),
        ]
        .concat(),
    );
    clock.advance(FIVE_MINUTES);
    let mut daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    daemon.until_state("harmless", ShownState::Delivered).await;
    daemon.until_attempts("chosen", 1).await;
    let attempt = &daemon.attempts("chosen").await[0];
    assert_eq!(
        (attempt.outcome.as_str(), attempt.counted, &attempt.sign),
        ("unsignable", false, &None)
    );
    let why = r#"extra holds "&newpayOrderNo=", so the sign would also hold for another message"#;
    assert!(attempt.detail.starts_with(why), "{}", attempt.detail);
    assert_eq!(place.sql("SELECT order_no FROM callback_stuck"), "chosen");
    assert_eq!(merchant.count(), 1);

    let send = [("SIGNING__AMBIGUOUS_TEXTS", "send")];
    let told = daemon.service.reload(place.configuration(&send)).await;
    assert_eq!(told.expect("reloaded").needs_restart, Vec::<&str>::new());
    clock.advance(FIVE_MINUTES);
    daemon.until_state("chosen", ShownState::Delivered).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_utf8_harms_no_other() {
    let place = Place::new();
    let clock = clock();
    let merchant = acks(&place, &clock).await;
    let url = merchant.url("/callback");
    let broken = "CAST(x'ff' AS TEXT)";
    let broken_url = "CAST(x'687474703a2f2f61ff2e6578616d706c652f' AS TEXT)";
    place.sql(
        &[
            insert(&url, "in-subject", &[("subject", broken)]),
            insert(&url, "in-app", &[("app_id", broken)]),
            insert(&url, "in-url", &[("callback_url", broken_url)]),
            insert(&url, "whole", &[]),
        ]
        .concat(),
    );
    clock.advance(FIVE_MINUTES);
    let daemon = Daemon::start_at(&place, &[], clock).await;
    daemon.until_state("whole", ShownState::Delivered).await;
    for (order, column) in [
        ("in-subject", "subject"),
        ("in-app", "app_id"),
        ("in-url", "callback_url"),
    ] {
        daemon.until_attempts(order, 1).await;
        let attempts = daemon.attempts(order).await;
        assert_eq!(
            (attempts[0].outcome.as_str(), attempts[0].counted),
            ("unsignable", false)
        );
        assert!(
            attempts[0].detail.contains(column),
            "{}",
            attempts[0].detail
        );
        let callback = daemon.callback(order).await;
        assert_eq!(
            (callback.state, callback.attempts),
            (ShownState::Pending, 0)
        );
    }
    assert_eq!(merchant.count(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_a_crash_left_in_flight_are_interrupted_and_sent_at_once() {
    let place = Place::new();
    let clock = clock();
    let merchant = acks(&place, &clock).await;
    let url = merchant.url("/callback");
    // The lease stands for an hour more: a start takes it over all the same.
    let leased_at = clock.now().as_millis();
    let leased_until = leased_at + 3_600_000;
    let lease = format!(
        "UPDATE callback_queue SET leased_at = {leased_at}, leased_until = {leased_until},
         lease_token = 5, attempts = 3, attempt_seq = 3 WHERE newpay_order_no = 'left';"
    );
    place.sql(&[insert(&url, "left", &[]), lease].concat());
    let daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    let callback = daemon.until_state("left", ShownState::Delivered).await;
    assert_eq!(callback.attempts, 4);
    assert_eq!(callback.leased_until, None);
    let [interrupted, delivered] = <[_; 2]>::try_from(daemon.attempts("left").await)
        .unwrap_or_else(|attempts| panic!("{attempts:#?}"));
    assert_eq!(
        (interrupted.seq, interrupted.outcome.as_str()),
        (4, "interrupted")
    );
    assert!(!interrupted.counted);
    assert_eq!(interrupted.started_at.as_millis(), leased_at);
    assert_eq!(
        (delivered.seq, delivered.outcome.as_str()),
        (5, "acknowledged")
    );
    assert!(delivered.counted);
    assert_eq!(delivered.started_at, clock.now());
    assert_eq!(merchant.count(), 1);
    daemon.stop().await;
}

on_both!(
    an_app_without_a_key_waits_for_one,
    what_our_own_proxy_refuses_is_not_charged_and_people_see_why,
);
