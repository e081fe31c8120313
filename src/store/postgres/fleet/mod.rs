//! The dispatchers of one queue: which of them this is, and its heartbeat.
//!
//! Each has a row in the table `dispatcher` and updates it every two seconds. A heartbeat is the lease
//! on everything that its dispatcher has claimed; tokens name their dispatcher, see [`Fleet::token`].
//!
//! - Nothing is sent under a claim when the last heartbeat is older than twelve seconds, by this
//!   host's own clock, which goes on while the host sleeps. A claim that has expired so stays expired.
//! - Others take over the claims of a dispatcher whose heartbeat has not changed for fifteen seconds,
//!   by their own clocks, see [`Members`]. Nobody takes over from a dispatcher that lives, whatever
//!   keeps it from recording, nor from itself.
//!
//! So no clock is compared with another, and nothing is written to the rows that are in flight. A
//! dispatcher that was not counted for ten seconds gives its part of the limits to the others.
//!
//! Heartbeats have a connection of their own: no claim, record or command makes them wait.

mod members;
mod server_clock;
mod skew;
mod timing;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{GenericClient, Row};

use super::connection::Pool;
use crate::clock::{BootStopwatch, Clock as _, SystemClock};
use crate::store::lease::{LeaseDeadline, new_token};
use crate::store::{CommitObserver, FleetPosition, StoreError};
use members::{Heartbeat, Members};
use server_clock::{Passed, Reading};

pub(super) use skew::Skew;
pub use timing::FleetTiming;

/// A token is the id of its dispatcher, then random bits.
const RANDOM_BITS: u32 = 40;

/// As much of an id as fits before them, with the sign left out.
const OWNER_MASK: i64 = (1 << (i64::BITS - 1 - RANDOM_BITS)) - 1;

/// Between two searches for claims of dispatchers that nobody knows, and for lost claims of our own.
const SWEEP_EVERY_S: u64 = 60;

/// The dispatcher that a token names, as SQL.
pub(super) const OWNER: &str = "(lease_token >> 40)";

/// This dispatcher among the others.
#[derive(Debug)]
pub(super) struct Fleet {
    shared: Arc<Shared>,
    beating: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// For nothing but heartbeats.
    pool: Pool,
    timing: FleetTiming,
    /// The key of this dispatcher's row.
    id: i64,
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
struct State {
    /// Of the claims that live in this process, by token.
    deadlines: HashMap<i64, Weak<LeaseDeadline>>,
    /// Tokens of claims that wait for their answer.
    claiming: HashSet<i64>,
    /// Tokens of claims that failed. They may have been committed all the same.
    unconfirmed: Vec<i64>,
    members: Members,
    /// When the last heartbeat that succeeded was sent.
    last_heartbeat: BootStopwatch,
    last_gap: BootStopwatch,
    last_sweep: Option<BootStopwatch>,
    reading: Option<Reading>,
    /// When the server was started: another moment is another server.
    server_started: Option<i64>,
}

impl Fleet {
    /// Joins the dispatchers of a queue.
    pub(super) async fn join(
        pool: Pool,
        name: &str,
        timing: FleetTiming,
        observer: Arc<dyn CommitObserver>,
    ) -> Result<Self, StoreError> {
        let client = pool.client().await?;
        let joining = async {
            client
                .execute(
                    "DELETE FROM dispatcher WHERE seen_at < callback_now() - 86400000",
                    &[],
                )
                .await?;
            let sql = "INSERT INTO dispatcher (name) VALUES ($1) RETURNING id";
            client.query_one(sql, &[&name]).await
        };
        let row = client.within(joining).await?;
        drop(client);
        let shared = Arc::new(Shared {
            pool,
            timing,
            id: row.get(0),
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
        });
        shared.heartbeat().await?;
        let beating = tokio::spawn(beat(Arc::clone(&shared)));
        Ok(Self { shared, beating })
    }

    /// The key of this dispatcher's row.
    pub(super) fn id(&self) -> i64 {
        self.shared.id
    }

    /// As of the last heartbeat.
    pub(super) fn position(&self) -> FleetPosition {
        FleetPosition {
            number: self.shared.number.load(Ordering::Relaxed),
            of: self.shared.of.load(Ordering::Relaxed).max(1),
        }
    }

    /// The difference between the clocks, as of the last heartbeat.
    pub(super) fn skew(&self) -> Skew {
        Skew::from_millis(self.shared.skew.load(Ordering::Relaxed))
    }

    /// Begins a claim; returns its token. Ends with [`Fleet::claimed`] or [`Fleet::claim_failed`].
    pub(super) fn begin_claim(&self) -> Result<i64, StoreError> {
        let random = new_token()? & ((1 << RANDOM_BITS) - 1);
        let token = (owner(self.shared.id) << RANDOM_BITS) | random;
        let mut state = self.shared.lock();
        if state.last_heartbeat.elapsed() > self.shared.timing.gap() {
            return Err(StoreError::Unreachable(
                "heartbeats fail, so nothing is claimed".to_owned(),
            ));
        }
        state.claiming.insert(token);
        Ok(token)
    }

    /// A claim was answered: its deadline, which moves on with each heartbeat.
    pub(super) fn claimed(&self, token: i64) -> Arc<LeaseDeadline> {
        let mut state = self.shared.lock();
        let deadline = LeaseDeadline::new(state.last_heartbeat, self.shared.timing.valid_for());
        let deadline = Arc::new(deadline);
        state.claiming.remove(&token);
        state.deadlines.insert(token, Arc::downgrade(&deadline));
        deadline
    }

    /// A claim failed, perhaps after it was committed. The next heartbeat releases what it has claimed.
    pub(super) fn claim_failed(&self, token: i64) {
        let mut state = self.shared.lock();
        state.claiming.remove(&token);
        state.unconfirmed.push(token);
    }

    /// The dispatchers whose claims are to be taken over. None, until heartbeats have succeeded for as
    /// long as a lease: others may have lost the server at the same time, and have answers to record.
    pub(super) fn dead(&self) -> Vec<i64> {
        let timing = self.shared.timing;
        let state = self.shared.lock();
        match state.may_reclaim(timing) {
            true => state.members.dead(timing.lease),
            false => Vec::new(),
        }
    }

    /// Nothing is in flight any more under the leases of a dead dispatcher.
    pub(super) fn cleared(&self, id: i64) {
        self.shared.lock().members.cleared(id);
    }

    /// From time to time, the dispatchers that live: all claims of others are to be taken over.
    pub(super) fn sweep(&self) -> Option<Vec<i64>> {
        let timing = self.shared.timing;
        let mut state = self.shared.lock();
        let is_due = state
            .last_sweep
            .is_none_or(|last| last.elapsed().as_secs() >= SWEEP_EVERY_S);
        if !is_due || !state.may_reclaim(timing) {
            return None;
        }
        state.last_sweep = Some(BootStopwatch::start());
        let others = state.members.living(timing.lease).map(owner);
        Some(others.chain([owner(self.shared.id)]).collect())
    }

    /// The tokens that a dispatcher may have made, from the lowest to the highest.
    pub(super) fn tokens_of(id: i64) -> (i64, i64) {
        let lowest = owner(id) << RANDOM_BITS;
        (lowest, lowest | ((1 << RANDOM_BITS) - 1))
    }

    /// The same for this dispatcher.
    pub(super) fn own_tokens(&self) -> (i64, i64) {
        Self::tokens_of(self.shared.id)
    }

    /// Whether a claim lives in this process, or waits for its answer.
    pub(super) fn knows(&self, token: i64) -> bool {
        let state = self.shared.lock();
        state.claiming.contains(&token)
            || state.unconfirmed.contains(&token)
            || state.deadlines.contains_key(&token)
    }

    /// Whether a commit would succeed now.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.shared.heartbeat().await
    }

    /// Leaves the dispatchers of the queue.
    pub(super) async fn leave(&self) {
        let leaving = async {
            // Waits for a heartbeat that was sent already; its statement has a deadline.
            let mut is_member = self.shared.is_member.lock().await;
            self.beating.abort();
            *is_member = false;
            drop(is_member);
            let client = self.shared.pool.client().await?;
            let sql = "DELETE FROM dispatcher WHERE id = $1";
            client
                .within(client.execute(sql, &[&self.shared.id]))
                .await
                .map(drop)
        };
        if let Err(error) = leaving.await {
            tracing::warn!(%error, "this dispatcher counts as a member until its last heartbeat is old");
        }
        self.shared.pool.close();
    }
}

/// The names of the dispatchers of this queue; `None` if there is none.
pub(super) async fn at_work(
    client: &impl GenericClient,
) -> Result<Option<String>, tokio_postgres::Error> {
    let silent = FleetTiming::default().silent;
    let sql = "SELECT string_agg(name, '; ' ORDER BY id) FROM dispatcher
        WHERE seen_at > callback_now() - $1";
    let silent = i64::try_from(silent.as_millis()).unwrap_or(i64::MAX);
    let row = client.query_one(sql, &[&silent]).await?;
    Ok(row.get(0))
}

/// How far the server's clock is ahead of this host's, in milliseconds.
pub(super) async fn measure_skew(pool: &Pool) -> Result<i64, StoreError> {
    let client = pool.client().await?;
    let (asked, here) = (BootStopwatch::start(), SystemClock.now());
    let row = client
        .within(client.query_one("SELECT callback_now()", &[]))
        .await?;
    let reading = Reading {
        server_ms: row.get(0),
        here_ms: here.as_millis(),
        asked,
        answered: BootStopwatch::start(),
    };
    Ok(reading.skew(0))
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// How a dispatcher is named in its tokens.
const fn owner(id: i64) -> i64 {
    id & OWNER_MASK
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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn heartbeat(&self) -> Result<(), StoreError> {
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
    async fn release_unconfirmed(&self) -> Result<(), StoreError> {
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
    fn may_reclaim(&self, timing: FleetTiming) -> bool {
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

async fn beat(shared: Arc<Shared>) {
    let mut again = tokio::time::interval(shared.timing.heartbeat);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_failed = false;
    loop {
        again.tick().await;
        let beat = async {
            shared.heartbeat().await?;
            shared.release_unconfirmed().await
        };
        match beat.await {
            Err(error) if !has_failed => {
                tracing::warn!(%error, "heartbeats fail; nothing is claimed");
                has_failed = true;
            }
            Err(_) => {}
            Ok(()) => has_failed = false,
        }
    }
}
