//! What is claimed ahead of its place is not sent ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use callback_dispatcher::clock::{Clock, ManualClock};
use callback_dispatcher::delivery::transport::{Post, PostReport};
use callback_dispatcher::delivery::{DeliveryPolicy, Dispatcher};
use tokio::sync::{mpsc, watch};

use super::panic::{Told, acknowledged, next, terms};
use super::{PATIENCE, Place, StoreKind, clock, on_both, payment};

/// Acknowledges everything, and knows how many POSTs were under way at once.
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
    let clock: ManualClock = clock();
    let queue = place.open("the test").await.expect("free");
    for (url, name) in [
        ("http://127.0.0.1:9/", "one"),
        ("http://127.0.0.1:10/", "other"),
    ] {
        let callbacks = (0..BACKLOG / 2).map(|n| payment(url, &format!("{name}-{n}")));
        let queued = queue.enqueue(callbacks.collect(), clock.now()).await;
        queued.expect("queued");
    }
    let post = Counting::default();
    let limited = DeliveryPolicy {
        in_flight_per_origin_max: 3,
        ..terms(&place, post.clone())
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (_terms, under) = watch::channel(Arc::new(limited));
    let (stop, stopping) = watch::channel(false);
    let observer = Arc::new(Told(tell));
    let dispatcher = Dispatcher::new(Arc::clone(&queue), Arc::new(clock), observer, under);
    let running = tokio::spawn(dispatcher.run(stopping, PATIENCE));
    for _ in 0..BACKLOG {
        next(&mut told).await;
    }
    let most = post.most.load(Ordering::SeqCst);
    assert_eq!(
        most, 6,
        "two merchants, three each, though eight would have places"
    );
    stop.send_replace(true);
    assert_eq!(running.await.expect("no panic of its own"), Ok(0));
    queue.close().await;
}

on_both!(a_backlog_is_sent_within_the_limits,);
