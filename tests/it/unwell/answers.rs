//! An answer of the server never comes, although the connection stands.

use std::time::Duration;

use callback_dispatcher::clock::Stopwatch;

use super::world::World;
use crate::support::postgres::Server;
use crate::support::proxy::Proxy;
use crate::support::store::Store;
use crate::support::waiting::{in_time, until, until_within};

/// Text of the statement that claims.
const CLAIMS: &str = "lease_token = $5";

/// Text of the statement that records.
const RECORDS: &str = "INSERT INTO callback_attempt";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_owes_an_answer_is_given_up_and_replaced() {
    let server = Server::own();
    let store = Store::Postgres(server.create_database());
    store.init();
    let proxy = Proxy::before(server.port()).await;
    let queue = store.open_by("this test", proxy.port()).await;
    assert!(queue.newest().await.is_ok());
    proxy.mute_all();
    let since = Stopwatch::start();
    let unanswered = in_time("the deadline of a call", queue.newest()).await;
    let error = unanswered
        .expect_err("the answer was swallowed")
        .to_string();
    assert!(error.contains("no answer within 8 s"), "{error}");
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!(queue.newest().await.is_ok(), "a new connection serves");
    // The connection for heartbeats was muted as well.
    until("heartbeats succeed again", async || {
        queue.probe().await.is_ok()
    })
    .await;
    queue.close().await;
}

async fn a_swallowed_answer_delays_callbacks_by_seconds(statement: &'static str) {
    let world = World::new().await;
    let proxy = Proxy::before(world.server.port()).await;
    world.queue(2000);
    let mut unwell = world.dispatcher_by(proxy.port()).await;
    world.until_posts(100).await;
    proxy.swallow_the_answer_to(statement);
    until("an answer is swallowed", async || proxy.has_swallowed()).await;
    let well = world.dispatcher().await;
    let logged = "no answer within";
    until_within(Duration::from_secs(15), logged, async || {
        unwell.said().contains(logged)
    })
    .await;
    let delivered = world.all_delivered_within(Duration::from_secs(30)).await;
    assert!(delivered, "{}", unwell.said());
    assert_eq!(world.doubled(), 0);
    assert!(unwell.ended().is_none(), "{}", unwell.said());
    well.stops().await;
    unwell.stops().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_swallowed_answer_to_a_claim_delays_callbacks_by_seconds() {
    a_swallowed_answer_delays_callbacks_by_seconds(CLAIMS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_swallowed_answer_to_a_record_delays_callbacks_by_seconds() {
    a_swallowed_answer_delays_callbacks_by_seconds(RECORDS).await;
}
