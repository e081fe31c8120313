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
mod shared;
mod skew;
mod timing;
mod tokens;

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::GenericClient;

use super::connection::Pool;
use crate::clock::{BootStopwatch, Clock as _, SystemClock};
use crate::store::lease::LeaseDeadline;
use crate::store::{CommitObserver, FleetPosition, StoreError};
use server_clock::Reading;
use shared::Shared;
use tokens::{owner, token, tokens_of};

pub(super) use skew::Skew;
pub use timing::FleetTiming;
pub(super) use tokens::OWNER;

/// Between two searches for claims of dispatchers that nobody knows, and for lost claims of our own.
const SWEEP_EVERY_S: u64 = 60;

/// This dispatcher among the others.
#[derive(Debug)]
pub(super) struct Fleet {
    shared: Arc<Shared>,
    beating: JoinHandle<()>,
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
        let shared = Arc::new(Shared::new(pool, timing, row.get(0), observer));
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
        self.shared.position()
    }

    /// The difference between the clocks, as of the last heartbeat.
    pub(super) fn skew(&self) -> Skew {
        self.shared.skew()
    }

    /// Begins a claim; returns its token. Ends with [`Fleet::claimed`] or [`Fleet::claim_failed`].
    pub(super) fn begin_claim(&self) -> Result<i64, StoreError> {
        let token = token(self.shared.id)?;
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
        tokens_of(id)
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
            self.shared.stop_heartbeats().await;
            self.beating.abort();
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
