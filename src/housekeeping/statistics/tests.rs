//! What is counted when, over a real queue.

use std::path::PathBuf;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::store::sqlite::{self, SqliteInspection};

const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

#[derive(Debug, Default)]
struct Heard {
    counts: Mutex<Vec<Stats>>,
    sizes: Mutex<usize>,
    oldest_due: Mutex<usize>,
}

impl StatsSink for Heard {
    fn queue_counted(&self, stats: &Stats, _now: Timestamp) {
        let mut counts = self.counts.lock().expect("no test panics under it");
        counts.push(stats.clone());
    }

    fn oldest_due_measured(&self, _due: Option<Timestamp>) {
        *self.oldest_due.lock().expect("no test panics under it") += 1;
    }

    fn troubled_found(&self, _troubled: Vec<TroubledEndpoint>) {}

    fn displaced_found(&self, _displaced: Option<String>) {}

    fn oldest_snapshot_found(&self, _snapshot: Option<&HeldSnapshot>) {}

    fn wal_measured(&self, _bytes: u64) {
        *self.sizes.lock().expect("no test panics under it") += 1;
    }
}

struct World {
    _directory: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<ManualClock>,
    heard: Arc<Heard>,
    statistics: Statistics,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("queue.db");
        sqlite::init(&path).expect("created");
        let heard = Arc::new(Heard::default());
        let clock = Arc::new(ManualClock::at(NOON));
        let statistics = Statistics::new(
            Arc::new(SqliteInspection::open(&path).expect("opened")),
            Arc::clone(&clock) as SharedClock,
            Arc::clone(&heard) as Arc<dyn StatsSink>,
        );
        Self {
            path,
            _directory: directory,
            clock,
            heard,
            statistics,
        }
    }

    /// Puts `count` callbacks into `state`, finished at `moment` if that is final, else due.
    fn put(&self, count: u32, state: &str, moment: Timestamp) {
        let (due, finished) = match state {
            "pending" => (moment.as_millis().to_string(), "NULL".to_owned()),
            _ => ("NULL".to_owned(), moment.as_millis().to_string()),
        };
        self.sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, result, settlement_status, state, next_attempt_at, finished_at)
             SELECT 'payment', 'https://merchant.example/', '6', 1, '1', 'LAK', o, o, 'success', 1,
               '{state}', {due}, {finished}
             FROM (SELECT (SELECT count(*) FROM callback_queue) || '-' || i AS o FROM n)"
        ));
    }

    fn sql(&self, sql: &str) {
        sqlite::plain_sql(&self.path, sql);
    }

    async fn depths(&self) -> [u64; 5] {
        self.statistics.run().await.expect("counted");
        let counts = self.heard.counts.lock().expect("no test panics under it");
        let last = counts.last().expect("counted once at least");
        std::array::from_fn(|place| last.depth[place].1)
    }

    /// From now on it rests as after counts that took so long.
    fn took(&self, all: Duration, delivered: Duration) {
        let mut known = self.statistics.known();
        known.rest.as_mut().expect("counted").took = all;
        known.delivered.as_mut().expect("counted").counted.took = delivered;
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn counts_are_fresh_while_the_count_of_all_delivered_rests() {
    let world = World::new();
    world.put(50, "delivered", NOON.before(LONG));
    world.put(7, "delivered", NOON);
    assert_eq!(world.depths().await, [0, 0, 57, 0, 0]);
    for round in 1..=3_u32 {
        world.took(Duration::ZERO, LONG);
        world.clock.advance(Duration::from_secs(45));
        world.put(1000, "exhausted", world.clock.now());
        world.put(3, "pending", world.clock.now());
        world.put(10, "delivered", world.clock.now());
        let round = u64::from(round);
        let expected = [3 * round, 0, 57 + 10 * round, 1000 * round, 0];
        assert_eq!(world.depths().await, expected, "round {round}");
    }
}

#[tokio::test]
async fn pruned_callbacks_are_missed_soon() {
    let world = World::new();
    world.put(50, "delivered", NOON.before(LONG));
    world.put(7, "delivered", NOON);
    assert_eq!(world.depths().await, [0, 0, 57, 0, 0]);
    world.sql(&format!(
        "DELETE FROM callback_queue WHERE finished_at < {}",
        NOON.as_millis()
    ));
    world.took(Duration::ZERO, Duration::ZERO);
    assert_eq!(world.depths().await, [0, 0, 7, 0, 0]);
}

#[tokio::test]
async fn after_a_long_count_only_what_costs_little_is_measured() {
    let world = World::new();
    world.depths().await;
    world.took(LONG, LONG);
    world.depths().await;
    let told = |of: &Mutex<usize>| *of.lock().expect("no test panics under it");
    let counts = world.heard.counts.lock().expect("no test panics under it");
    assert_eq!(counts.len(), 1);
    assert_eq!(
        (told(&world.heard.sizes), told(&world.heard.oldest_due)),
        (2, 2)
    );
}
