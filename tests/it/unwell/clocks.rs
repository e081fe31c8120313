//! Clocks that differ from the server's, or are set. The server's is what `callback_now()` says, so a
//! database can have one of its own.

use std::time::Duration;

use super::world::World;
use crate::support::waiting::until;

/// The clock of the world's database is ahead of this host's by so many seconds.
fn set_the_servers_clock(world: &World, ahead_s: i64) {
    world.place.sql(&format!(
        "CREATE OR REPLACE FUNCTION callback_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
         AS 'SELECT floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint + {ahead_s} * 1000'"
    ));
}

async fn callbacks_are_sent_when_the_server_says_that_they_are_due(ahead_s: i64) {
    let world = World::new().await;
    set_the_servers_clock(&world, ahead_s);
    let mut dispatcher = world.dispatcher().await;
    dispatcher.says("clock and the server's differ").await;
    world.queue(20);
    let delivered = world.all_delivered_within(Duration::from_secs(5)).await;
    assert!(delivered, "{}", dispatcher.said());
    let late = "SELECT count(*) FROM callback_queue
         WHERE finished_at NOT BETWEEN created_at AND created_at + 5000";
    assert_eq!(world.place.sql(late), "0", "all times are the server's");
    let skew = world.place.ask(&["check"]).done();
    assert!(skew.contains("ahead of this host's"), "{skew}");
    dispatcher.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_whose_clock_is_behind_sends_in_time() {
    callbacks_are_sent_when_the_server_says_that_they_are_due(300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_whose_clock_is_ahead_sends_in_time() {
    callbacks_are_sent_when_the_server_says_that_they_are_due(-300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_when_it_is_due_by_the_servers_clock() {
    let world = World::refusing("5m").await;
    set_the_servers_clock(&world, -360);
    let dispatcher = world.dispatcher().await;
    world.queue(1);
    world.until_posts(1).await;
    let due_in = "SELECT (next_attempt_at - callback_now()) / 1000 FROM callback_queue
         WHERE attempts = 1 AND leased_until IS NULL";
    until("the refusal is recorded", async || {
        !world.place.sql(due_in).is_empty()
    })
    .await;
    let due_in: i64 = world.place.sql(due_in).parse().expect("a number");
    assert!((280..=300).contains(&due_in), "in {due_in} s");
    dispatcher.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_twice_because_the_servers_clock_is_set() {
    for ahead_s in [20, -20] {
        let world = World::new().await;
        world.queue(1000);
        let dispatchers = [world.dispatcher().await, world.dispatcher().await];
        world.until_posts(200).await;
        set_the_servers_clock(&world, ahead_s);
        let delivered = world.all_delivered_within(Duration::from_secs(60)).await;
        assert!(delivered, "{ahead_s}: {}", dispatchers[0].said());
        assert_eq!(world.doubled(), 0, "{ahead_s}");
        for dispatcher in dispatchers {
            dispatcher.stops().await;
        }
    }
}
