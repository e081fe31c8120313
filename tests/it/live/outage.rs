//! The network is lost: an outage of our own uses up no merchant's retries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::ManualClock;
use callback_dispatcher::domain::NewCallback;
use callback_dispatcher::merchant::{Answer, MerchantSettings, MockMerchant};
use callback_dispatcher::store::ShownState;
use tokio::net::TcpListener;

use super::{
    Daemon, FIVE_MINUTES, HMAC, Place, StoreKind, clock, key, listener, on_both, payment,
    payment_of, until,
};

/// Four do not make an outage.
const MERCHANTS: usize = 6;

/// Ports on which nobody listens yet.
async fn closed_ports(count: usize) -> Vec<SocketAddr> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(listener().await);
    }
    held.iter()
        .map(|port| port.local_addr().expect("it is bound"))
        .collect()
}

fn order(n: usize) -> String {
    format!("order-{n}")
}

/// With a key for app 6 and for that of each merchant.
fn place_on(store: StoreKind) -> Place {
    let place = Place::on(store);
    let apps = (0..MERCHANTS).map(|n| key(&app(n), HMAC));
    place.write_keys(&apps.chain([key("6", HMAC)]).collect::<String>());
    place
}

fn app(n: usize) -> String {
    format!("app-{n}")
}

/// One for each merchant, which is an app of its own.
fn payments(ports: &[SocketAddr]) -> Vec<NewCallback> {
    let each = ports.iter().enumerate();
    each.map(|(n, port)| payment_of(&app(n), &format!("http://{port}/callback"), &order(n)))
        .collect()
}

async fn open(place: &Place, port: SocketAddr, clock: &ManualClock) -> MockMerchant {
    let settings = MerchantSettings {
        clock: Arc::new(clock.clone()),
        ..place.merchant_settings(Answer::Ack)
    };
    let listener = TcpListener::bind(port)
        .await
        .expect("the port is still free");
    MockMerchant::start(listener, settings).expect("a merchant")
}

async fn counted(daemon: &Daemon, order: &str) -> usize {
    let attempts = daemon.attempts(order).await;
    attempts.iter().filter(|attempt| attempt.counted).count()
}

/// Every callback has been tried and is charged with nothing, in the row and in the log.
async fn until_nothing_is_charged(daemon: &Daemon, merchants: usize) {
    for n in 0..merchants {
        let order = order(n);
        until(&format!("{order} is charged with nothing"), async || {
            let callback = daemon.callback(&order).await;
            !daemon.attempts(&order).await.is_empty()
                && callback.attempts == 0
                && counted(daemon, &order).await == 0
        })
        .await;
    }
}

/// Every callback is exhausted after four attempts, all of them charged.
async fn assert_all_are_charged(daemon: Daemon, merchants: usize) {
    for attempts in 1..=4 {
        for n in 0..merchants {
            daemon.until_attempts(&order(n), attempts).await;
        }
        daemon.advance(FIVE_MINUTES);
    }
    for n in 0..merchants {
        daemon.until_state(&order(n), ShownState::Exhausted).await;
        assert_eq!(counted(&daemon, &order(n)).await, 4);
    }
    daemon.stop().await;
}

async fn half_an_hour_without_a_network_exhausts_nothing(store: StoreKind) {
    let place = place_on(store);
    let clock = clock();
    let ports = closed_ports(MERCHANTS).await;
    let daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    daemon.enqueue(payments(&ports)).await;
    until_nothing_is_charged(&daemon, MERCHANTS).await;

    let step = Duration::from_secs(15);
    for minute in 0..30 {
        let before = daemon.attempts(&order(0)).await.len();
        for _ in 0..4 {
            clock.advance(step);
        }
        daemon.until_attempts(&order(0), before + 1).await;
        let callback = daemon.callback(&order(0)).await;
        // The minute holds more than one retry: the next may be under way by now.
        assert!(
            matches!(callback.state, ShownState::Pending | ShownState::InFlight),
            "{:?} in minute {minute}",
            callback.state
        );
        assert_eq!(callback.attempts, 0, "in minute {minute}");
    }
    until_nothing_is_charged(&daemon, MERCHANTS).await;
    for n in 0..MERCHANTS {
        for attempt in daemon.attempts(&order(n)).await {
            assert_eq!(
                (attempt.outcome.as_str(), attempt.counted),
                ("connect", false)
            );
            assert!(attempt.detail.contains("not counted"), "{}", attempt.detail);
        }
    }

    let mut merchants = Vec::new();
    for port in &ports {
        merchants.push(open(&place, *port, &clock).await);
    }
    for (n, merchant) in merchants.iter().enumerate() {
        let order = order(n);
        until(&format!("{order} is delivered"), async || {
            clock.advance(Duration::from_secs(1));
            daemon.callback(&order).await.state == ShownState::Delivered
        })
        .await;
        assert_eq!(daemon.callback(&order).await.attempts, 1);
        assert_eq!(merchant.count(), 1);
    }
    daemon.stop().await;
}

async fn a_callback_that_an_outage_had_exhausted_is_pending_again(store: StoreKind) {
    let place = place_on(store);
    let ports = closed_ports(MERCHANTS).await;
    let daemon = Daemon::start(&place, &[("RETRY__SCHEDULE", "")]).await;
    // One alone is the merchant's own failure, and without retries its last.
    let mut payments = payments(&ports).into_iter();
    daemon.enqueue(payments.by_ref().take(1).collect()).await;
    daemon.until_state(&order(0), ShownState::Exhausted).await;
    daemon.enqueue(payments.collect()).await;
    until_nothing_is_charged(&daemon, MERCHANTS).await;
    let callback = daemon.until_state(&order(0), ShownState::Pending).await;
    assert_eq!(callback.finished_at, None);
    daemon.stop().await;
}

async fn four_merchants_that_are_down_are_no_outage_of_our_own(store: StoreKind) {
    let place = place_on(store);
    let ports = closed_ports(4).await;
    let daemon = Daemon::start(&place, &[]).await;
    daemon.enqueue(payments(&ports)).await;
    assert_all_are_charged(daemon, ports.len()).await;
}

async fn one_app_with_many_dead_hosts_is_no_outage_of_our_own(store: StoreKind) {
    let place = place_on(store);
    let ports = closed_ports(MERCHANTS).await;
    let daemon = Daemon::start(&place, &[]).await;
    let hosts = ports.iter().enumerate();
    let payments = hosts.map(|(n, port)| payment(&format!("http://{port}/callback"), &order(n)));
    daemon.enqueue(payments.collect()).await;
    assert_all_are_charged(daemon, ports.len()).await;
}

async fn while_one_merchant_answers_there_is_no_outage_of_our_own(store: StoreKind) {
    let place = place_on(store);
    let ports = closed_ports(MERCHANTS).await;
    let daemon = Daemon::start(&place, &[]).await;
    let healthy = daemon.merchant(&place, Answer::Ack).await;
    daemon.queue(&healthy.url("/callback"), "canary").await;
    daemon.until_state("canary", ShownState::Delivered).await;
    daemon.enqueue(payments(&ports)).await;
    for n in 0..MERCHANTS {
        daemon.until_attempts(&order(n), 1).await;
        assert_eq!(counted(&daemon, &order(n)).await, 1);
    }
    daemon.stop().await;
}

async fn without_local_fault_protection_every_failure_counts(store: StoreKind) {
    let place = place_on(store);
    let ports = closed_ports(MERCHANTS).await;
    let daemon = Daemon::start(&place, &[("SHIELD__ENABLED", "false")]).await;
    daemon.enqueue(payments(&ports)).await;
    assert_all_are_charged(daemon, MERCHANTS).await;
}

on_both!(
    half_an_hour_without_a_network_exhausts_nothing,
    a_callback_that_an_outage_had_exhausted_is_pending_again,
    four_merchants_that_are_down_are_no_outage_of_our_own,
    one_app_with_many_dead_hosts_is_no_outage_of_our_own,
    while_one_merchant_answers_there_is_no_outage_of_our_own,
    without_local_fault_protection_every_failure_counts,
);
