//! A dispatcher that leaves is gone at once: the others count on its share of the limits.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::store::postgres::{Database, FleetTiming, PostgresQueue};
use callback_dispatcher::store::{Queue as _, Unobserved};

use crate::support::postgres::Server;

/// How often it is tried: what may go wrong is a matter of a millisecond.
const TIMES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn no_sign_of_life_comes_after_the_leave() {
    let server = Server::own();
    let database = server.create_database();
    let parsed = Database::parse(&database.url()).expect("a good URL");
    for time in 0..TIMES {
        let queue = PostgresQueue::open(
            &parsed,
            "leaver",
            FleetTiming::default(),
            Arc::new(Unobserved),
        )
        .await;
        let queue = Arc::new(queue.expect("the server is there"));
        // Each is a sign of life.
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
        let left = database.sql("SELECT count(*) FROM dispatcher");
        assert_eq!(left, "0", "the {time}th time");
    }
}
