//! A server that has few connections to spare.

use std::time::Duration;

use super::world::World;

/// As many as a dispatcher makes for its start.
const ROLE: &str = "CREATE ROLE few LOGIN CONNECTION LIMIT 5;
  GRANT ALL ON ALL TABLES IN SCHEMA public TO few";

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_waits_for_the_connections_that_it_has_if_there_are_no_more() {
    let world = World::new().await;
    world.place.sql(ROLE);
    let url = world.place.store().url();
    let url = url.replacen("//postgres@", "//few@", 1);
    world.queue(400);
    let dispatcher = world.dispatcher_at(&url).await;
    let delivered = world.all_delivered_within(Duration::from_secs(60)).await;
    assert!(delivered, "{}", dispatcher.said());
    assert_eq!(world.doubled(), 0);
    let said = dispatcher.said();
    assert!(!said.contains("too many connections"), "{said}");
    dispatcher.stops().await;
}
