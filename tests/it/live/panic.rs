//! A fault of ours in one attempt: that attempt alone has it.

use std::sync::Arc;

use async_trait::async_trait;
use callback_dispatcher::clock::{Clock, ManualClock};
use callback_dispatcher::delivery::transport::{Post, PostReport};
use callback_dispatcher::domain::Outcome;

use super::dispatcher::{Running, acknowledged, policy};
use super::{FIVE_MINUTES, Place, StoreKind, clock, on_both, payment};

/// Panics over one URL and is acknowledged over every other.
#[derive(Debug)]
struct Faulty;

#[async_trait]
impl Post for Faulty {
    async fn post(&self, url: &str, _: Vec<u8>) -> PostReport {
        assert!(!url.ends_with("/faulty"), "as the test wants it");
        acknowledged()
    }
}

async fn a_panic_hurts_no_other_attempt_and_is_tried_again_after_the_wait(store: StoreKind) {
    let place = Place::on(store);
    let clock: ManualClock = clock();
    let mut running = Running::start(&place, Arc::new(clock.clone()), policy(&place, Faulty)).await;
    let callbacks = vec![
        payment("http://127.0.0.1:9/faulty", "P1"),
        payment("http://127.0.0.1:9/safe", "P2"),
    ];
    let ids = running.queue.enqueue(callbacks, clock.now()).await;
    let ids = ids.expect("queued");
    let mut first = [running.next().await, running.next().await];
    first.sort_by_key(|(id, _, _)| *id);
    let interrupted = (ids[0].0, Outcome::Interrupted, false);
    let acknowledged = (ids[1].0, Outcome::Acknowledged, true);
    assert_eq!(first, [interrupted, acknowledged]);

    clock.advance(FIVE_MINUTES);
    assert_eq!(running.next().await, interrupted);
    running.stop().await;
}

on_both!(a_panic_hurts_no_other_attempt_and_is_tried_again_after_the_wait,);
