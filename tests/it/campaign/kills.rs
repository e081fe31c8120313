//! `kill -9`, again and again, at random moments and at named places of the program.
//!
//! A campaign is made of eras. Each has a queue of its own, so that everything can be looked at after
//! a death; a gateway that goes on queueing through all of it; and a sound end in which whatever is
//! owed must be delivered.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use super::merchants::Behaviour;
use super::program::Program;
use super::world::{World, assert_none};
use super::{Chance, tally, told, until};
use crate::support::process::Process;

/// Kills in a plain test run.
const FEW: u64 = 24;

/// Kills in one era.
const ERA: u64 = 50;

/// Rows that an era begins with; the gateway adds about fifty a second.
const ROWS: usize = 1500;

/// Old rows for a death between two batches of pruning: three batches.
const OLD_ROWS: usize = 600;

const BEHAVIOURS: [Behaviour; 7] = [
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::Healthy,
    Behaviour::Slow(Duration::from_millis(350)),
    Behaviour::Refusing,
    Behaviour::Closing,
    Behaviour::Fickle,
];

const SETTINGS: &str = r#"
[delivery]
max_in_flight = 64
max_in_flight_per_merchant = 12
timeout = "5s"
connect_timeout = "5s"
[housekeeping]
prune_cron = "* * * * * *"
"#;

/// The failpoints of the program, and the latest of the visits at which it dies there.
const FAILPOINTS: &[(&str, u64)] = &[
    ("start-before-reclaim", 1),
    ("reclaim-before-release", 1),
    ("start-after-reclaim", 1),
    ("claim-before-commit", 12),
    ("claim-after-commit", 12),
    ("send-before-first-byte", 80),
    ("send-after-answer", 80),
    ("record-before-log", 80),
    ("record-before-commit", 12),
    ("record-after-commit", 12),
    ("checkpoint", 1),
    ("prune-before-commit", 3),
    ("prune-between-batches", 3),
    ("drain", 1),
];

/// What comes of it, added up.
#[derive(Debug, Default)]
struct Counts {
    kills: BTreeMap<&'static str, usize>,
    rows: usize,
    posts: usize,
    interrupted: usize,
    /// POSTs beyond the first of a callback that the merchant had acknowledged already: its first
    /// acknowledgement was not recorded when the dispatcher died.
    repeated: usize,
    inspections: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_recorded_is_sent_again() {
    let kills = told("CRASH_KILLS").unwrap_or(FEW);
    let mut chance = Chance::new();
    let mut counts = Counts::default();
    let mut done = 0;
    while done < kills {
        let end = kills.min(done + ERA);
        era(done..end, &mut chance, &mut counts).await;
        done = end;
    }
    for (place, count) in &counts.kills {
        tally::count("kills", place, *count);
    }
    tally::count("sum", "rows", counts.rows);
    tally::count("sum", "POSTs", counts.posts);
    tally::count("sum", "interrupted attempts", counts.interrupted);
    tally::count(
        "sum",
        "repeated after an unrecorded acknowledgement",
        counts.repeated,
    );
    tally::count("sum", "inspections", counts.inspections);
    println!("{counts:?}");
    assert!(counts.interrupted > 0, "no kill found an attempt in flight");
}

async fn era(kills: std::ops::Range<u64>, chance: &mut Chance, counts: &mut Counts) {
    let world = World::new(&BEHAVIOURS, SETTINGS).await;
    let mut gateway = world.busy_gateway(chance.next(), ROWS);
    gateway.has_begun();
    let mut inspected = 0;
    for kill in kills {
        let death = life(&world, kill, chance).await;
        *counts.kills.entry(death).or_default() += 1;
        // Looking recovers what the crash has left. Half the time that is left to the dispatcher.
        if chance.below(2) == 0 {
            let faults = world.faults_since(inspected);
            assert!(
                faults.is_empty(),
                "after kill {kill}, {death}:\n{}",
                faults.join("\n")
            );
            inspected = world.journal.count();
            counts.inspections += 1;
        }
    }
    gateway.ends().await;
    let mut daemon = Program::default().start(&world);
    until("the old rows are pruned", || {
        world.count("order_no = 'OLD'") == 0
    })
    .await;
    daemon.kill();
    world.ends_well().await;
    assert_none(&world.faults());
    counts.rows += world.queued();
    counts.posts += world.journal.count();
    counts.interrupted += world.interrupted();
    counts.repeated += world.repeated();
}

/// Lets the program live until it is killed; returns where.
async fn life(world: &World, kill: u64, chance: &mut Chance) -> &'static str {
    let place = usize::try_from(kill / 2).expect("few") % FAILPOINTS.len();
    if kill.is_multiple_of(2) || !Program::has_failpoints() {
        let mut daemon = Program::default().start(world);
        // A quarter of them while it starts.
        let moment = if chance.below(4) == 0 { 60 } else { 600 };
        tokio::time::sleep(Duration::from_millis(chance.below(moment))).await;
        daemon.kill();
        return "at random";
    }
    let (name, latest) = FAILPOINTS[place];
    if name.starts_with("prune") {
        world.add_old_ones(OLD_ROWS);
    }
    let mut daemon = Program::dying_at(name, 1 + chance.below(latest)).start(world);
    if name == "drain" {
        has_sent(world, &mut daemon).await;
        daemon.signal("TERM");
    }
    let status = daemon.ends().await;
    assert_eq!(status.signal(), Some(9), "{status:?}: {}", daemon.said());
    name
}

/// Returns when the program has POSTed something.
async fn has_sent(world: &World, daemon: &mut Process) {
    let before = world.journal.count();
    until("something is POSTed", || {
        assert_eq!(daemon.ended(), None, "{}", daemon.said());
        world.journal.count() > before
    })
    .await;
}
