//! The dispatchers of one queue: which of them this is, and its heartbeat.
//!
//! Each has a row in the table `dispatcher` and updates it every two seconds. One that has not done
//! so for ten seconds is not counted any more: the limits on all of them together are divided among
//! the others. The table decides nothing else; leases go by their own deadlines.
//!
//! The heartbeat also renews the leases of attempts that take long. A lease that could not be renewed
//! in time is not valid any more (see [`LeaseDeadline`]), whatever the database says. So heartbeats
//! have a connection of their own: no claim, record or command makes them wait.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::GenericClient;

use super::connection::Pool;
use crate::clock::Stopwatch;
use crate::domain::CallbackId;
use crate::store::lease::LeaseDeadline;
use crate::store::{FleetPosition, StoreError};

/// How long the dispatchers of a queue wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetTiming {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// After so long without a heartbeat, a dispatcher is not counted.
    pub silent: Duration,
    /// How long a lease that is not renewed is valid in the database. Short, because it is renewed for
    /// as long as its dispatcher lives; long enough for a server to restart.
    pub lease: Duration,
    /// How much earlier than in the database a lease expires here.
    pub margin: Duration,
}

impl Default for FleetTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            silent: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            margin: Duration::from_secs(3),
        }
    }
}

impl FleetTiming {
    /// The age at which a lease is renewed.
    fn renewed_at(&self) -> Duration {
        self.heartbeat * 2
    }

    /// A longer time between two heartbeats counts as a gap.
    fn gap(&self) -> Duration {
        self.heartbeat * 3
    }

    /// How long a lease is valid here.
    fn valid_for(&self) -> Duration {
        self.lease.saturating_sub(self.margin)
    }
}

/// This dispatcher among the others.
#[derive(Debug)]
pub(super) struct Fleet {
    shared: Arc<Shared>,
    beating: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// For nothing but heartbeats and renewals.
    pool: Pool,
    timing: FleetTiming,
    /// The key of this dispatcher's row.
    id: i64,
    number: AtomicUsize,
    of: AtomicUsize,
    /// Locked during a heartbeat: one that reaches the server after this dispatcher has left would
    /// insert its row again.
    is_member: AsyncMutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of the leases that live in this process, by id and token.
    deadlines: HashMap<(CallbackId, i64), Weak<LeaseDeadline>>,
    /// Tokens of claims that failed. They may have been committed all the same.
    unconfirmed: Vec<i64>,
    last_heartbeat: Stopwatch,
    last_gap: Stopwatch,
}

impl Fleet {
    /// Joins the dispatchers of a queue.
    pub(super) async fn join(
        pool: Pool,
        name: &str,
        timing: FleetTiming,
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
            is_member: AsyncMutex::new(true),
            state: Mutex::new(State {
                deadlines: HashMap::new(),
                unconfirmed: Vec::new(),
                last_heartbeat: Stopwatch::start(),
                last_gap: Stopwatch::start(),
            }),
        });
        shared.heartbeat().await?;
        let beating = tokio::spawn(beat(Arc::clone(&shared)));
        Ok(Self { shared, beating })
    }

    /// As of the last heartbeat.
    pub(super) fn position(&self) -> FleetPosition {
        FleetPosition {
            number: self.shared.number.load(Ordering::Relaxed),
            of: self.shared.of.load(Ordering::Relaxed).max(1),
        }
    }

    /// The deadline of a lease whose claim was begun at `since`. It is renewed for as long as the lease
    /// lives.
    pub(super) fn deadline(
        &self,
        id: CallbackId,
        token: i64,
        since: Stopwatch,
    ) -> Arc<LeaseDeadline> {
        let deadline = Arc::new(LeaseDeadline::new(since, self.shared.timing.valid_for()));
        let mut state = self.shared.lock();
        state
            .deadlines
            .insert((id, token), Arc::downgrade(&deadline));
        deadline
    }

    /// A claim failed, perhaps after it was committed. The next heartbeat releases what it has leased,
    /// before that expires and is recorded as interrupted.
    pub(super) fn add_unconfirmed_claim(&self, token: i64) {
        self.shared.lock().unconfirmed.push(token);
    }

    /// Whether expired leases may be reclaimed. Not before heartbeats have succeeded for as long as a
    /// lease is valid: others may have lost the server at the same time, and have answers to record.
    pub(super) fn may_reclaim(&self) -> bool {
        let timing = self.shared.timing;
        let state = self.shared.lock();
        state.last_heartbeat.elapsed() < timing.gap() && state.last_gap.elapsed() >= timing.lease
    }

    /// How long a lease is valid in the database.
    pub(super) fn lease(&self) -> Duration {
        self.shared.timing.lease
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
    let sql = "SELECT string_agg(name, '; ' ORDER BY id) FROM dispatcher
        WHERE seen_at > callback_now() - $1";
    let row = client
        .query_one(sql, &[&millis(FleetTiming::default().silent)])
        .await?;
    Ok(row.get(0))
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// Updates this dispatcher's row, and inserts it again if somebody has deleted it. Counts the others:
/// those that come before this one, and all.
const HEARTBEAT: &str = "
WITH heartbeat AS (
  INSERT INTO dispatcher (id, name) OVERRIDING SYSTEM VALUE
  VALUES ($1, 'dispatcher ' || $1::bigint)
  ON CONFLICT (id) DO UPDATE SET seen_at = callback_now()
)
SELECT count(*) FILTER (WHERE id < $1), count(*)
FROM dispatcher WHERE seen_at > callback_now() - $2 AND id <> $1";

/// Passes over rows that are locked: one row must not keep the others from being renewed. A record has
/// no use of the renewal, and for anything else there is the next heartbeat.
const RENEW: &str = "
WITH held AS MATERIALIZED (
  SELECT q.id FROM unnest($1::bigint[], $2::bigint[]) AS lease (id, token)
  CROSS JOIN LATERAL (
    SELECT id FROM callback_queue
    WHERE id = lease.id AND lease_token = lease.token AND leased_until IS NOT NULL
    FOR UPDATE SKIP LOCKED
  ) q
)
UPDATE callback_queue q SET leased_until = callback_now() + $3
FROM held WHERE q.id = held.id RETURNING q.id, q.lease_token";

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
        let beating = async {
            let statement = client.prepare_cached(HEARTBEAT).await?;
            client
                .query_one(&statement, &[&self.id, &millis(self.timing.silent)])
                .await
        };
        let row = client.within(beating).await?;
        let count = |column| usize::try_from(row.get::<_, i64>(column)).unwrap_or_default();
        self.number.store(count(0), Ordering::Relaxed);
        self.of.store(count(1) + 1, Ordering::Relaxed);
        let mut state = self.lock();
        if state.last_heartbeat.elapsed() > self.timing.gap() {
            state.last_gap = Stopwatch::start();
        }
        state.last_heartbeat = Stopwatch::start();
        Ok(())
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

    /// Renews the leases that have reached an age.
    async fn renew(&self) -> Result<(), StoreError> {
        let mut due = Vec::new();
        self.lock().deadlines.retain(|key, deadline| {
            let Some(deadline) = deadline.upgrade() else {
                return false;
            };
            let age = deadline.age();
            if age > self.timing.renewed_at() {
                due.push((*key, deadline, age));
            }
            true
        });
        if due.is_empty() {
            return Ok(());
        }
        let (ids, tokens): (Vec<i64>, Vec<i64>) =
            due.iter().map(|((id, token), ..)| (id.0, *token)).unzip();
        let client = self.pool.client().await?;
        let lease = millis(self.timing.lease);
        let renewing = async {
            let statement = client.prepare_cached(RENEW).await?;
            client.query(&statement, &[&ids, &tokens, &lease]).await
        };
        let renewed = client.within(renewing).await?;
        let renewed: HashSet<(CallbackId, i64)> = renewed
            .iter()
            .map(|row| (CallbackId(row.get(0)), row.get(1)))
            .collect();
        for (key, deadline, age) in due {
            if renewed.contains(&key) {
                deadline.renewed(age, self.timing.valid_for());
            }
        }
        Ok(())
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
            shared.renew().await?;
            shared.release_unconfirmed().await
        };
        match beat.await {
            Err(error) if !has_failed => {
                tracing::warn!(%error, "heartbeats fail, and no lease is renewed");
                has_failed = true;
            }
            Err(_) => {}
            Ok(()) => has_failed = false,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
