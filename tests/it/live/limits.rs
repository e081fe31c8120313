//! What is claimed ahead of its slot is not sent ahead of it, and learned limits are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use callback_dispatcher::clock::Clock;
use callback_dispatcher::delivery::DeliveryPolicy;
use callback_dispatcher::delivery::transport::{Post, PostReport};
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::Origin;

use super::dispatcher::{Running, acknowledged, policy};
use super::{Daemon, Place, StoreKind, clock, on_both, payment, until};

/// Acknowledges everything, and counts the POSTs that were under way at once.
#[derive(Clone, Debug, Default)]
struct Counting {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[async_trait]
impl Post for Counting {
    async fn post(&self, _: &str, _: Vec<u8>) -> PostReport {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // Long enough for every other worker to begin.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        acknowledged()
    }
}

async fn a_backlog_is_sent_within_the_limits(store: StoreKind) {
    const BACKLOG: usize = 600;
    let place = Place::on(store);
    let clock = clock();
    let queue = place.open("the test").await.expect("free");
    for (port, name) in [(9, "one"), (10, "other")] {
        let url = format!("http://127.0.0.1:{port}/");
        let callbacks = (0..BACKLOG / 2).map(|n| payment(&url, &format!("{name}-{n}")));
        let queued = queue.enqueue(callbacks.collect(), clock.now()).await;
        queued.expect("queued");
    }
    queue.close().await;
    drop(queue);
    let post = Counting::default();
    let limited = DeliveryPolicy {
        in_flight_per_origin_max: 3,
        ..policy(&place, post.clone())
    };
    let mut running = Running::start(&place, Arc::new(clock), limited).await;
    for _ in 0..BACKLOG {
        running.next().await;
    }
    let most = post.most.load(Ordering::SeqCst);
    assert_eq!(most, 6, "two merchants, three each, of eight slots");
    running.stop().await;
}

async fn an_origin_that_asks_for_less_is_shown_to_people(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let lowered = async |daemon: &Daemon| {
        let lowered = daemon.service.inspection().lowered_limits().await;
        lowered.expect("readable")
    };
    let merchant = daemon.merchant(&place, Answer::Status(429)).await;
    daemon.queue(&merchant.url("/callback"), "one").await;
    daemon.until_attempts("one", 1).await;
    daemon.advance(Duration::from_secs(15));
    until("its limit is noted", async || {
        !lowered(&daemon).await.is_empty()
    })
    .await;
    let [limit] = &lowered(&daemon).await[..] else {
        panic!("one origin has asked for less");
    };
    assert_eq!(
        limit.origin,
        Origin::of_url(&merchant.url("/")).expect("one")
    );
    assert_eq!(limit.at_most, 1);
    let said = place.ask(&["stats"]).out;
    assert!(said.contains("the merchant asks for less (429"), "{said}");
    daemon.stop().await;

    let next = Daemon::start(&place, &[]).await;
    until("what the last dispatcher noted is gone", async || {
        lowered(&next).await.is_empty()
    })
    .await;
    next.stop().await;
}

on_both!(
    a_backlog_is_sent_within_the_limits,
    an_origin_that_asks_for_less_is_shown_to_people,
);
