//! The dispatcher's side: claims, outcomes, leases.

use callback_dispatcher::domain::{CallbackId, Next, Outcome, Timestamp};
use callback_dispatcher::store::{
    AttemptKey, ClaimResult, ClaimedCallback, Endpoint, EndpointDue, EnqueueError, Queue, Recorded,
    StoreError, Uncount,
};

use super::{Backend, ONE, at, enqueue, enqueue_for};
use crate::support::attempt::{claim, claim_of, record};
use crate::support::callback::{insert, payment};
use crate::support::store::{StoreKind, on_both};

const TWO: &str = "https://two.example:8443";

/// The one callback of this origin that is due.
async fn claim_one(queue: &dyn Queue, now: Timestamp) -> ClaimedCallback {
    let mut claimed = claim_of(queue, ONE, 1, now).await;
    claimed.pop().expect("one is due")
}

/// A payment of another app, due since the beginning.
fn other_app(app: &str, origin: &str) -> String {
    let due = at(0).as_millis().to_string();
    let changes = [("app_id", app), ("next_attempt_at", &due)];
    insert(&format!("{origin}/x"), "other", &changes)
}

const ROW: &str = "SELECT state, attempts, coalesce(next_attempt_at, 0), attempt_seq,
  coalesce(last_outcome, ''), coalesce(finished_at, 0), leased_until IS NULL, lease_token IS NULL
  FROM callback_queue ORDER BY id";

/// `1` and `t` are the same truth.
fn row(backend: &Backend) -> String {
    backend.sql(ROW).replace("|t", "|1").replace("|f", "|0")
}

async fn a_claim_takes_the_earliest_due_of_each_endpoint_and_tells_the_next(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    enqueue(&*queue, &["a", "b", "c"], at(0)).await;
    enqueue_for(&*queue, TWO, &["d"], at(1)).await;
    enqueue(&*queue, &["later"], at(60)).await;
    // The same origin, but another endpoint.
    backend.sql(&other_app("'7'", ONE));
    let requests = [(TWO, 5), (ONE, 2), ("https://nobody.example", 3)];
    let requests = requests.map(|(origin, limit)| (Endpoint::new("6", origin), limit));
    let results = claim(&*queue, &requests, at(2)).await;
    let ids = |result: &ClaimResult| -> Vec<i64> {
        result.callbacks.iter().map(|c| c.lease.id().0).collect()
    };
    assert_eq!(
        results.iter().map(ids).collect::<Vec<_>>(),
        [vec![4], vec![1, 2], vec![]]
    );
    let then: Vec<_> = results.iter().map(|result| result.then_due).collect();
    assert_eq!(then, [None, Some(at(0)), None]);
    let first = &results[1].callbacks[0];
    let callback = first.callback.as_ref().expect("readable");
    assert_eq!(callback.callback_url, format!("{ONE}/callback"));
    assert_eq!((first.attempts, first.created_at), (0, at(0)));
    let results = claim(&*queue, &[(Endpoint::new("6", ONE), 9)], at(2)).await;
    assert_eq!(
        ids(&results[0]),
        [3],
        "nothing twice, nothing early, no other app's"
    );
    assert_eq!(results[0].then_due, Some(at(60)));
    queue.close().await;
}

async fn a_claim_of_long_texts_ends_at_its_budget(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    // As if they had been there before texts were limited.
    let (unguarded, long) = match kind {
        StoreKind::Sqlite => (
            "DROP TRIGGER callback_queue_set_origin",
            "printf('%.*c', 10000000, 'x')",
        ),
        StoreKind::Postgres => (
            "DROP TRIGGER callback_queue_text_length ON callback_queue",
            "repeat('x', 10000000)",
        ),
    };
    backend.sql(unguarded);
    let changes = [
        ("subject", long),
        ("origin", "'https://one.example'"),
        ("next_attempt_at", "1"),
    ];
    for order in ["a", "b", "c"] {
        backend.sql(&insert(&format!("{ONE}/x"), order, &changes));
    }
    let claimed = claim_of(&*queue, ONE, 3, at(0)).await;
    assert_eq!(claimed.len(), 2, "the second brings it over the budget");
    let claimed = claim_of(&*queue, ONE, 3, at(0)).await;
    assert_eq!(claimed.len(), 1);
    queue.close().await;
}

async fn an_outcome_moves_its_row_on_and_is_logged(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    enqueue(&*queue, &["a"], at(0)).await;
    let claimed = claim_one(&*queue, at(1)).await;
    let retry = Next::RetryAt(at(301));
    let recorded = record(&*queue, claimed, Outcome::Refused, retry, at(1)).await;
    assert_eq!(recorded, Recorded::Applied);
    let due = at(301).as_millis();
    assert_eq!(row(&backend), format!("pending|1|{due}|1|refused|0|1|1"));
    let claimed = claim_one(&*queue, at(301)).await;
    assert_eq!(claimed.attempts, 1);
    let recorded = record(
        &*queue,
        claimed,
        Outcome::Acknowledged,
        Next::Delivered,
        at(301),
    )
    .await;
    assert_eq!(recorded, Recorded::Applied);
    let finished = at(301).as_millis() + 120;
    assert_eq!(
        row(&backend),
        format!("delivered|2|0|2|acknowledged|{finished}|1|1")
    );
    let log = backend.inspection().await.attempts(CallbackId(1)).await;
    let log = log.expect("readable");
    let seqs: Vec<_> = log
        .iter()
        .map(|a| (a.seq, &a.outcome[..], a.counted))
        .collect();
    assert_eq!(seqs, [(1, "refused", true), (2, "acknowledged", true)]);
    let last = &log[1];
    let excerpt = last.response_excerpt.as_deref().expect("kept");
    assert!(
        excerpt.starts_with('a') && excerpt.ends_with("b ສະບາຍດີ"),
        "{excerpt:?}"
    );
    assert_eq!(last.remote_addr.as_deref(), Some("192.0.2.7:443"));
    assert_eq!(last.sent_timestamp, Some(at(301).as_millis()));
    assert_eq!(last.phases.get("head"), Some(&7));
    assert_eq!(last.detail, "it was acknowledged");
    queue.close().await;
}

async fn a_record_under_a_lost_lease_changes_nothing(kind: StoreKind) {
    let lost = [
        "UPDATE callback_queue SET lease_token = lease_token / 2 + 1",
        "UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL, finished_at = 1,
           leased_at = NULL, leased_until = NULL, lease_token = NULL",
    ];
    for meanwhile in lost {
        let backend = Backend::new(kind);
        let queue = backend.queue().await;
        enqueue(&*queue, &["a"], at(0)).await;
        let claimed = claim_one(&*queue, at(1)).await;
        backend.sql(meanwhile);
        let before = row(&backend);
        let (outcome, next) = (Outcome::Acknowledged, Next::Delivered);
        let recorded = record(&*queue, claimed, outcome, next, at(1)).await;
        assert_eq!(recorded, Recorded::LeaseLost, "{meanwhile}");
        assert_eq!(row(&backend), before, "{meanwhile}");
        assert_eq!(backend.sql("SELECT count(*) FROM callback_attempt"), "0");
        queue.close().await;
    }
}

async fn released_callbacks_are_due_as_before(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    enqueue(&*queue, &["a", "b"], at(0)).await;
    let before = row(&backend);
    let claimed = claim_of(&*queue, ONE, 2, at(1)).await;
    assert_ne!(row(&backend), before);
    let leases = claimed.into_iter().map(|claimed| claimed.lease).collect();
    queue.release(leases).await.expect("given back");
    assert_eq!(row(&backend), before);
    assert_eq!(backend.sql("SELECT count(*) FROM callback_attempt"), "0");
    queue.close().await;
}

async fn callbacks_of_a_dead_dispatcher_are_interrupted_and_due(kind: StoreKind) {
    let backend = Backend::new(kind);
    let dead = backend.queue().await;
    enqueue(&*dead, &["a"], at(0)).await;
    let claimed = claim_one(&*dead, at(1)).await;
    dead.close().await;
    drop(dead);
    let queue = backend.queue().await;
    assert_eq!(queue.interrupt_in_flight(at(9)).await, Ok(1));
    let due = at(9).as_millis();
    assert_eq!(
        row(&backend),
        format!("pending|0|{due}|1|interrupted|0|1|1")
    );
    let log = "SELECT seq, outcome, counted, started_at FROM callback_attempt";
    let started = at(1).as_millis();
    assert_eq!(backend.sql(log), format!("1|interrupted|0|{started}"));
    let next = Next::RetryAt(at(2));
    let late = record(&*queue, claimed, Outcome::Timeout, next, at(1)).await;
    assert_eq!(late, Recorded::LeaseLost);
    assert_eq!(queue.interrupt_in_flight(at(9)).await, Ok(0));
    queue.close().await;
}

async fn an_attempt_is_uncounted_once(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    enqueue(&*queue, &["a"], at(0)).await;
    let claimed = claim_one(&*queue, at(1)).await;
    let _ = record(&*queue, claimed, Outcome::Connect, Next::Exhausted, at(1)).await;
    let charged = |id, seq| AttemptKey {
        id: CallbackId(id),
        seq,
    };
    let uncount = Uncount {
        attempts: vec![charged(1, 1), charged(1, 2), charged(5, 1)],
        reason: "; not counted",
        due: at(15),
    };
    let unknown = queue.uncount(uncount.clone()).await;
    assert_eq!(unknown, Ok(vec![charged(1, 2), charged(5, 1)]));
    let due = at(15).as_millis();
    assert_eq!(row(&backend), format!("pending|0|{due}|1|connect|0|1|1"));
    let log = "SELECT counted, detail FROM callback_attempt";
    assert_eq!(backend.sql(log), "0|it was connect; not counted");
    let again = queue.uncount(uncount).await.expect("nothing to do");
    assert_eq!(again.len(), 2);
    assert_eq!(row(&backend), format!("pending|0|{due}|1|connect|0|1|1"));
    queue.close().await;
}

async fn a_survey_lists_the_endpoints_in_steps(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    for (n, origin) in [
        "https://c.example",
        "https://a.example",
        "https://b.example",
    ]
    .into_iter()
    .enumerate()
    {
        let n = i64::try_from(n).expect("few");
        enqueue_for(&*queue, origin, &[&format!("{n}-late")], at(100 + n)).await;
        enqueue_for(&*queue, origin, &[&format!("{n}-early")], at(n)).await;
    }
    backend.sql(&other_app("'10'", "https://z.example"));
    let mut next = None;
    let mut seen = Vec::new();
    loop {
        let survey = queue.survey(next, 2).await.expect("surveyed");
        assert!(survey.due.len() <= 2, "{survey:?}");
        seen.extend(survey.due.into_iter().map(|EndpointDue { endpoint, due }| {
            let Endpoint { app_id, origin } = endpoint;
            (app_id.to_string(), origin.to_string(), due)
        }));
        next = survey.next;
        if next.is_none() {
            break;
        }
    }
    let expected = [
        ("10", "https://z.example", 0),
        ("6", "https://a.example", 1),
        ("6", "https://b.example", 2),
        ("6", "https://c.example", 0),
    ]
    .map(|(app, origin, due)| (app.to_owned(), origin.to_owned(), at(due)));
    assert_eq!(seen, expected);
    queue.close().await;
}

async fn all_of_a_batch_is_queued_or_nothing(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    enqueue(&*queue, &["a"], at(0)).await;
    let callbacks = ["b", "a", "c"].map(|order| payment(ONE, order)).to_vec();
    match queue.enqueue(callbacks, at(1)).await {
        Err(EnqueueError::Row {
            position: 1,
            source: StoreError::Refused(why),
        }) => assert!(why.contains("callback_one_per_payment"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(backend.sql("SELECT count(*) FROM callback_queue"), "1");
    queue.close().await;
}

on_both!(
    a_claim_of_long_texts_ends_at_its_budget,
    a_claim_takes_the_earliest_due_of_each_endpoint_and_tells_the_next,
    an_outcome_moves_its_row_on_and_is_logged,
    a_record_under_a_lost_lease_changes_nothing,
    released_callbacks_are_due_as_before,
    callbacks_of_a_dead_dispatcher_are_interrupted_and_due,
    an_attempt_is_uncounted_once,
    a_survey_lists_the_endpoints_in_steps,
    all_of_a_batch_is_queued_or_nothing,
);
