//! Whom the daemon refuses to call, as its settings stand by default.

use std::sync::Arc;

use callback_dispatcher::clock::SystemClock;
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::{AttemptRow, ShownState};

use super::{Daemon, Place, StoreKind, on_both, payment};

/// The only attempt of `order`.
async fn first_attempt(daemon: &Daemon, order: &str) -> AttemptRow {
    daemon.until_attempts(order, 1).await;
    let attempts = daemon.attempts(order).await;
    let [attempt] = <[_; 1]>::try_from(attempts).expect("one attempt");
    assert_eq!(daemon.callback(order).await.state, ShownState::Pending);
    attempt
}

/// Sends one callback under `changes`; the merchant, at every address of this host that it
/// answers to, must receive nothing.
async fn assert_blocked(store: StoreKind, changes: &[(&str, &str)], remedy: &str) {
    let place = Place::on(store);
    let merchant = place.merchant(Answer::Ack, Arc::new(SystemClock)).await;
    let daemon = Daemon::start(&place, changes).await;
    let port = merchant.addr().port();
    let hosts = ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"];
    for host in hosts {
        let url = format!("http://{host}:{port}/callback");
        daemon.enqueue(vec![payment(&url, host)]).await;
    }
    for host in hosts {
        let attempt = first_attempt(&daemon, host).await;
        assert_eq!(attempt.outcome, "blocked", "{host}: {}", attempt.detail);
        assert!(
            attempt.detail.contains(remedy),
            "{host}: {}",
            attempt.detail
        );
        assert!(attempt.counted);
        assert_eq!((attempt.http_status, attempt.sent_timestamp), (None, None));
    }
    assert_eq!(merchant.count(), 0);
    daemon.stop().await;
}

async fn loopback_is_blocked_unless_it_is_allowed(store: StoreKind) {
    assert_blocked(
        store,
        &[("EGRESS__ALLOW_NETWORKS", "")],
        "egress.allow_networks",
    )
    .await;
}

async fn plain_http_is_blocked_unless_it_is_allowed(store: StoreKind) {
    assert_blocked(
        store,
        &[("EGRESS__ALLOW_HTTP", "false")],
        "egress.allow_http",
    )
    .await;
}

async fn a_redirect_is_not_followed(store: StoreKind) {
    let place = Place::on(store);
    let target = place.merchant(Answer::Ack, Arc::new(SystemClock)).await;
    let redirect = Answer::Redirect(target.url("/callback"));
    let merchant = place.merchant(redirect, Arc::new(SystemClock)).await;
    let daemon = Daemon::start(&place, &[]).await;
    daemon
        .enqueue(vec![payment(&merchant.url("/callback"), "moved")])
        .await;
    let attempt = first_attempt(&daemon, "moved").await;
    assert_eq!(
        (attempt.outcome.as_str(), attempt.http_status),
        ("http_status", Some(302))
    );
    assert!(attempt.counted);
    assert_eq!((merchant.count(), target.count()), (1, 0));
    daemon.stop().await;
}

on_both!(
    loopback_is_blocked_unless_it_is_allowed,
    plain_http_is_blocked_unless_it_is_allowed,
    a_redirect_is_not_followed,
);
