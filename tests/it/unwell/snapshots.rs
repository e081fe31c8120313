//! A snapshot that another session holds for long: what is dead stays where it is.

use std::time::Duration;

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::{ClaimResult, Endpoint};
use serde_json::Value;

use super::world::World;
use crate::support::attempt::claim;
use crate::support::callback::{insert, insert_rows};
use crate::support::waiting::until_within;

const ORIGIN: &str = "https://one.example";
const URL: &str = "https://one.example/callback";

/// So many that a walk over their dead entries takes long.
const FINISHED: usize = 60_000;

/// All that waits is claimed and delivered.
const DELIVER_ALL: &str = "
UPDATE callback_queue SET leased_until = 1, leased_at = 1, lease_token = 1;
UPDATE callback_queue SET leased_until = NULL, leased_at = NULL, lease_token = NULL, state = 'delivered',
  next_attempt_at = NULL, finished_at = callback_now(), last_outcome = 'acknowledged'";

fn ids(result: &ClaimResult) -> Vec<usize> {
    let ids = result.callbacks.iter().map(|claimed| claimed.lease.id().0);
    ids.map(|id| usize::try_from(id).expect("it is positive"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_go_on_where_the_last_one_has_ended_and_find_what_was_due_before() {
    let world = World::new().await;
    world.place.sql(&insert_rows(FINISHED, URL, &[]));
    let rival = world.rival().await;
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM callback_queue LIMIT 1";
    rival.batch_execute(hold).await.expect("held");
    world.place.sql(DELIVER_ALL);
    let waits = |order: &str, due: i64| {
        let due = format!("callback_now() + {due}");
        world
            .place
            .sql(&insert(URL, order, &[("next_attempt_at", &due)]));
    };
    for n in 1..=3 {
        waits(&format!("late-{n}"), -1000 + n);
    }
    let queue = world.place.store().open("this test").await.expect("opened");
    let one = async |now: Timestamp| {
        let mut results = claim(&*queue, &[(Endpoint::new("6", ORIGIN), 1)], now).await;
        results.remove(0)
    };
    let found = one(world.now()).await;
    assert_eq!(ids(&found), [FINISHED + 1]);

    waits("early", -60_000);
    let found = one(world.now()).await;
    assert_eq!(ids(&found), [FINISHED + 2], "the walk goes on");
    let again = found.then_due.expect("something waits");
    let patience = Duration::from_secs(20);
    assert!(again <= world.now().after(patience), "{again}");
    until_within(patience, "the early one is claimed", async || {
        ids(&one(world.now()).await) == [FINISHED + 4]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_names_the_session_that_holds_the_oldest_snapshot() {
    let world = World::new().await;
    let oldest = || {
        let said = world.place.ask(&["stats", "--json"]);
        let numbers: Value = serde_json::from_str(&said.out).expect("JSON");
        numbers["oldest_snapshot"].clone()
    };
    assert_eq!(oldest(), Value::Null);
    let rival = world.rival().await;
    let hold = "SET application_name = 'report';
      BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM callback_queue LIMIT 1";
    rival.batch_execute(hold).await.expect("held");
    let oldest = oldest();
    let holder = oldest["holder"].as_str().expect("somebody holds it");
    assert!(holder.ends_with("of postgres, report"), "{oldest}");
    assert!(oldest["seconds"].as_u64() < Some(60), "{oldest}");
}
