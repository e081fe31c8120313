//! Several dispatchers of one queue, and what becomes of them: one is killed with `kill -9`, one is
//! stopped for longer than a lease and woken, the server is restarted. In the end every row must have
//! ended once, and nothing that was acknowledged may have been sent again: the merchants' journal is
//! held against the database, callback by callback ([`audit`]).
//!
//! `scripts/fleet-campaign` runs many rounds against the release build. A plain test run has a short
//! one.

mod audit;
mod leaving;
mod world;

use std::time::Duration;

use callback_dispatcher::clock::Stopwatch;
use tokio::time::sleep;

use crate::campaign::merchants::now;
use crate::campaign::{Chance, told};
use crate::support::process::Process;
use crate::support::waiting::{holds_within, until_within};
use world::World;

/// For everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows of the round in a plain test run.
const FEW: u64 = 2000;

/// Rows of a round of the campaign.
const MANY: u64 = 20_000;

/// Rounds of the campaign.
const ROUNDS: u64 = 20;

/// The kill, the stop and the restart are each begun by then, in milliseconds, while most of the
/// rows are still there.
const EVENTS_WITHIN: u64 = 7000;

/// How long a dispatcher is stopped at least: as long as a lease stands.
const STOPPED_FOR: Duration = Duration::from_secs(15);

/// How much longer at most, in milliseconds.
const LONGER: u64 = 8000;

/// In every other round it wakes within so many milliseconds after others have taken over what it had
/// claimed, while they are at it.
const TAKEN_FOR: u64 = 1500;

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(1);

/// What comes of it, added up.
#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    rows: u64,
    posts: usize,
    interrupted: u64,
    violations: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_loses_members_and_its_server_ends_every_row_once() {
    campaign(1, FEW).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes many minutes: scripts/fleet-campaign runs it"]
async fn many_fleets() {
    let rounds = told("FLEET_ROUNDS").unwrap_or(ROUNDS);
    campaign(rounds, told("FLEET_ROWS").unwrap_or(MANY)).await;
}

#[expect(
    clippy::print_stdout,
    reason = "the seed and the counts are for whoever runs the campaign"
)]
async fn campaign(rounds: u64, rows: u64) {
    let seed = told("FLEET_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    println!("FLEET_SEED={seed}");
    let mut chance = Chance(seed);
    let mut counts = Counts::default();
    let since = Stopwatch::start();
    for number in 1..=rounds {
        let begun = Stopwatch::start();
        round(number, rows, &mut chance, &mut counts).await;
        println!(
            "round {number}: {} POSTs, {} interrupted, {} violations so far; {:.0} s",
            counts.posts,
            counts.interrupted,
            counts.violations.len(),
            begun.elapsed().as_secs_f64()
        );
    }
    println!(
        "fleet: {} rounds, {} rows, {} POSTs, {} interrupted, {} violations, {:.0} s",
        counts.rounds,
        counts.rows,
        counts.posts,
        counts.interrupted,
        counts.violations.len(),
        since.elapsed().as_secs_f64()
    );
    let shown = &counts.violations[..counts.violations.len().min(20)];
    assert!(
        shown.is_empty(),
        "{} violations:\n{}",
        counts.violations.len(),
        shown.join("\n")
    );
    assert!(counts.interrupted > 0, "nobody had an attempt in flight");
}

async fn round(number: u64, rows: u64, chance: &mut Chance, counts: &mut Counts) {
    let world = World::new(rows).await;
    let mut dispatchers = Vec::new();
    for _ in 0..3 {
        dispatchers.push(world.dispatcher().await);
    }
    let mut killed = dispatchers.remove(chance.index(3));
    let stopped = dispatchers.remove(chance.index(2));
    let moments = [(); 3].map(|()| Duration::from_millis(chance.below(EVENTS_WITHIN)));
    let longer = Duration::from_millis(chance.below(LONGER));
    let taken_for = Duration::from_millis(chance.below(TAKEN_FOR));
    tokio::join!(
        async {
            sleep(moments[0]).await;
            killed.kill();
        },
        async {
            sleep(moments[1]).await;
            stopped.signal("STOP");
            if number.is_multiple_of(2) {
                sleep(STOPPED_FOR + longer).await;
            } else {
                taken_over(&world).await;
                sleep(taken_for).await;
            }
            stopped.signal("CONT");
        },
        async {
            sleep(moments[2]).await;
            tokio::task::block_in_place(|| world.server.stop());
            sleep(AWAY).await;
            tokio::task::block_in_place(|| world.server.start());
        },
    );
    dispatchers.push(stopped);
    all_end(&world, &dispatchers).await;
    let mut logs = vec![killed.said()];
    for dispatcher in dispatchers {
        logs.push(dispatcher.stops().await);
    }
    let (interrupted, mut faults) = world.faults();
    let of_the_table = world.faults_of_the_table();
    let has_left_traces = !of_the_table.is_empty();
    faults.extend(of_the_table);
    for said in &logs {
        let panics = said.lines().filter(|line| line.contains("panicked"));
        faults.extend(panics.map(str::to_owned));
        if has_left_traces {
            faults.push(said.lines().last().unwrap_or_default().to_owned());
        }
    }
    counts.rounds += 1;
    counts.rows += rows;
    counts.posts += world.journal.count();
    counts.interrupted += interrupted;
    counts.violations.extend(faults);
}

/// Returns when nothing is in flight that was claimed before this moment.
async fn taken_over(world: &World) {
    let since = now();
    let taken_over = async || world.in_flight_since(since) == Some(0);
    until_within(PATIENCE, "the others take over", taken_over).await;
}

/// Returns when no row is pending.
async fn all_end(world: &World, dispatchers: &[Process]) {
    if !holds_within(PATIENCE, async || world.pending() == Some(0)).await {
        let said: Vec<String> = dispatchers.iter().map(Process::said).collect();
        let pending = world.some_pending();
        panic!(
            "pending after {PATIENCE:?}:\n{pending}\n{}",
            said.join("\n")
        );
    }
}
