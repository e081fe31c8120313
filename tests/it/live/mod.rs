//! The whole daemon in this process, as `run` starts it: a queue in a file or on a server, merchants
//! on loopback.
//!
//! The clock is a manual one that starts at the real time, so that fifteen minutes pass at once and
//! rows that `sqlite3` or `psql` inserts are due. Leases go by PostgreSQL's clock. Nothing sleeps: a test waits until something holds, and
//! that nothing happens is proved by a canary, a later callback to the same merchant that has
//! been delivered while the other was left alone.

mod acknowledgement;
mod arrival;
mod commands;
mod egress;
mod fairness;
mod guards;
mod housekeeping;
mod limits;
mod outage;
mod panic;
mod place;
mod retries;
mod shared;
mod traces;
mod uncounted;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Clock, ManualClock, SharedClock, SystemClock};
use callback_dispatcher::domain::{CallbackId, NewCallback};
use callback_dispatcher::service::Service;
use callback_dispatcher::store::{AttemptRow, CallbackRow, ShownState};
use tokio::net::TcpListener;

pub(super) use place::Place;

use crate::store_kind::{StoreKind, on_both};

/// How long anything may take that should take a moment; to take over what another dispatcher has
/// left takes half of this.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a wait between two attempts is by default.
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// The key of app 6 alone.
const KEYS: &str = r#"[[key]]
app_id = "6"
id = "2026-11"
secret = "newpay-demo-secret"
"#;

/// A free port on loopback.
pub(super) async fn listener() -> TcpListener {
    let bound = TcpListener::bind(("127.0.0.1", 0)).await;
    bound.expect("a free port on loopback")
}

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

    /// Queues payments as of the manual clock.
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

/// Asks until `holds` says yes, [`PATIENCE`] long.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        while !holds().await {
            again.tick().await;
        }
    };
    in_time(what, asking).await;
}

/// What `future` gives, if it does so in time.
pub(super) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// A payment of app 6.
pub(super) fn payment(url: &str, order: &str) -> NewCallback {
    payment_of("6", url, order)
}

fn payment_of(app: &str, url: &str, order: &str) -> NewCallback {
    let line = serde_json::json!({
        "kind": "payment", "callBackUrl": url, "appId": app, "payMethod": 1,
        "orderAmt": "123.00", "currency": "LAK", "newpayOrderNo": order,
        "orderNo": format!("shop-{order}"), "subject": "1", "result": "success",
        "transInfo": "Transaction Success", "settlementStatus": 1,
    });
    NewCallback::from_json_line(&line.to_string()).expect("a payment")
}

/// The INSERT of a payment of app 6, with `more` columns and their SQL.
pub(super) fn insert(url: &str, order: &str, more: &[(&str, &str)]) -> String {
    let (url, order) = (format!("'{url}'"), format!("'{order}'"));
    let mut columns = BTreeMap::from([
        ("kind", "'payment'"),
        ("callback_url", url.as_str()),
        ("app_id", "'6'"),
        ("pay_method", "1"),
        ("amount", "'123.00'"),
        ("currency", "'LAK'"),
        ("newpay_order_no", order.as_str()),
        ("order_no", order.as_str()),
        ("result", "'success'"),
        ("settlement_status", "1"),
    ]);
    columns.extend(more.iter().copied());
    let names: Vec<&str> = columns.keys().copied().collect();
    let values: Vec<&str> = columns.values().copied().collect();
    let (names, values) = (names.join(", "), values.join(", "));
    format!("INSERT INTO callback_queue ({names}) VALUES ({values});")
}
