//! The dispatchers of one queue: who they are, and that this one lives.
//!
//! Each has a row in the table `dispatcher` and says every two seconds that it lives. Who has not done
//! so for ten is not counted any more: the limits that hold for all of them together are
//! divided among the others. That is all that the table decides; leases go by their own moments.
//!
//! The same beat renews the leases of attempts that take long. What could not be renewed in time
//! does not stand any more (see [`Term`]), whatever the database says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::GenericClient;

use super::connection::Pool;
use super::error::store_error;
use crate::clock::Stopwatch;
use crate::store::lease::Term;
use crate::store::{Seat, StoreError};

/// How long the dispatchers of a queue wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two signs of life.
    pub beat: Duration,
    /// After so long without one, a dispatcher is not counted.
    pub silent: Duration,
    /// How long a lease stands that is not renewed. Short, because it is renewed for as long as its
    /// dispatcher lives; long enough for a server that restarts.
    pub lease: Duration,
    /// How much sooner than in the database a lease is taken for lapsed here.
    pub margin: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(2),
            silent: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            margin: Duration::from_secs(3),
        }
    }
}

impl Times {
    /// Older than this, a lease is renewed.
    fn renewed_at(&self) -> Duration {
        self.beat * 2
    }

    /// A beat that takes longer than this has been a gap.
    fn gap(&self) -> Duration {
        self.beat * 3
    }
}

/// This dispatcher among the others.
#[derive(Debug)]
pub(super) struct Fleet {
    pool: Pool,
    shared: Arc<Shared>,
    beating: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    times: Times,
    /// Its row.
    id: i64,
    number: AtomicUsize,
    of: AtomicUsize,
    /// Held while a beat is under way: one that the server comes to after this has left would make
    /// its row again.
    is_here: AsyncMutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The terms that run, by their tokens.
    terms: HashMap<i64, Weak<Term>>,
    /// Tokens of claims whose answer was lost: perhaps they stand, and nobody here has them.
    unheard: Vec<i64>,
    /// Since the last beat.
    beat: Stopwatch,
    /// Since when there has been no gap.
    steady: Stopwatch,
}

impl Fleet {
    /// Takes a seat.
    pub(super) async fn join(pool: Pool, name: &str, times: Times) -> Result<Self, StoreError> {
        let client = pool.client().await?;
        let joining = async {
            client
                .execute(
                    "DELETE FROM dispatcher WHERE seen_at < callback_now() - 86400000",
                    &[],
                )
                .await?;
            client
                .query_one(
                    "INSERT INTO dispatcher (name) VALUES ($1) RETURNING id",
                    &[&name],
                )
                .await
        };
        let row = joining.await.map_err(|error| store_error(&error))?;
        let shared = Arc::new(Shared {
            times,
            id: row.get(0),
            number: AtomicUsize::new(0),
            of: AtomicUsize::new(1),
            is_here: AsyncMutex::new(true),
            state: Mutex::new(State {
                terms: HashMap::new(),
                unheard: Vec::new(),
                beat: Stopwatch::start(),
                steady: Stopwatch::start(),
            }),
        });
        drop(client);
        shared.beat(&pool).await?;
        let beating = tokio::spawn(beat(pool.clone(), Arc::clone(&shared)));
        Ok(Self {
            pool,
            shared,
            beating,
        })
    }

    /// This one's seat, as of the last beat.
    pub(super) fn seat(&self) -> Seat {
        Seat {
            number: self.shared.number.load(Ordering::Relaxed),
            of: self.shared.of.load(Ordering::Relaxed).max(1),
        }
    }

    /// A term for a claim that is about to be asked for. It is renewed for as long as a lease of it
    /// lives.
    pub(super) fn begin_term(&self, token: i64) -> Arc<Term> {
        let times = self.shared.times;
        let good_for = times.lease.saturating_sub(times.margin);
        let term = Arc::new(Term::new(Stopwatch::start(), good_for));
        let mut state = self.shared.lock();
        state.terms.insert(token, Arc::downgrade(&term));
        term
    }

    /// A claim failed, and perhaps only on the way back. What it has put in flight is given back with
    /// the next beat, before it would lapse and end as interrupted.
    pub(super) fn unheard(&self, token: i64) {
        self.shared.lock().unheard.push(token);
    }

    /// Whether lapsed leases may be taken over. Not before this one has been in touch for as long
    /// as a lease stands: others may have been cut off with it, and have answers to record.
    pub(super) fn may_take_over(&self) -> bool {
        let times = self.shared.times;
        let state = self.shared.lock();
        state.beat.elapsed() < times.gap() && state.steady.elapsed() >= times.lease
    }

    /// How long a lease stands.
    pub(super) fn lease(&self) -> Duration {
        self.shared.times.lease
    }

    /// Whether a commit would go through now.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.shared.beat(&self.pool).await
    }

    /// Gives the seat up.
    pub(super) async fn leave(&self) {
        let leaving = async {
            // A beat under way ends first; its statement has a deadline.
            let mut is_here = self.shared.is_here.lock().await;
            self.beating.abort();
            *is_here = false;
            drop(is_here);
            let client = self.pool.client().await?;
            client
                .execute("DELETE FROM dispatcher WHERE id = $1", &[&self.shared.id])
                .await
                .map_err(|error| store_error(&error))
        };
        if let Err(error) = leaving.await {
            tracing::warn!(%error, "the others learn only by its silence that this dispatcher has left");
        }
    }
}

/// Who works on this queue, by their names; `None`: nobody does.
pub(super) async fn at_work(
    client: &impl GenericClient,
) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = "SELECT string_agg(name, '; ' ORDER BY id) FROM dispatcher
        WHERE seen_at > callback_now() - $1";
    let row = client
        .query_one(sql, &[&millis(Times::default().silent)])
        .await?;
    Ok(row.get(0))
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// Says that this one lives, and reads who else does. A row that somebody has deleted is made
/// again.
const SAY: &str = "
WITH said AS (
  INSERT INTO dispatcher (id, name) OVERRIDING SYSTEM VALUE
  VALUES ($1, 'dispatcher ' || $1::bigint)
  ON CONFLICT (id) DO UPDATE SET seen_at = callback_now()
)
SELECT count(*) FILTER (WHERE id < $1), count(*)
FROM dispatcher WHERE seen_at > callback_now() - $2 AND id <> $1";

const RENEW: &str = "
UPDATE callback_queue SET leased_until = callback_now() + $2
WHERE lease_token = ANY ($1) AND leased_until IS NOT NULL";

const GIVE_BACK: &str = "
UPDATE callback_queue SET leased_until = NULL, leased_at = NULL, lease_token = NULL
WHERE lease_token = ANY ($1) AND leased_until IS NOT NULL";

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn beat(&self, pool: &Pool) -> Result<(), StoreError> {
        let is_here = self.is_here.lock().await;
        if !*is_here {
            return Err(StoreError::Closed);
        }
        let client = pool.client().await?;
        let said = async {
            let statement = client.prepare_cached(SAY).await?;
            client
                .query_one(&statement, &[&self.id, &millis(self.times.silent)])
                .await
        };
        let row = said.await.map_err(|error| store_error(&error))?;
        let count = |column| usize::try_from(row.get::<_, i64>(column)).unwrap_or_default();
        self.number.store(count(0), Ordering::Relaxed);
        self.of.store(count(1) + 1, Ordering::Relaxed);
        let mut state = self.lock();
        if state.beat.elapsed() > self.times.gap() {
            state.steady = Stopwatch::start();
        }
        state.beat = Stopwatch::start();
        Ok(())
    }

    /// Gives back what claims have put in flight whose answer was lost.
    async fn give_back_unheard(&self, pool: &Pool) -> Result<(), StoreError> {
        let tokens = std::mem::take(&mut self.lock().unheard);
        if tokens.is_empty() {
            return Ok(());
        }
        let giving_back = async {
            let client = pool.client().await?;
            Ok(client.execute(GIVE_BACK, &[&tokens]).await?)
        };
        let given_back: Result<u64, StoreError> = giving_back.await;
        match given_back {
            Ok(callbacks) => {
                if callbacks > 0 {
                    tracing::warn!(callbacks, "claims whose answer was lost are given back");
                }
                Ok(())
            }
            Err(error) => {
                self.lock().unheard.extend(tokens);
                Err(error)
            }
        }
    }

    /// Renews the leases of terms that have run for a while.
    async fn renew(&self, pool: &Pool) -> Result<(), StoreError> {
        let mut tokens = Vec::new();
        let mut terms = Vec::new();
        self.lock().terms.retain(|token, term| {
            let Some(term) = term.upgrade() else {
                return false;
            };
            let age = term.age();
            if age > self.times.renewed_at() {
                tokens.push(*token);
                terms.push((term, age));
            }
            true
        });
        if tokens.is_empty() {
            return Ok(());
        }
        let client = pool.client().await?;
        let renewing = async {
            let statement = client.prepare_cached(RENEW).await?;
            client
                .execute(&statement, &[&tokens, &millis(self.times.lease)])
                .await
        };
        renewing.await.map_err(|error| store_error(&error))?;
        for (term, age) in terms {
            term.renewed(age, self.times.lease.saturating_sub(self.times.margin));
        }
        Ok(())
    }
}

async fn beat(pool: Pool, shared: Arc<Shared>) {
    let mut again = tokio::time::interval(shared.times.beat);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_silent = false;
    loop {
        again.tick().await;
        let said = match shared.beat(&pool).await {
            Ok(()) => match shared.renew(&pool).await {
                Ok(()) => shared.give_back_unheard(&pool).await,
                failed => failed,
            },
            Err(error) => Err(error),
        };
        match said {
            Err(error) if !is_silent => {
                tracing::warn!(%error, "no sign of life to the other dispatchers, and no lease is renewed");
                is_silent = true;
            }
            Err(_) => {}
            Ok(()) => is_silent = false,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
