//! Other processes that are in the way.
//!
//! | case | what is right |
//! |---|---|
//! | a writer holds the lock | says so; sends only what was claimed before; goes on when it is free |
//! | the same, and SIGTERM | ends within the drain timeout with 0; the next start takes over |
//! | a reader holds a snapshot | delivers all the same; the log shrinks when it is gone |

use std::fs;
use std::time::Duration;

use rusqlite::Connection;

use super::merchants::Behaviour;
use super::program::Program;
use super::world::{World, assert_none};
use super::{SHORT_TIMEOUTS, tally, told, until};

/// How long the lock is held in a plain test run. SQLite says nothing of it in the first 5 s.
const HOLD_SECONDS: u64 = 7;

const BEHAVIOURS: [Behaviour; 3] = [
    Behaviour::Healthy,
    Behaviour::Slow(Duration::from_millis(200)),
    Behaviour::Refusing,
];

const WORDS: &str = "another process holds the queue's write lock";

/// The lock, held until this is dropped.
fn hold(world: &World) -> Connection {
    let rogue = world.connect();
    let held = rogue.execute_batch("BEGIN IMMEDIATE");
    held.expect("the lock");
    rogue
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_holds_the_lock_is_waited_for() {
    let world = World::new(&BEHAVIOURS, SHORT_TIMEOUTS).await;
    world.queue(600);
    let mut daemon = Program::default().start(&world);
    until("POSTs", || world.journal.count() > 100).await;
    let rogue = hold(&world);
    daemon.says(WORDS).await;
    let seconds = told("CRASH_HOLD_SECONDS").unwrap_or(HOLD_SECONDS);
    tokio::time::sleep(Duration::from_secs(seconds - 5)).await;
    // All that was claimed has been sent meanwhile, and nothing else.
    assert_none(&world.faults_since(0));
    assert!(
        world.count("leased_until IS NOT NULL") > 0,
        "nothing waits to be recorded"
    );
    assert!(
        world.count("state = 'pending'") > 0,
        "the lock came too late"
    );

    drop(rogue);
    world.until_nothing_is_pending(&mut daemon).await;
    daemon.ready().await.stops().await;
    assert_none(&world.faults_in_the_end());
    assert_eq!(world.interrupted(), 0, "nothing was taken for lost");
    tally::passed("a writer holds the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_lock() {
    let world = World::new(&BEHAVIOURS, SHORT_TIMEOUTS).await;
    world.queue(600);
    let daemon = Program::default().start(&world);
    until("POSTs", || world.journal.count() > 100).await;
    let rogue = hold(&world);
    daemon.ready().await.stops().await;
    assert_none(&world.faults_since(0));
    drop(rogue);
    world.ends_well().await;
    tally::passed("a writer holds the lock, SIGTERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_holds_a_snapshot_stops_nothing() {
    let world = World::new(&BEHAVIOURS, SHORT_TIMEOUTS).await;
    world.queue(1500);
    let reader = world.connect();
    let pending = "SELECT count(*) FROM callback_queue WHERE state = 'pending'";
    let look = || reader.query_row(pending, [], |row| row.get::<_, usize>(0));
    let begun = reader.execute_batch("BEGIN");
    begun.expect("a snapshot");
    assert_eq!(look(), Ok(1500));

    let mut daemon = Program::default().start(&world);
    world.until_nothing_is_pending(&mut daemon).await;
    assert_eq!(look(), Ok(1500), "its snapshot stands");
    let log_bytes = || fs::metadata(world.path("queue.db-wal")).map_or(0, |log| log.len());
    let grown = log_bytes();
    assert!(grown > 4 << 20, "the log did not grow: {grown}");
    // So that nobody closes the log in order.
    daemon.kill();
    assert_eq!(log_bytes(), grown);
    drop(reader);
    let daemon = Program::default().start(&world);
    until("the log shrinks", || log_bytes() < grown / 4).await;
    daemon.ready().await.stops().await;
    assert_none(&world.faults_in_the_end());
    tally::passed("a reader holds a snapshot");
}
