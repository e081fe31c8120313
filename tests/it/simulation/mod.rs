//! The dispatcher under a seed: what may happen is drawn, let happen, and judged after each step.
//!
//! Real are the queue in its file, the dispatcher and all that it does; the clocks are wound by
//! hand, and merchants, gateway, operator, faults and death come from a list of operations.
//!
//! | module | what it is |
//! |---|---|
//! | [`operation`] | what may happen; a new thing that may happen is a new variant there |
//! | [`run`] | lets it happen, waits until all is quiet, has it checked |
//! | [`oracle`] | what is right: a model of each row, from the contract alone |
//! | [`order`] | what is queued, and the body and signature that must come of it |
//! | [`world`], [`capacity`], [`faults`], [`store`] | merchants, faults, and the interface between dispatcher and queue where they enter |
//! | [`process`] | a dispatcher from its start to its end |
//! | [`shrink`] | makes a failing list short and prints it as a test |
//! | [`reproductions`] | lists that once failed |
//!
//! After every step: no row is absent, and none is there that nobody queued; every column of each
//! row is what the model says, the moment of the next attempt to the millisecond; the log has
//! exactly the attempts that were made, and what was logged stays; nothing final moves, but by a
//! resend or pruning; no row is claimed early, twice, or when it is final; each claim sends at most
//! one POST, and none is sent without; body and signature are those of the row, byte for byte;
//! limits hold; a merchant that answers within its capacity exhausts nothing; what was answered is recorded, once the store works. In the end every merchant is
//! well, and each callback that is not final must be delivered.
//!
//! There is no real time in it: tokio's clock is paused and moves on only when no task can run
//! and the store is not at work, which is also how a step is known to be over. The same seed gives
//! the same operations. What the dispatcher does between two of them may vary in order, because
//! the store has a thread of its own and `select!` throws dice; so a list that fails is tried more
//! than once while it is shrunk.
//!
//! `SIMULATION_SEEDS` says how many seeds; `scripts/simulate N` sets it and prints the counts.

mod capacity;
mod faults;
mod operation;
mod oracle;
mod order;
mod posts;
mod process;
mod records;
mod reproductions;
mod run;
mod shrink;
mod store;
mod tally;
mod terms;
mod world;

use std::path::Path;
use std::sync::LazyLock;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::strategy::Strategy as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

use operation::{Operation, operations};
use run::{Run, Violation};
use tally::Tally;

/// When every run begins, in Unix milliseconds.
const START: i64 = 1_800_000_000_000;

/// Seeds in all, unless `SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 400;

/// They are shared out among so many tests, which run side by side.
const PARTS: u64 = 8;

/// From so many seeds on, everything that can happen must have happened.
const ENOUGH: u64 = 200;

/// How long one seed may take on a busy machine; most take some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets `operations` happen, on a thread of their own with a runtime of their own.
fn simulate(operations: &[Operation]) -> (Result<(), Violation>, Tally) {
    let (done, result) = mpsc::channel();
    let listed = operations.to_vec();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let folder = folder();
        let template = TEMPLATE.path().join("template.db");
        let outcome = runtime.block_on(Run::of(&listed, &template, folder.path()));
        // Nobody may be waiting any more.
        let _ = done.send(outcome);
    });
    match result.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => (
            Err(format!("not over within {PATIENCE:?}")),
            Tally::default(),
        ),
        Err(mpsc::RecvTimeoutError::Disconnected) => (
            Err("the simulation panicked, see above".to_owned()),
            Tally::default(),
        ),
    }
}

/// An empty queue to copy.
static TEMPLATE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = folder();
    process::template(folder.path());
    folder
});

/// A folder in memory, where there is one: fsync is what most of the time goes to.
fn folder() -> TempDir {
    TempDir::new_in(Path::new("/dev/shm"))
        .or_else(|_| TempDir::new())
        .expect("a temporary folder")
}

/// What happens under `seed`.
fn drawn(seed: u64) -> impl proptest::strategy::ValueTree<Value = Vec<Operation>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    operations()
        .new_tree(&mut runner)
        .expect("the strategies reject nothing")
}

fn seeds() -> u64 {
    match std::env::var("SIMULATION_SEEDS") {
        Ok(text) => text.parse().expect("SIMULATION_SEEDS is a number"),
        Err(_) => SEEDS,
    }
}

/// Runs the `part`th part of all seeds.
fn run_part(part: u64) {
    let seeds = (part * seeds() / PARTS)..((part + 1) * seeds() / PARTS);
    let mut tally = Tally::default();
    for seed in seeds.clone() {
        let (result, counted) = simulate(&proptest::strategy::ValueTree::current(&drawn(seed)));
        tally.add_all(counted);
        if let Err(violation) = result {
            tally.add("violations", 1);
            tally.report();
            let shrunk = shrink::shrink(drawn(seed), violation);
            panic!("seed {seed}: {shrunk}");
        }
    }
    tally.report();
    if seeds.end - seeds.start >= ENOUGH {
        tally.expect_everything();
    }
}

macro_rules! parts {
    ($($name:ident: $part:literal),*) => {
        $(#[test]
        fn $name() {
            run_part($part);
        })*
    };
}

parts!(
    seeds_1: 0, seeds_2: 1, seeds_3: 2, seeds_4: 3,
    seeds_5: 4, seeds_6: 5, seeds_7: 6, seeds_8: 7
);
