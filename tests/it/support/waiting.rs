//! Nothing sleeps for an effect: a condition is polled until it holds or a deadline passes.

use std::future::Future;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

/// The deadline of a test. Taking over what another dispatcher has left takes half of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns as soon as `holds` says yes.
pub(crate) async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// The same with a deadline of its own.
pub(crate) async fn until_within(patience: Duration, what: &str, holds: impl AsyncFnMut() -> bool) {
    let holds = holds_within(patience, holds).await;
    assert!(holds, "not within {patience:?}: {what}");
}

/// Whether `holds` says yes before the deadline.
pub(crate) async fn holds_within(patience: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        while !holds().await {
            again.tick().await;
        }
    };
    tokio::time::timeout(patience, asking).await.is_ok()
}

/// Returns the first result of `probe`.
pub(crate) async fn found<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, async || {
        found = probe();
        found.is_some()
    })
    .await;
    found.expect("that was waited for")
}

/// What `future` gives, if it does so before the deadline.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
