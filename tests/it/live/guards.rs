//! What a dispatcher may do to a queue: prune the finished, record what it has a lease for, and
//! have the file for itself.

use std::time::Duration;

use callback_dispatcher::clock::{Clock, SystemClock};
use callback_dispatcher::domain::{Next, Outcome, PhaseTimes, Timestamp, Verdict};
use callback_dispatcher::store::sqlite::SCHEMA_VERSION;
use callback_dispatcher::store::{
    Attempt, Claim, ClaimRequest, ClaimedCallback, CompletedAttempt, Endpoint, OpenError, Origin,
    Queue, Recorded,
};

use super::{Place, StoreKind, insert, on_both};

const URL: &str = "http://127.0.0.1:9/callback";

/// App 6 at the origin of `url`.
fn endpoint(url: &str) -> Endpoint {
    Endpoint::new("6", Origin::of_url(url).expect("an origin").as_bytes())
}

/// Claims the one callback of app 6 that is due.
pub(super) async fn claim(queue: &dyn Queue, url: &str, now: Timestamp) -> ClaimedCallback {
    let claim = Claim {
        requests: vec![ClaimRequest {
            endpoint: endpoint(url),
            limit: 5,
        }],
        now,
        lease: Duration::from_secs(60),
    };
    let mut results = queue.claim(claim).await.expect("claimed");
    let callbacks = results.remove(0).callbacks;
    let [callback] = <[_; 1]>::try_from(callbacks).expect("one callback");
    callback
}

pub(super) async fn record(
    queue: &dyn Queue,
    claimed: ClaimedCallback,
    now: Timestamp,
) -> Recorded {
    let attempt = Attempt {
        started_at: now,
        duration: Duration::from_millis(7),
        verdict: Verdict {
            outcome: Outcome::Acknowledged,
            counted: true,
            detail: String::new(),
        },
        http_status: Some(200),
        response_excerpt: None,
        remote_addr: None,
        sent: None,
        phase: None,
        phases: PhaseTimes::default(),
    };
    let ended = CompletedAttempt {
        claimed,
        endpoint: endpoint(URL),
        attempt: Box::new(attempt),
        next: Next::Delivered,
    };
    let recorded = queue.record(vec![ended]).await.expect("a healthy store");
    recorded[0].recorded
}

/// Claims, lets an operator run `meanwhile`, records; `row` is what must stand then.
async fn assert_recorded(store: StoreKind, meanwhile: &str, expected: Recorded, row: &str) {
    let place = Place::on(store);
    let queue = place.open("this test").await.expect("opened");
    place.sql(&insert(URL, "order", &[]));
    let now = SystemClock.now().after(Duration::from_secs(1));
    let lease = claim(&*queue, URL, now).await;
    place.sql(meanwhile);
    assert_eq!(record(&*queue, lease, now).await, expected, "{meanwhile}");
    let found = place.sql(
        "SELECT state, attempts, attempt_seq, (SELECT count(*) FROM callback_attempt)
         FROM callback_queue",
    );
    assert_eq!(found, row, "{meanwhile}");
    queue.close().await;
}

async fn an_outcome_is_recorded_while_the_lease_stands(store: StoreKind) {
    assert_recorded(store, "SELECT 1", Recorded::Applied, "delivered|1|1|1").await;
}

async fn an_outcome_of_a_cancelled_callback_changes_nothing(store: StoreKind) {
    let cancel = "UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL,
        finished_at = 1, leased_at = NULL, leased_until = NULL, lease_token = NULL";
    assert_recorded(store, cancel, Recorded::LeaseLost, "cancelled|0|0|0").await;
}

async fn an_outcome_under_a_lease_of_another_changes_nothing(store: StoreKind) {
    let take_over = "UPDATE callback_queue SET lease_token = lease_token / 2 + 1";
    assert_recorded(store, take_over, Recorded::LeaseLost, "pending|0|0|0").await;
}

/// In a file. A database is for several.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_dispatcher_is_told_who_has_the_queue() {
    let place = Place::new();
    let first = place.open("process 1 on alpha").await.expect("opened");
    match place.open("process 2 on beta").await {
        Err(OpenError::Held { holder, .. }) => assert_eq!(holder, "process 1 on alpha"),
        other => panic!("{other:?}"),
    }
    first.close().await;
    drop(first);
    place
        .open("process 2 on beta")
        .await
        .expect("free")
        .close()
        .await;
}

/// In a file, which is migrated when it is older.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let place = Place::new();
    place.sql("PRAGMA user_version = 99");
    match place.open("this test").await {
        Err(OpenError::Newer { found, known, .. }) => {
            assert_eq!((found, known), (99, SCHEMA_VERSION));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(place.sql("PRAGMA user_version"), "99");
}

/// `VACUUM INTO` makes a file with a rollback journal, in which readers and the gateway would hold
/// each other up, and no commit would be heard.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_is_put_into_wal_mode() {
    let place = Place::new();
    place.sql("PRAGMA journal_mode = DELETE");
    let queue = place.open("this test").await.expect("opened");
    assert_eq!(place.sql("PRAGMA journal_mode"), "wal");
    queue.close().await;
}

on_both!(
    an_outcome_is_recorded_while_the_lease_stands,
    an_outcome_of_a_cancelled_callback_changes_nothing,
    an_outcome_under_a_lease_of_another_changes_nothing,
);
