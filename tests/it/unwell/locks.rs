//! Another session locks what dispatchers have in flight, for longer than a lease.

use std::time::Duration;

use tokio::time::sleep;

use super::world::World;

/// Longer than anybody waits for.
const LOCKED_FOR: Duration = Duration::from_secs(30);

/// Callbacks; most are still to be sent when the lock is taken.
const ROWS: usize = 1500;

/// How long the rest may take afterwards.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// Another session locks with `sql` while `dispatchers` are at work.
async fn nothing_is_sent_twice(dispatchers: usize, sql: &str) {
    let world = World::new().await;
    world.queue(ROWS);
    let mut running = Vec::new();
    for _ in 0..dispatchers {
        running.push(world.dispatcher().await);
    }
    world.until_posts(ROWS / 10).await;
    let rival = world.rival().await;
    rival.batch_execute("BEGIN").await.expect("begun");
    rival.batch_execute(sql).await.expect("locked");
    // What is tested is what the dispatchers do in all this time.
    sleep(LOCKED_FOR).await;
    rival.batch_execute("ROLLBACK").await.expect("ended");
    let delivered = world.all_delivered_within(AFTERWARDS).await;
    let said: Vec<String> = running.iter().map(|process| process.said()).collect();
    assert!(delivered, "{}", said.join("\n"));
    assert_eq!(world.doubled(), 0, "{}", said.join("\n"));
    for process in running {
        process.stops().await;
    }
}

/// Rows in flight.
const ROWS_IN_FLIGHT: &str =
    "SELECT FROM callback_queue WHERE leased_until IS NOT NULL LIMIT 3 FOR UPDATE";

const TABLE: &str = "LOCK TABLE callback_queue IN ACCESS EXCLUSIVE MODE";

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_sends_nothing_twice_because_rows_were_locked() {
    nothing_is_sent_twice(1, ROWS_IN_FLIGHT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_send_nothing_twice_because_rows_were_locked() {
    nothing_is_sent_twice(2, ROWS_IN_FLIGHT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_sends_nothing_twice_because_the_table_was_locked() {
    nothing_is_sent_twice(1, TABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_send_nothing_twice_because_the_table_was_locked() {
    nothing_is_sent_twice(2, TABLE).await;
}
