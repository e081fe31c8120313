//! The dispatcher's side: claims, outcomes, leases.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::domain::{
    CallbackId, NewCallback, Next, Outcome, PhaseTimes, Timestamp, Verdict,
};
use callback_dispatcher::store::{
    Attempt, ChargedAttempt, Claim, ClaimRequest, ClaimResult, ClaimedCallback, CompletedAttempt,
    Endpoint, EndpointDue, EnqueueError, Queue, Recorded, Refund, Retention, Sent, StoreError,
};

use super::Backend;

pub(super) const ONE: &str = "https://one.example";
const TWO: &str = "https://two.example:8443";

pub(super) const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + 1000 * seconds)
}

fn payment(origin: &str, order: &str) -> NewCallback {
    let line = serde_json::json!({
        "kind": "payment", "callBackUrl": format!("{origin}/callback?order={order}"), "appId": "6",
        "payMethod": 1, "orderAmt": "123.00", "currency": "LAK", "newpayOrderNo": order,
        "orderNo": format!("shop-{order}"), "subject": "ກາເຟ", "result": "success",
        "transInfo": "Transaction Success", "settlementStatus": 1,
    });
    NewCallback::from_json_line(&line.to_string()).expect("a payment")
}

pub(super) async fn enqueue(queue: &Arc<dyn Queue>, origin: &str, orders: &[&str], now: Timestamp) {
    let callbacks = orders.iter().map(|order| payment(origin, order)).collect();
    queue.enqueue(callbacks, now).await.expect("queued");
}

/// A row as a gateway writes it, due since the beginning.
fn insert(app_id: &str, origin: &str, order: &str) -> String {
    format!(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
           newpay_order_no, order_no, result, settlement_status, next_attempt_at)
         VALUES ('payment', '{origin}/x', '{app_id}', 1, '1', 'LAK', '{order}', '{order}', 'success', 1,
           {due})",
        due = at(0).as_millis()
    )
}

/// Claims for app 6.
pub(super) async fn claim(
    queue: &Arc<dyn Queue>,
    requests: &[(&str, usize)],
    now: Timestamp,
) -> Vec<ClaimResult> {
    let requests = requests.iter().map(|(origin, limit)| ClaimRequest {
        endpoint: Endpoint::new("6", origin),
        limit: *limit,
    });
    let claim = Claim {
        requests: requests.collect(),
        now,
        lease: Duration::from_secs(40),
    };
    queue.claim(claim).await.expect("claimed")
}

/// The one callback of this origin that is due.
async fn claim_one(queue: &Arc<dyn Queue>, now: Timestamp) -> ClaimedCallback {
    let mut results = claim(queue, &[(ONE, 1)], now).await;
    results[0].callbacks.pop().expect("one is due")
}

pub(super) fn attempt(outcome: Outcome, started_at: Timestamp) -> Attempt {
    Attempt {
        started_at,
        duration: Duration::from_millis(120),
        verdict: Verdict {
            outcome,
            counted: outcome.is_counted(),
            detail: format!("it was {outcome}"),
        },
        http_status: Some(200),
        response_excerpt: Some("a\0b ສະບາຍດີ".to_owned()),
        remote_addr: "192.0.2.7:443".parse().ok(),
        sent: Some(Sent {
            timestamp: started_at,
            sign: "c2lnbg==".to_owned(),
            key_id: "2026-11".to_owned(),
            body_sha256: "ab".repeat(32),
        }),
        phase: None,
        phases: PhaseTimes {
            head: Some(Duration::from_millis(7)),
            ..PhaseTimes::default()
        },
    }
}

async fn record(
    queue: &Arc<dyn Queue>,
    claimed: ClaimedCallback,
    outcome: Outcome,
    next: Next,
    now: Timestamp,
) -> Recorded {
    let ended = CompletedAttempt {
        claimed,
        endpoint: Endpoint::new("6", ONE),
        attempt: Box::new(attempt(outcome, now)),
        next,
    };
    let mut recorded = queue.record(vec![ended]).await.expect("recorded");
    recorded.pop().expect("one answer").recorded
}

const ROW: &str = "SELECT state, attempts, coalesce(next_attempt_at, 0), attempt_seq,
  coalesce(last_outcome, ''), coalesce(finished_at, 0), leased_until IS NULL, lease_token IS NULL
  FROM callback_queue ORDER BY id";

/// `1` and `t` are the same truth.
fn row(backend: &Backend) -> String {
    backend.sql(ROW).replace("|t", "|1").replace("|f", "|0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_takes_the_earliest_due_of_each_endpoint_and_says_what_comes_then() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a", "b", "c"], at(0)).await;
        enqueue(&queue, TWO, &["d"], at(1)).await;
        enqueue(&queue, ONE, &["later"], at(60)).await;
        // The same origin, but another endpoint.
        backend.sql(&insert("7", ONE, "other"));
        let requests = [(TWO, 5), (ONE, 2), ("https://nobody.example", 3)];
        let results = claim(&queue, &requests, at(2)).await;
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
        assert_eq!(callback.callback_url, format!("{ONE}/callback?order=a"));
        assert_eq!((first.attempts, first.created_at), (0, at(0)));
        let results = claim(&queue, &[(ONE, 9)], at(2)).await;
        assert_eq!(
            ids(&results[0]),
            [3],
            "nothing twice, nothing early, no other app's"
        );
        assert_eq!(results[0].then_due, Some(at(60)));
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_moves_its_row_on_and_is_logged() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a"], at(0)).await;
        let claimed = claim_one(&queue, at(1)).await;
        let retry = Next::RetryAt(at(301));
        let recorded = record(&queue, claimed, Outcome::Refused, retry, at(1)).await;
        assert_eq!(recorded, Recorded::Applied);
        let due = at(301).as_millis();
        assert_eq!(row(&backend), format!("pending|1|{due}|1|refused|0|1|1"));
        let claimed = claim_one(&queue, at(301)).await;
        assert_eq!(claimed.attempts, 1);
        let recorded = record(
            &queue,
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_lost_changes_nothing() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a"], at(0)).await;
        let claimed = claim_one(&queue, at(1)).await;
        backend.sql("UPDATE callback_queue SET lease_token = 7");
        let before = row(&backend);
        let recorded = record(
            &queue,
            claimed,
            Outcome::Acknowledged,
            Next::Delivered,
            at(1),
        )
        .await;
        assert_eq!(recorded, Recorded::LeaseLost);
        assert_eq!(row(&backend), before);
        assert_eq!(backend.sql("SELECT count(*) FROM callback_attempt"), "0");
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_is_as_due_as_it_was() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a", "b"], at(0)).await;
        let before = row(&backend);
        let mut shares = claim(&queue, &[(ONE, 2)], at(1)).await;
        assert_ne!(row(&backend), before);
        let claimed = std::mem::take(&mut shares[0].callbacks);
        let leases = claimed.into_iter().map(|claimed| claimed.lease).collect();
        queue.release(leases).await.expect("given back");
        assert_eq!(row(&backend), before);
        assert_eq!(backend.sql("SELECT count(*) FROM callback_attempt"), "0");
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_dispatcher_has_left_is_interrupted_and_due() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a"], at(0)).await;
        let claimed = claim_one(&queue, at(1)).await;
        backend.sql("UPDATE callback_queue SET leased_until = 1");
        assert_eq!(queue.interrupt_in_flight(at(9)).await, Ok(1));
        let due = at(9).as_millis();
        assert_eq!(
            row(&backend),
            format!("pending|0|{due}|1|interrupted|0|1|1")
        );
        let log = "SELECT seq, outcome, counted, started_at FROM callback_attempt";
        let started = at(1).as_millis();
        assert_eq!(backend.sql(log), format!("1|interrupted|0|{started}"));
        let late = record(
            &queue,
            claimed,
            Outcome::Acknowledged,
            Next::Delivered,
            at(1),
        )
        .await;
        assert_eq!(late, Recorded::LeaseLost);
        assert_eq!(queue.interrupt_in_flight(at(9)).await, Ok(0));
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_gives_an_attempt_back() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a"], at(0)).await;
        let claimed = claim_one(&queue, at(1)).await;
        let _ = record(&queue, claimed, Outcome::Connect, Next::Exhausted, at(1)).await;
        let charged = |id, seq| ChargedAttempt {
            id: CallbackId(id),
            seq,
        };
        let refund = Refund {
            attempts: vec![charged(1, 1), charged(1, 2), charged(5, 1)],
            reason: "; not counted",
            due: at(15),
        };
        let unknown = queue.refund(refund.clone()).await;
        assert_eq!(unknown, Ok(vec![charged(1, 2), charged(5, 1)]));
        let due = at(15).as_millis();
        assert_eq!(row(&backend), format!("pending|0|{due}|1|connect|0|1|1"));
        let log = "SELECT counted, detail FROM callback_attempt";
        assert_eq!(backend.sql(log), "0|it was connect; not counted");
        let again = queue.refund(refund).await.expect("nothing to do");
        assert_eq!(again.len(), 2);
        assert_eq!(row(&backend), format!("pending|0|{due}|1|connect|0|1|1"));
        queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_lists_the_endpoints_in_steps() {
    for backend in Backend::both() {
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
            enqueue(&queue, origin, &[&format!("{n}-late")], at(100 + n)).await;
            enqueue(&queue, origin, &[&format!("{n}-early")], at(n)).await;
        }
        backend.sql(&insert("10", "https://z.example", "other"));
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
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_batch_is_queued_or_nothing() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        enqueue(&queue, ONE, &["a"], at(0)).await;
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
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_the_oldest_with_their_attempts() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        for (n, next) in [
            Next::Delivered,
            Next::Delivered,
            Next::Exhausted,
            Next::Delivered,
        ]
        .into_iter()
        .enumerate()
        {
            let n = i64::try_from(n).expect("few");
            enqueue(&queue, ONE, &[&n.to_string()], at(10 * n)).await;
            let claimed = claim_one(&queue, at(10 * n)).await;
            let _ = record(&queue, claimed, Outcome::Refused, next, at(10 * n)).await;
        }
        let retention = Retention {
            delivered_before: at(15),
            exhausted_before: at(15),
            limit: 1,
        };
        assert_eq!(queue.prune(retention).await, Ok(1));
        assert_eq!(
            queue
                .prune(Retention {
                    limit: 5,
                    ..retention
                })
                .await,
            Ok(1)
        );
        assert_eq!(queue.prune(retention).await, Ok(0));
        assert_eq!(
            backend.sql("SELECT id FROM callback_queue ORDER BY id"),
            "3\n4"
        );
        let log = "SELECT callback_id FROM callback_attempt ORDER BY callback_id";
        assert_eq!(backend.sql(log), "3\n4");
        queue.close().await;
    }
}
