//! The schedule: four attempts, five minutes apart, each signed anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callback_dispatcher::clock::Clock;
use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::merchant::{Answer, MockMerchant, Received, Script};
use callback_dispatcher::store::ShownState;

use super::{Daemon, FIVE_MINUTES, Place, StoreKind, clock, on_both};

const ORDER: &str = "202209210000006950";
const MILLISECOND: Duration = Duration::from_millis(1);

/// Refuses [`ORDER`], acknowledges the canaries.
fn refuses_the_order() -> Script {
    Script::each(|post| match post.text("newpayOrderNo") {
        Some(ORDER) => Answer::Refuse,
        _ => Answer::Ack,
    })
}

fn posts_of(merchant: &MockMerchant, order: &str) -> Vec<Received> {
    let mut posts = merchant.received();
    posts.retain(|post| post.text("newpayOrderNo") == Some(order));
    posts
}

/// Sends a canary to the same merchant: whatever else of it was due has been claimed with it.
async fn canary(daemon: &Daemon, merchant: &MockMerchant, name: &str) {
    daemon.queue(&merchant.url("/canary"), name).await;
    daemon.until_state(name, ShownState::Delivered).await;
}

/// Nothing of [`ORDER`] is under way, and `n` attempts have been made.
async fn assert_at_rest(daemon: &Daemon, merchant: &MockMerchant, n: usize, state: ShownState) {
    let callback = daemon.callback(ORDER).await;
    assert_eq!(callback.state, state);
    assert_eq!(callback.leased_until, None);
    assert_eq!(daemon.attempts(ORDER).await.len(), n);
    assert_eq!(posts_of(merchant, ORDER).len(), n);
}

async fn a_merchant_that_refuses_gets_four_posts_five_minutes_apart(store: StoreKind) {
    let place = Place::on(store);
    let clock = clock();
    let merchant = place
        .merchant_at(refuses_the_order(), Arc::new(clock.clone()))
        .await;
    let daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    let start = clock.now();
    daemon.queue(&merchant.url("/callback"), ORDER).await;
    for n in 1..=3 {
        daemon.until_attempts(ORDER, n).await;
        let callback = daemon.callback(ORDER).await;
        assert_eq!(
            callback.next_attempt_at,
            Some(clock.now().after(FIVE_MINUTES))
        );
        clock.advance(FIVE_MINUTES - MILLISECOND);
        canary(&daemon, &merchant, &format!("canary-{n}")).await;
        assert_at_rest(&daemon, &merchant, n, ShownState::Pending).await;
        clock.advance(MILLISECOND);
    }
    let callback = daemon.until_state(ORDER, ShownState::Exhausted).await;
    assert_eq!(callback.attempts, 4);
    assert_eq!(callback.next_attempt_at, None);
    assert_eq!(callback.last_outcome.as_deref(), Some("refused"));
    clock.advance(Duration::from_secs(3600));
    canary(&daemon, &merchant, "canary-last").await;
    assert_at_rest(&daemon, &merchant, 4, ShownState::Exhausted).await;

    let due: Vec<Timestamp> = (0..4).map(|n| start.after(FIVE_MINUTES * n)).collect();
    let attempts = daemon.attempts(ORDER).await;
    for (attempt, due) in attempts.iter().zip(&due) {
        assert_eq!(attempt.outcome, "refused");
        assert!(attempt.counted);
        assert_eq!(attempt.http_status, Some(200));
        assert_eq!(attempt.started_at, *due);
        assert_eq!(attempt.key_id.as_deref(), Some("of-6"));
    }
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| attempt.seq)
            .collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_posts(&posts_of(&merchant, ORDER), &due);
    daemon.stop().await;
}

/// One POST at each moment, each with that moment as `timestamp` and a signature of its own.
fn assert_posts(posts: &[Received], due: &[Timestamp]) {
    let arrived: Vec<Timestamp> = posts.iter().map(|post| post.arrived_at).collect();
    assert_eq!(arrived, due);
    for (post, due) in posts.iter().zip(due) {
        assert_eq!(post.sign_holds, Some(true));
        assert_eq!(
            post.text("timestamp"),
            Some(due.as_millis().to_string().as_str())
        );
        assert_eq!(post.header("content-type"), Some("application/json"));
    }
    let signs: BTreeSet<_> = posts.iter().filter_map(|post| post.text("sign")).collect();
    assert_eq!(signs.len(), due.len(), "every attempt has its own sign");
}

async fn a_merchant_that_fails_twice_and_then_acknowledges_is_delivered_on_the_third(
    store: StoreKind,
) {
    let place = Place::on(store);
    let clock = clock();
    let seen = AtomicUsize::new(0);
    let script = Script::each(move |post| match post.text("newpayOrderNo") {
        Some(ORDER) => match seen.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Status(503),
            1 => Answer::Html,
            _ => Answer::Ack,
        },
        _ => Answer::Ack,
    });
    let merchant = place.merchant_at(script, Arc::new(clock.clone())).await;
    let daemon = Daemon::start_at(&place, &[], clock.clone()).await;
    daemon.queue(&merchant.url("/callback"), ORDER).await;
    for n in 1..=2 {
        daemon.until_attempts(ORDER, n).await;
        clock.advance(FIVE_MINUTES);
    }
    let callback = daemon.until_state(ORDER, ShownState::Delivered).await;
    assert_eq!(callback.attempts, 3);
    assert_eq!(
        daemon.outcomes(ORDER).await,
        ["http_status", "unreadable", "acknowledged"]
    );
    clock.advance(Duration::from_secs(3600));
    canary(&daemon, &merchant, "canary").await;
    assert_at_rest(&daemon, &merchant, 3, ShownState::Delivered).await;
    daemon.stop().await;
}

on_both!(
    a_merchant_that_refuses_gets_four_posts_five_minutes_apart,
    a_merchant_that_fails_twice_and_then_acknowledges_is_delivered_on_the_third,
);
