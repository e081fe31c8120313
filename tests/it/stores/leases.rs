//! Who takes over from whom on PostgreSQL, and what becomes of an answer that comes late.

use std::time::Duration;

use callback_dispatcher::domain::{Next, Outcome};
use callback_dispatcher::store::postgres::FleetTiming;
use callback_dispatcher::store::{ClaimedCallback, Queue, Recorded};

use super::{Backend, ONE, at, enqueue};
use crate::support::attempt::{claim_of, record};
use crate::support::waiting::until;

/// A dispatcher that is silent for a second is taken over.
const HASTY: FleetTiming = FleetTiming {
    heartbeat: Duration::from_millis(100),
    silent: Duration::from_secs(1),
    lease: Duration::from_secs(1),
    margin: Duration::from_millis(200),
};

async fn claim_one(queue: &dyn Queue) -> ClaimedCallback {
    let mut claimed = claim_of(queue, ONE, 1, at(5)).await;
    claimed.pop().expect("one is due")
}

async fn acknowledged(queue: &dyn Queue, claimed: ClaimedCallback) -> Recorded {
    record(
        queue,
        claimed,
        Outcome::Acknowledged,
        Next::Delivered,
        at(6),
    )
    .await
}

/// Another dispatcher, once it has taken over the one attempt in flight.
async fn taken_over(backend: &Backend) -> std::sync::Arc<dyn Queue> {
    let other = backend.open_with("the other", HASTY).await.expect("opened");
    until("the attempt is taken over", async || {
        other.interrupt_in_flight(at(2)).await == Ok(1)
    })
    .await;
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_over_from_a_dispatcher_that_lives_whatever_the_clock_says() {
    let backend = Backend::postgres();
    let holder = backend
        .open_with("the holder", HASTY)
        .await
        .expect("opened");
    enqueue(&*holder, &["a"], at(0)).await;
    let claimed = claim_one(&*holder).await;
    // As after the server's clock was set, or a row was locked for long.
    backend.sql("UPDATE callback_queue SET leased_until = 1");
    let other = backend.open_with("the other", HASTY).await.expect("opened");
    let seen_at = || {
        backend
            .sql("SELECT max(seen_at) FROM dispatcher")
            .parse::<i64>()
    };
    let opened = seen_at().expect("a number");
    until("three times the time of a lease", async || {
        assert_eq!(other.interrupt_in_flight(at(2)).await, Ok(0));
        assert_eq!(holder.interrupt_in_flight(at(2)).await, Ok(0), "its own");
        seen_at().expect("a number") > opened + 3000
    })
    .await;
    assert!(claimed.lease.is_valid());
    assert_eq!(acknowledged(&*holder, claimed).await, Recorded::Applied);
    holder.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_valid_only_as_long_as_heartbeats_succeed() {
    let backend = Backend::postgres();
    let queue = backend.open_with("this test", HASTY).await.expect("opened");
    enqueue(&*queue, &["a", "b"], at(0)).await;
    let claimed = claim_one(&*queue).await;
    backend.sql("ALTER TABLE dispatcher RENAME TO away");
    until("the lease expires", async || !claimed.lease.is_valid()).await;
    until("nothing is claimed", async || queue.probe().await.is_err()).await;
    backend.sql("ALTER TABLE away RENAME TO dispatcher");
    until("heartbeats succeed again", async || {
        queue.probe().await.is_ok()
    })
    .await;
    assert!(
        !claimed.lease.is_valid(),
        "others may have had it in between"
    );
    assert!(claim_one(&*queue).await.lease.is_valid());
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_acknowledgement_is_recorded_if_nothing_was_sent_since() {
    let backend = Backend::postgres();
    let late = backend
        .open_with("the late one", HASTY)
        .await
        .expect("opened");
    enqueue(&*late, &["a"], at(0)).await;
    let claimed = claim_one(&*late).await;
    backend.sql("DELETE FROM dispatcher");
    late.close().await;
    let other = taken_over(&backend).await;
    assert_eq!(acknowledged(&*other, claimed).await, Recorded::Applied);
    let row = "SELECT state, attempts, attempt_seq, last_outcome FROM callback_queue";
    assert_eq!(backend.sql(row), "delivered|1|2|acknowledged");
    let log = "SELECT string_agg(seq || ' ' || outcome, ', ' ORDER BY seq) FROM callback_attempt";
    assert_eq!(backend.sql(log), "1 interrupted, 2 acknowledged");
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_acknowledgement_is_not_recorded_if_something_may_have_been_sent_since() {
    let backend = Backend::postgres();
    let late = backend
        .open_with("the late one", HASTY)
        .await
        .expect("opened");
    enqueue(&*late, &["a", "b"], at(0)).await;
    let [second, first] = <[_; 2]>::try_from(claim_of(&*late, ONE, 2, at(1)).await)
        .map(|[first, second]| [second, first])
        .expect("two are due");
    late.close().await;
    let other = backend.open_with("the other", HASTY).await.expect("opened");
    until("both are taken over", async || {
        other.interrupt_in_flight(at(2)).await == Ok(2)
    })
    .await;
    let [again, also] = <[_; 2]>::try_from(claim_of(&*other, ONE, 2, at(5)).await).expect("two");
    assert_eq!(
        acknowledged(&*other, first).await,
        Recorded::LeaseLost,
        "claimed"
    );
    let retry = Next::RetryAt(at(9));
    for claimed in [again, also] {
        let refused = record(&*other, claimed, Outcome::Refused, retry, at(6)).await;
        assert_eq!(refused, Recorded::Applied);
    }
    assert_eq!(
        acknowledged(&*other, second).await,
        Recorded::LeaseLost,
        "sent"
    );
    other.close().await;
}
