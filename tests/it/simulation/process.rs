//! A dispatcher's life, from the opening of the queue to its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callback_dispatcher::clock::{ManualClock, Stopwatch};
use callback_dispatcher::delivery::{DeliveryPolicy, Dispatcher, FinishedAttempt, Observer};
use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::{Queue, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::store::SimulatedQueue;
use super::world::SharedWorld;

/// `delivery.drain_timeout`
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) queue: Arc<SimulatedQueue>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<usize, StoreError>>,
}

/// Rounds of the dispatch loop within one moment that can't come from events: all that a step of the
/// simulation sets off is some hundred.
const ROUNDS_MAX: u64 = 10_000;

/// Ends a dispatcher whose loop spins: that would use up a core while nothing happens.
#[derive(Debug)]
struct SpinGuard {
    started: Stopwatch,
    /// The newest moment, and the rounds within it.
    rounds: Mutex<(Duration, u64)>,
}

impl Default for SpinGuard {
    fn default() -> Self {
        Self {
            started: Stopwatch::start(),
            rounds: Mutex::new((Duration::ZERO, 0)),
        }
    }
}

impl Observer for SpinGuard {
    fn attempt_finished(&self, _: &FinishedAttempt<'_>) {}

    fn in_flight(&self, _: usize) {}

    fn own_outage(&self, _: bool) {}

    fn beat(&self, _: Timestamp) {
        let now = self.started.elapsed();
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        *rounds = match *rounds {
            (moment, count) if moment == now => (moment, count + 1),
            _ => (now, 1),
        };
        assert!(rounds.1 <= ROUNDS_MAX, "the dispatch loop spins");
    }
}

impl Process {
    pub(super) fn start(
        path: &Path,
        world: SharedWorld,
        clock: ManualClock,
        terms: watch::Receiver<Arc<DeliveryPolicy>>,
    ) -> Self {
        let queue = Arc::new(SimulatedQueue::open(path, world));
        let (stop, stopping) = watch::channel(false);
        let dispatcher = Dispatcher::new(
            Arc::clone(&queue) as Arc<dyn Queue>,
            Arc::new(clock),
            Arc::new(SpinGuard::default()),
            terms,
        );
        let running = tokio::spawn(dispatcher.run(stopping, DRAIN_TIMEOUT));
        Self {
            queue,
            stop,
            running,
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Dies: nothing that it was about to do is done any more. Returns what it had ended with, if
    /// it had.
    pub(super) async fn die(self) -> Option<Result<usize, String>> {
        self.running.abort();
        let ended = match self.running.await {
            Ok(ended) => Some(ended.map_err(|error| error.to_string())),
            Err(error) if error.is_cancelled() => None,
            Err(error) => Some(Err(format!("a panic: {error}"))),
        };
        close(self.queue).await;
        ended
    }

    /// Stops as by SIGTERM. Returns how many attempts were cut off.
    pub(super) async fn stop(self) -> Result<usize, String> {
        self.stop.send_replace(true);
        let stopped = self.running.await;
        close(self.queue).await;
        match stopped {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(error) => Err(format!("a panic: {error}")),
        }
    }
}

/// Closes the queue once the last task of its dispatcher is gone.
async fn close(queue: Arc<SimulatedQueue>) {
    while Arc::strong_count(&queue) > 1 || queue.is_at_work() {
        tokio::task::yield_now().await;
    }
    queue.close().await;
}

/// A queue to copy, made once for many seeds.
pub(super) fn template(folder: &Path) -> PathBuf {
    let path = folder.join("template.db");
    callback_dispatcher::store::sqlite::init(&path).expect("a queue");
    path
}
