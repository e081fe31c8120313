//! A dispatcher that leaves is gone at once: the others count on its share of the limits.

use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Server;
use crate::support::store::Store;

/// How often it is tried: what may go wrong is a matter of a millisecond.
const TIMES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_follows_a_dispatchers_leave() {
    let server = Server::own();
    let store = Store::Postgres(server.create_database());
    store.init();
    for time in 0..TIMES {
        let queue = store.open("leaver").await.expect("the server is there");
        // Each is a heartbeat.
        let asking: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { while queue.probe().await.is_ok() {} })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        queue.close().await;
        for asking in asking {
            asking.await.expect("a probe does not panic");
        }
        let left = store.sql("SELECT count(*) FROM dispatcher");
        assert_eq!(left, "0", "the {time}th time");
    }
}
