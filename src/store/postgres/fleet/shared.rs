//! What a dispatcher knows of its claims and of the others, and its heartbeat, which renews both.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;
use tokio_postgres::Row;

use super::members::{Heartbeat, Members};
use super::server_clock::{Passed, Reading};
use super::skew::Skew;
use super::timing::FleetTiming;
use crate::clock::{BootStopwatch, Clock as _, SystemClock};
use crate::store::lease::LeaseDeadline;
use crate::store::postgres::connection::Pool;
use crate::store::{CommitObserver, FleetPosition, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    /// For nothing but heartbeats.
    pub(super) pool: Pool,
    pub(super) timing: FleetTiming,
    /// The key of this dispatcher's row.
    pub(super) id: i64,
    number: AtomicUsize,
    of: AtomicUsize,
    skew: AtomicI64,
    observer: Arc<dyn CommitObserver>,
    /// Locked during a heartbeat: one that reaches the server after this dispatcher has left would
    /// insert its row again.
    is_member: AsyncMutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    /// Of the claims that live in this process, by token.
    pub(super) deadlines: HashMap<i64, Weak<LeaseDeadline>>,
    /// Tokens of claims that wait for their answer.
    pub(super) claiming: HashSet<i64>,
    /// Tokens of claims that failed. They may have been committed all the same.
    pub(super) unconfirmed: Vec<i64>,
    pub(super) members: Members,
    /// When the last heartbeat that succeeded was sent.
    pub(super) last_heartbeat: BootStopwatch,
    last_gap: BootStopwatch,
    pub(super) last_sweep: Option<BootStopwatch>,
    reading: Option<Reading>,
    /// When the server was started: another moment is another server.
    server_started: Option<i64>,
}

/// Updates this dispatcher's row, and inserts it again if somebody has deleted it. Returns the time,
/// when the server was started, and the heartbeats of the others: a row without one if there are none.
const HEARTBEAT: &str = "
WITH heartbeat AS (
  INSERT INTO dispatcher (id, name) OVERRIDING SYSTEM VALUE
  VALUES ($1, 'dispatcher ' || $1::bigint)
  ON CONFLICT (id) DO UPDATE SET seen_at = callback_now()
)
SELECT now.ms, floor(extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint,
  d.id, d.seen_at, now.ms - d.seen_at
FROM (SELECT callback_now() AS ms) now LEFT JOIN dispatcher d ON d.id <> $1";

const RELEASE_UNCONFIRMED: &str = "
WITH held AS MATERIALIZED (
  SELECT id FROM callback_queue WHERE lease_token = ANY ($1) AND leased_until IS NOT NULL
  ORDER BY id FOR UPDATE
)
UPDATE callback_queue q SET leased_until = NULL, leased_at = NULL, lease_token = NULL
FROM held WHERE q.id = held.id";

impl Shared {
    pub(super) fn new(
        pool: Pool,
        timing: FleetTiming,
        id: i64,
        observer: Arc<dyn CommitObserver>,
    ) -> Self {
        Self {
            pool,
            timing,
            id,
            number: AtomicUsize::new(0),
            of: AtomicUsize::new(1),
            skew: AtomicI64::new(0),
            observer,
            is_member: AsyncMutex::new(true),
            state: Mutex::new(State {
                deadlines: HashMap::new(),
                claiming: HashSet::new(),
                unconfirmed: Vec::new(),
                members: Members::default(),
                last_heartbeat: BootStopwatch::start(),
                last_gap: BootStopwatch::start(),
                last_sweep: None,
                reading: None,
                server_started: None,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As of the last heartbeat.
    pub(super) fn position(&self) -> FleetPosition {
        FleetPosition {
            number: self.number.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed).max(1),
        }
    }

    /// The difference between the clocks, as of the last heartbeat.
    pub(super) fn skew(&self) -> Skew {
        Skew::from_millis(self.skew.load(Ordering::Relaxed))
    }

    /// Waits for a heartbeat that was sent already; its statement has a deadline. There is none after it.
    pub(super) async fn stop_heartbeats(&self) {
        *self.is_member.lock().await = false;
    }

    pub(super) async fn heartbeat(&self) -> Result<(), StoreError> {
        let is_member = self.is_member.lock().await;
        if !*is_member {
            return Err(StoreError::Closed);
        }
        let client = self.pool.client().await?;
        let (asked, here) = (BootStopwatch::start(), SystemClock.now());
        let beating = async {
            let statement = client.prepare_cached(HEARTBEAT).await?;
            client.query(&statement, &[&self.id]).await
        };
        let rows = client.within(beating).await?;
        let Some(first) = rows.first() else {
            return Err(StoreError::Other("a heartbeat has no answer".to_owned()));
        };
        let reading = Reading {
            server_ms: first.get(0),
            here_ms: here.as_millis(),
            asked,
            answered: BootStopwatch::start(),
        };
        let others: Vec<Heartbeat> = rows.iter().filter_map(heartbeat_of).collect();
        let mut state = self.lock();
        state.on_heartbeat(self.timing, reading, first.get(1), &others);
        let (lower, all) = state.members.counted(self.id, self.timing.silent);
        drop(state);
        self.number.store(lower, Ordering::Relaxed);
        self.of.store(all + 1, Ordering::Relaxed);
        self.follow(&reading);
        Ok(())
    }

    /// Goes by the server's clock from now on.
    fn follow(&self, reading: &Reading) {
        let known = self.skew.load(Ordering::Relaxed);
        let skew = reading.skew(known);
        if skew != known {
            self.skew.store(skew, Ordering::Relaxed);
            tracing::warn!(
                server_is_ahead_ms = skew,
                "this host's clock and the server's differ; what is due goes by the server's"
            );
        }
        self.observer.clock_skew(skew);
    }

    /// Releases what failed claims have leased.
    pub(super) async fn release_unconfirmed(&self) -> Result<(), StoreError> {
        let tokens = std::mem::take(&mut self.lock().unconfirmed);
        if tokens.is_empty() {
            return Ok(());
        }
        let releasing = async {
            let client = self.pool.client().await?;
            client
                .within(client.execute(RELEASE_UNCONFIRMED, &[&tokens]))
                .await
        };
        let released: Result<u64, StoreError> = releasing.await;
        match released {
            Ok(0) => Ok(()),
            Ok(callbacks) => {
                tracing::warn!(callbacks, "claims whose answer was lost are released");
                Ok(())
            }
            Err(error) => {
                self.lock().unconfirmed.extend(tokens);
                Err(error)
            }
        }
    }
}

fn heartbeat_of(row: &Row) -> Option<Heartbeat> {
    Some(Heartbeat {
        id: row.get::<_, Option<i64>>(2)?,
        seen_at: row.get(3),
        age: row.get(4),
    })
}

impl State {
    pub(super) fn may_reclaim(&self, timing: FleetTiming) -> bool {
        self.last_heartbeat.elapsed() < timing.gap() && self.last_gap.elapsed() >= timing.lease
    }

    fn on_heartbeat(
        &mut self,
        timing: FleetTiming,
        reading: Reading,
        server_started: i64,
        others: &[Heartbeat],
    ) {
        let passed = self.reading.map(|before| reading.since(&before));
        let is_another = self
            .server_started
            .is_some_and(|started| started != server_started);
        if self.last_heartbeat.elapsed() > timing.gap() || is_another {
            self.last_gap = BootStopwatch::start();
        }
        match passed {
            Some(Passed::More(ms)) => tracing::warn!(
                ms,
                "more time has passed by the server's clock than by this host's: that clock was set, \
                 or this host stood still; what was claimed and not sent is given up"
            ),
            Some(Passed::Less(ms)) => tracing::warn!(ms, "the server's clock was set back"),
            Some(Passed::Alike) | None => {}
        }
        // A server that takes the place of another may not know of our claims, nor does a host know
        // that it stood still if its clocks did.
        let gives_up = is_another || matches!(passed, Some(Passed::More(_)));
        self.deadlines.retain(|_, deadline| {
            let Some(deadline) = deadline.upgrade() else {
                return false;
            };
            match gives_up {
                true => deadline.expire(),
                false => deadline.extend(reading.asked, timing.valid_for()),
            }
            true
        });
        self.members.observe(others, timing.silent);
        self.last_heartbeat = reading.asked;
        self.reading = Some(reading);
        self.server_started = Some(server_started);
    }
}
