//! What is claimed ahead of its slot is not sent ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use callback_dispatcher::clock::Clock;
use callback_dispatcher::delivery::DeliveryPolicy;
use callback_dispatcher::delivery::transport::{Post, PostReport};

use super::dispatcher::{Running, acknowledged, policy};
use super::{Place, StoreKind, clock, on_both, payment};

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

on_both!(a_backlog_is_sent_within_the_limits,);
