//! A dispatcher that is stopped, or a session that holds a lock: the others go on.

use std::time::Duration;

use callback_dispatcher::clock::Stopwatch;
use tokio::time::sleep;

use super::world::World;
use crate::support::attempt::claim_of;
use crate::support::callback::insert_rows;
use crate::support::proxy::Proxy;
use crate::support::waiting::{in_time, until, until_within};

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_is_not_read_is_committed() {
    let world = World::new().await;
    // More than the server can send unread.
    let subject = "repeat('x', 8000)";
    let url = "https://one.example/callback";
    world
        .place
        .sql(&insert_rows(2000, url, &[("subject", subject)]));
    let proxy = Proxy::before(world.server.port()).await;
    let queue = world.place.store().open_by("this test", proxy.port()).await;
    let now = world.now();
    // So that the statements are prepared.
    let none = claim_of(&*queue, "https://nobody.example", 1, now).await;
    assert!(none.is_empty());
    let claiming = {
        let queue = std::sync::Arc::clone(&queue);
        proxy.clog();
        tokio::spawn(async move {
            claim_of(&*queue, "https://one.example", 2000, now).await;
        })
    };
    let claimed = "SELECT count(*) FROM callback_queue WHERE leased_until IS NOT NULL";
    until_within(Duration::from_secs(5), "they are claimed", async || {
        world.place.sql(claimed) == "2000"
    })
    .await;
    claiming.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_row_that_another_session_locks_is_not_claimed_again_and_again() {
    let world = World::new().await;
    world.queue(1);
    let rival = world.rival().await;
    let lock = "BEGIN; SELECT FROM callback_queue FOR UPDATE";
    rival.batch_execute(lock).await.expect("locked");
    let dispatcher = world.dispatcher().await;
    let transactions = || {
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        world.place.sql(sql).parse::<i64>().expect("a number")
    };
    // What sessions count arrives in the view after a second.
    sleep(Duration::from_secs(2)).await;
    let before = transactions();
    sleep(Duration::from_secs(4)).await;
    let each_second = (transactions() - before) / 4;
    assert!(each_second < 50, "{each_second} transactions a second");
    rival.batch_execute("ROLLBACK").await.expect("ended");
    let delivered = world.all_delivered_within(Duration::from_secs(5)).await;
    assert!(delivered, "{}", dispatcher.said());
    dispatcher.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_is_stopped_inside_a_pause_stops_the_others_for_seconds() {
    let world = World::new().await;
    let proxy = Proxy::before(world.server.port()).await;
    let stopped = world.dispatcher_by(proxy.port()).await;
    proxy.swallow_the_answer_to("INSERT INTO paused");
    world.place.sql(
        "INSERT INTO operator_command (action, app_id, actor, reason) VALUES ('pause', '9', 'a', 'r')",
    );
    until("its answer is swallowed", async || proxy.has_swallowed()).await;
    stopped.signal("STOP");
    let since = Stopwatch::start();
    let other = in_time("the other dispatches", world.dispatcher()).await;
    world.queue(100);
    let delivered = world.all_delivered_within(Duration::from_secs(20)).await;
    assert!(delivered, "{:?}: {}", since.elapsed(), other.said());
    stopped.signal("CONT");
    other.stops().await;
    stopped.stops().await;
}
