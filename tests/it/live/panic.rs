//! A fault of ours in one attempt: that attempt alone has it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use callback_dispatcher::clock::{Clock, ManualClock};
use callback_dispatcher::delivery::transport::{PhaseTimes, Post, PostReport};
use callback_dispatcher::delivery::{DeliveryPolicy, Dispatcher, FinishedAttempt, Observer};
use callback_dispatcher::domain::{CappedBody, Exchange, Outcome, Timestamp};
use tokio::sync::{mpsc, watch};

use super::{FIVE_MINUTES, PATIENCE, Place, StoreKind, clock, on_both, payment};

/// Panics over one URL and is acknowledged over every other.
#[derive(Debug)]
struct Clumsy;

#[async_trait]
impl Post for Clumsy {
    async fn post(&self, url: &str, _: Vec<u8>) -> PostReport {
        assert!(!url.ends_with("/slippery"), "dropped it");
        acknowledged()
    }
}

/// What a [`Post`] says that was acknowledged.
pub(super) fn acknowledged() -> PostReport {
    PostReport {
        exchange: Exchange::Answered {
            status: 200,
            body: CappedBody {
                bytes: br#"{"transResult":"SUCCESS"}"#.to_vec(),
                oversized: false,
            },
            remote_addr: None,
        },
        phases: PhaseTimes::default(),
        resent: false,
        retry_after: None,
    }
}

/// Passes on how each attempt ended.
#[derive(Debug)]
pub(super) struct Told(pub(super) mpsc::UnboundedSender<(i64, Outcome, bool)>);

impl Observer for Told {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        let verdict = &finished.attempt.verdict;
        let told = (finished.id.0, verdict.outcome, verdict.counted);
        self.0.send(told).expect("the test listens");
    }

    fn in_flight(&self, _: usize) {}

    fn own_outage(&self, _: bool) {}

    fn beat(&self, _: Timestamp) {}
}

/// Eight attempts at a time, made by `post`.
pub(super) fn terms(place: &Place, post: impl Post) -> DeliveryPolicy {
    let configuration = place.configuration(&[]);
    DeliveryPolicy {
        keyring: configuration.keys.keyring,
        convention: configuration.settings.signing.convention,
        schedule: configuration.settings.retry.schedule,
        in_flight_max: 8,
        in_flight_per_origin_max: 8,
        in_flight_per_app_max: 65_536,
        timeout: Duration::from_secs(10),
        local_fault_protection: true,
        post: Arc::new(post),
    }
}

pub(super) async fn next(
    told: &mut mpsc::UnboundedReceiver<(i64, Outcome, bool)>,
) -> (i64, Outcome, bool) {
    let next = tokio::time::timeout(PATIENCE, told.recv()).await;
    next.expect("in time").expect("the dispatcher runs")
}

async fn a_panic_hurts_no_other_attempt_and_is_tried_again_after_the_wait(store: StoreKind) {
    let place = Place::on(store);
    let clock: ManualClock = clock();
    let queue = place.open("the test").await.expect("free");
    let callbacks = vec![
        payment("http://127.0.0.1:9/slippery", "P1"),
        payment("http://127.0.0.1:9/safe", "P2"),
    ];
    let ids = queue.enqueue(callbacks, clock.now()).await.expect("queued");
    let (tell, mut told) = mpsc::unbounded_channel();
    let (_terms, under) = watch::channel(Arc::new(terms(&place, Clumsy)));
    let (stop, stopping) = watch::channel(false);
    let dispatcher = Dispatcher::new(
        Arc::clone(&queue),
        Arc::new(clock.clone()),
        Arc::new(Told(tell)),
        under,
    );
    let running = tokio::spawn(dispatcher.run(stopping, PATIENCE));

    let mut first = [next(&mut told).await, next(&mut told).await];
    first.sort_by_key(|(id, _, _)| *id);
    let interrupted = (ids[0].0, Outcome::Interrupted, false);
    assert_eq!(
        first,
        [interrupted, (ids[1].0, Outcome::Acknowledged, true)]
    );

    clock.advance(FIVE_MINUTES);
    assert_eq!(next(&mut told).await, interrupted);

    stop.send_replace(true);
    assert_eq!(running.await.expect("no panic of its own"), Ok(0));
    queue.close().await;
}

on_both!(a_panic_hurts_no_other_attempt_and_is_tried_again_after_the_wait,);
