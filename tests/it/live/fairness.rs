//! A merchant that hangs holds its own places and nobody else's; a stop that can't wait says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callback_dispatcher::clock::Clock;
use callback_dispatcher::domain::NewCallback;
use callback_dispatcher::merchant::{Answer, Script};
use callback_dispatcher::store::ShownState;

use super::{Daemon, Place, StoreKind, clock, in_time, on_both, payment, until};

const LIMITS: [(&str, &str); 4] = [
    ("DELIVERY__TIMEOUT", "30s"),
    ("DELIVERY__MAX_IN_FLIGHT_PER_MERCHANT", "2"),
    ("DELIVERY__MAX_IN_FLIGHT", "8"),
    ("DELIVERY__DRAIN_TIMEOUT", "200ms"),
];

fn payments(url: &str, name: &str, n: usize) -> Vec<NewCallback> {
    let order = |n| payment(url, &format!("{name}-{n}"));
    (0..n).map(order).collect()
}

async fn a_merchant_that_hangs_takes_no_places_from_others(store: StoreKind) {
    let place = Place::on(store);
    let clock = clock();
    let has_healed = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&has_healed);
    let script = Script::each(move |_| match healed.load(Ordering::SeqCst) {
        false => Answer::Hang,
        true => Answer::Ack,
    });
    let hangs = place.merchant_at(script, Arc::new(clock.clone())).await;
    let acks = place
        .merchant_at(Answer::Ack, Arc::new(clock.clone()))
        .await;
    let daemon = Daemon::start_at(&place, &LIMITS, clock.clone()).await;
    // The hanging one comes first, and has its places before the other one has any.
    daemon.enqueue(payments(&hangs.url("/"), "hangs", 50)).await;
    in_time("two POSTs that hang", hangs.wait_for(2)).await;
    daemon.enqueue(payments(&acks.url("/"), "acks", 20)).await;
    daemon.until_count(ShownState::Delivered, 20).await;
    assert_eq!(acks.count(), 20);
    assert_eq!(hangs.count(), 2);
    assert_eq!(daemon.count(ShownState::InFlight).await, 2);
    assert_eq!(daemon.count(ShownState::Pending).await, 48);

    let cut_off = in_time("the drain", daemon.service.stop()).await;
    assert_eq!(cut_off, Ok(2));
    let left = "SELECT count(*) FROM callback_queue WHERE leased_until IS NOT NULL";
    assert_eq!(place.sql(left), "2");

    has_healed.store(true, Ordering::SeqCst);
    let daemon = Daemon::start_at(&place, &LIMITS, clock.clone()).await;
    daemon.until_count(ShownState::Delivered, 70).await;
    let mut interrupted = 0;
    for n in 0..50 {
        let outcomes = daemon.outcomes(&format!("hangs-{n}")).await;
        if outcomes == ["interrupted", "acknowledged"] {
            interrupted += 1;
        } else {
            assert_eq!(outcomes, ["acknowledged"], "hangs-{n}");
        }
        let callback = daemon.callback(&format!("hangs-{n}")).await;
        assert_eq!(callback.attempts, 1, "what was interrupted is not counted");
    }
    assert_eq!(interrupted, 2);
    assert_eq!(hangs.count(), 52);
    assert_eq!(
        acks.count(),
        20,
        "what was acknowledged is never sent again"
    );
    daemon.stop().await;
}

async fn many_hanging_merchants_leave_places_to_those_that_answer(store: StoreKind) {
    let place = Place::on(store);
    let clock = clock();
    let daemon = Daemon::start_at(&place, &LIMITS, clock.clone()).await;
    let mut merchants = Vec::new();
    for n in 0..6 {
        let merchant = place
            .merchant_at(Answer::Hang, Arc::new(clock.clone()))
            .await;
        daemon
            .enqueue(payments(&merchant.url("/"), &format!("merchant-{n}"), 5))
            .await;
        merchants.push(merchant);
    }
    // Nothing is known of them yet: three quarters of eight slots, of which one is left to the next app.
    daemon.until_count(ShownState::InFlight, 5).await;
    let posts = || {
        merchants
            .iter()
            .map(|merchant| merchant.count())
            .sum::<usize>()
    };
    until("five POSTs hang", async || posts() == 5).await;
    let due = daemon.clock.now();
    let stats = daemon.service.inspection().stats().await.expect("readable");
    assert!(stats.oldest_due.is_some_and(|oldest| oldest <= due));
    assert!(merchants.iter().all(|merchant| merchant.count() <= 2));
    assert_eq!(in_time("the drain", daemon.service.stop()).await, Ok(5));
    assert_eq!(posts(), 5);
}

on_both!(
    a_merchant_that_hangs_takes_no_places_from_others,
    many_hanging_merchants_leave_places_to_those_that_answer,
);
