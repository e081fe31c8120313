//! Several dispatchers of one queue.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::store::{Action, Endpoint, Remaining};

use super::super::Backend;
use super::{Fixture, ONE, TWO, app, at};
use crate::support::waiting::until;

/// Several at once, each in batchs of its own: nobody does what another has done.
#[tokio::test(flavor = "multi_thread")]
async fn several_dispatchers_do_each_callback_once() {
    const ROWS: usize = 2345;
    let fixture = Fixture::of(Backend::postgres()).await;
    let orders: Vec<String> = (0..ROWS).map(|n| n.to_string()).collect();
    let rows: Vec<_> = orders
        .iter()
        .map(|n| (&n[..], "exhausted", "6", ONE))
        .collect();
    fixture.insert(&rows);
    let resend = fixture.ask(Action::Resend, app("6")).await;
    let cancel = fixture
        .ask(Action::Cancel, |command| {
            command.selectors.until = Some(at(2000));
        })
        .await;
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let queue = fixture.backend.queue().await;
        working.spawn(async move {
            loop {
                let batch = queue
                    .carry_out(at(10), &|_| Ok(()))
                    .await
                    .expect("carried out");
                if batch.remaining == Remaining::Nothing {
                    break;
                }
            }
            queue.close().await;
        });
    }
    working.join_all().await;
    assert_eq!(
        fixture.answer(resend).await,
        "done|2345|2345|0|{}|resent 2345 of 2345 callbacks; queued, the last at 2023-11-14T22:13:53.440Z"
    );
    assert_eq!(
        fixture.answer(cancel).await,
        "done|2000|2000|0|{}|cancelled 2000 of 2000 callbacks"
    );
    let items = "SELECT what, count(*), count(DISTINCT callback_id) FROM operator_command_item
                 GROUP BY what ORDER BY what";
    assert_eq!(fixture.sql(items), "cancelled|2000|2000\nresent|2345|2345");
    let states = "SELECT state, count(*) FROM callback_queue GROUP BY state ORDER BY state";
    assert_eq!(fixture.sql(states), "cancelled|2000\npending|345");
}

/// A dispatcher that did not carry out the command is notified of what has become due.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_dispatchers_hear_of_what_is_resent() {
    let fixture = Fixture::of(Backend::postgres()).await;
    fixture.insert(&[("a", "exhausted", "6", TWO)]);
    let other = fixture.backend.queue().await;
    let newest = other.newest().await.expect("readable");
    fixture.ask(Action::Resend, app("6")).await;
    fixture.carry_out(at(10)).await;
    let hearing = async {
        loop {
            other.changed().await;
            let arrivals = other.arrivals(newest, 100).await.expect("readable");
            if !arrivals.due.is_empty() {
                return arrivals.due;
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(10), hearing).await;
    let heard = heard.expect("notified");
    assert_eq!(heard[0].endpoint, Endpoint::new("6", TWO));
}

/// A claim that has begun before a pause, and ends after it: what it has taken was in flight before
/// the pause is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_waits_for_the_claims_that_have_begun() {
    let fixture = Arc::new(Fixture::of(Backend::postgres()).await);
    fixture.insert(&[("a", "pending", "7", ONE), ("b", "pending", "7", ONE)]);
    fixture.sql(
        "CREATE TABLE gate (is_open boolean);
         INSERT INTO gate VALUES (false);
         CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           WHILE NOT (SELECT is_open FROM gate) LOOP
             PERFORM pg_sleep(0.01);
           END LOOP;
           RETURN NEW;
         END $$;
         CREATE TRIGGER wait_at_the_gate BEFORE UPDATE ON callback_queue FOR EACH ROW
           WHEN (OLD.leased_until IS NULL AND NEW.leased_until IS NOT NULL)
           EXECUTE FUNCTION wait_at_the_gate()",
    );
    let waits = |event: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = '{event}'"
        );
        fixture.sql(&sql) == "1"
    };
    let (claimant, operator) = (Arc::clone(&fixture), Arc::clone(&fixture));
    let claiming = tokio::spawn(async move { claimant.claim_of("7", ONE, 1, at(20)).await });
    until("the claim has begun", async || waits("PgSleep")).await;
    let asking = tokio::spawn(async move { operator.answered(Action::Pause, app("7")).await });
    until("the command waits", async || waits("relation")).await;
    fixture.sql("UPDATE gate SET is_open = true");
    asking.await.expect("answered");
    let in_flight = "SELECT count(leased_until) FROM callback_queue";
    assert_eq!(fixture.sql(in_flight), "1");
    claiming.await.expect("claimed");
}
