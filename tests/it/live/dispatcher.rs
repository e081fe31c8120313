//! A dispatcher without the rest of the daemon, whose POSTs are made by the test.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::SharedClock;
use callback_dispatcher::delivery::transport::{PhaseTimes, Post, PostReport};
use callback_dispatcher::delivery::{DeliveryPolicy, Dispatcher, FinishedAttempt, Observer};
use callback_dispatcher::domain::{CappedBody, Exchange, Outcome, Timestamp};
use callback_dispatcher::store::{Queue, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{PATIENCE, Place, in_time};

/// How an attempt ended: the callback, the outcome, and whether it counts.
type Finished = (i64, Outcome, bool);

/// Eight attempts at a time, made by `post`.
pub(super) fn policy(place: &Place, post: impl Post) -> DeliveryPolicy {
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

/// The report of a [`Post`] that was acknowledged.
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
        retry_after: None,
    }
}

/// Passes on how each attempt ended.
#[derive(Debug)]
struct Watcher(mpsc::UnboundedSender<Finished>);

impl Observer for Watcher {
    fn attempt_finished(&self, finished: &FinishedAttempt<'_>) {
        let verdict = &finished.attempt.verdict;
        let finished = (finished.id.0, verdict.outcome, verdict.counted);
        self.0.send(finished).expect("the test listens");
    }

    fn in_flight(&self, _: usize) {}

    fn own_outage(&self, _: bool) {}

    fn beat(&self, _: Timestamp) {}
}

/// A dispatcher under way.
pub(super) struct Running {
    pub(super) queue: Arc<dyn Queue>,
    finished: mpsc::UnboundedReceiver<Finished>,
    stop: watch::Sender<bool>,
    _policy: watch::Sender<Arc<DeliveryPolicy>>,
    running: JoinHandle<Result<usize, StoreError>>,
}

impl Running {
    pub(super) async fn start(place: &Place, clock: SharedClock, policy: DeliveryPolicy) -> Self {
        let queue = place.open("the test").await.expect("free");
        let (tell, finished) = mpsc::unbounded_channel();
        let (policy, under) = watch::channel(Arc::new(policy));
        let (stop, stopping) = watch::channel(false);
        let observer = Arc::new(Watcher(tell));
        let dispatcher = Dispatcher::new(Arc::clone(&queue), clock, observer, under);
        Self {
            queue,
            finished,
            stop,
            _policy: policy,
            running: tokio::spawn(dispatcher.run(stopping, PATIENCE)),
        }
    }

    /// How the next attempt ends.
    pub(super) async fn next(&mut self) -> Finished {
        let next = in_time("an attempt", self.finished.recv()).await;
        next.expect("the dispatcher runs")
    }

    /// How many attempts have ended since the last look.
    pub(super) fn finished_so_far(&mut self) -> usize {
        std::iter::from_fn(|| self.finished.try_recv().ok()).count()
    }

    /// Stops it; no attempt was in flight.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        assert_eq!(self.running.await.expect("no panic of its own"), Ok(0));
        self.queue.close().await;
    }
}
