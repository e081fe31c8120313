//! Several hosts, the first of which neither answers nor refuses.

use std::time::Duration;

use super::world::World;
use crate::support::proxy::Proxy;
use crate::support::waiting::until_within;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_first_host_keeps_nobody_from_the_second() {
    let world = World::new().await;
    let (first, second) = (
        Proxy::before(world.server.port()).await,
        Proxy::before(world.server.port()).await,
    );
    world.queue(400);
    let url = world.url_by(&format!(
        "127.0.0.1:{},127.0.0.1:{}",
        first.port(),
        second.port()
    ));
    let dispatcher = world.dispatcher_at(&url).await;
    world.until_posts(50).await;
    first.freeze();
    let before = world.journal.count();
    until_within(Duration::from_secs(20), "it sends again", async || {
        world.journal.count() > before + 100
    })
    .await;
    let fresh = world.dispatcher_at(&url).await;
    let delivered = world.all_delivered_within(Duration::from_secs(40)).await;
    assert!(delivered, "{}", dispatcher.said());
    assert_eq!(world.doubled(), 0);
    dispatcher.stops().await;
    fresh.stops().await;
}
