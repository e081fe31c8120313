//! The whole daemon in this process, as `run` starts it: a queue in a file or on a server, merchants
//! on loopback.
//!
//! The clock is a manual one that starts at the real time, so that fifteen minutes pass at once and
//! rows that `sqlite3` or `psql` inserts are due. Leases go by PostgreSQL's clock. Nothing sleeps: a test waits until something holds, and
//! that nothing happens is proved by a canary, a later callback to the same merchant that has
//! been delivered while the other was left alone.

mod arrival;
mod commands;
mod dispatcher;
mod egress;
mod fairness;
mod housekeeping;
mod limits;
mod outage;
mod panic;
mod retries;
mod shared;
mod traces;
mod uncounted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Clock, ManualClock, SharedClock, SystemClock};
use callback_dispatcher::domain::{CallbackId, NewCallback};
use callback_dispatcher::merchant::{MockMerchant, Script};
use callback_dispatcher::service::Service;
use callback_dispatcher::store::{AttemptRow, CallbackRow, ShownState};

use crate::secrets::HMAC;
use crate::support::callback::{finished, insert, insert_rows, payment, payment_of};
use crate::support::place::{Place, key, listener};
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::{PATIENCE, in_time, until};

/// What a wait between two attempts is by default.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// A daemon under a manual clock.
pub(super) struct Daemon {
    clock: ManualClock,
    service: Service,
}

impl Daemon {
    pub(super) async fn start(place: &Place, changes: &[(&str, &str)]) -> Self {
        Self::start_at(place, changes, clock()).await
    }

    async fn start_at(place: &Place, changes: &[(&str, &str)], clock: ManualClock) -> Self {
        let configuration = place.configuration(changes);
        let service = Service::start(configuration, Arc::new(clock.clone())).await;
        Self {
            clock,
            service: service.unwrap_or_else(|error| panic!("{error}")),
        }
    }

    /// Where its admin port is.
    pub(super) fn admin_addr(&self) -> SocketAddr {
        self.service.admin_addr().expect("ADMIN__LISTEN is set")
    }

    /// The clock that it goes by.
    pub(super) fn shared_clock(&self) -> SharedClock {
        Arc::new(self.clock.clone())
    }

    /// Lets time pass.
    pub(super) fn advance(&self, step: Duration) {
        self.clock.advance(step);
    }

    /// Takes up what has changed, as after SIGHUP.
    pub(super) async fn reload(&mut self, place: &Place, changes: &[(&str, &str)]) {
        let reloaded = self.service.reload(place.configuration(changes)).await;
        reloaded.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A merchant with the same clock.
    pub(super) async fn merchant(&self, place: &Place, script: impl Into<Script>) -> MockMerchant {
        place.merchant_at(script, self.shared_clock()).await
    }

    /// Queues a payment as of the manual clock.
    pub(super) async fn queue(&self, url: &str, order: &str) {
        self.enqueue(vec![payment(url, order)]).await;
    }

    /// Queues callbacks as of the manual clock.
    pub(super) async fn enqueue(&self, callbacks: Vec<NewCallback>) -> Vec<CallbackId> {
        let queued = self.service.queue().enqueue(callbacks, self.clock.now());
        queued.await.expect("queued")
    }

    /// The one callback of this order.
    pub(super) async fn callback(&self, order: &str) -> CallbackRow {
        self.found(order).await.expect("one callback")
    }

    /// The callback of this order, if it is committed.
    pub(super) async fn found(&self, order: &str) -> Option<CallbackRow> {
        let found = self.service.inspection().find(order).await;
        let mut found = found.expect("readable").into_iter();
        let callback = found.next();
        assert_eq!(found.next(), None, "{order} is one callback");
        callback
    }

    pub(super) async fn attempts(&self, order: &str) -> Vec<AttemptRow> {
        let id = self.callback(order).await.id;
        let attempts = self.service.inspection().attempts(id).await;
        attempts.expect("readable")
    }

    /// The outcomes of its attempts so far.
    async fn outcomes(&self, order: &str) -> Vec<String> {
        let attempts = self.attempts(order).await.into_iter();
        attempts.map(|attempt| attempt.outcome).collect()
    }

    pub(super) async fn until_state(&self, order: &str, state: ShownState) -> CallbackRow {
        let what = format!("{order} is {state}");
        until(&what, async || self.callback(order).await.state == state).await;
        self.callback(order).await
    }

    /// `n` attempts are in the log.
    pub(super) async fn until_attempts(&self, order: &str, n: usize) {
        let what = format!("{order} has {n} attempts");
        until(&what, async || self.attempts(order).await.len() >= n).await;
    }

    /// `n` callbacks are in this state.
    pub(super) async fn until_count(&self, state: ShownState, n: u64) {
        let what = format!("{n} callbacks are {state}");
        until(&what, async || self.count(state).await == n).await;
    }

    async fn count(&self, state: ShownState) -> u64 {
        let stats = self.service.inspection().stats().await.expect("readable");
        let depth = stats.depth.into_iter();
        depth
            .filter(|(found, _)| *found == state)
            .map(|(_, count)| count)
            .sum()
    }

    /// Stops it; no attempt was in flight.
    pub(super) async fn stop(self) {
        assert_eq!(self.service.stop().await, Ok(0));
    }
}

/// A manual clock at the real time.
fn clock() -> ManualClock {
    ManualClock::at(SystemClock.now())
}
