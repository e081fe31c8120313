use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::admin::{AdminState, Beat, router};
use crate::clock::ManualClock;
use crate::delivery::observer::Observer;
use crate::domain::{CallbackId, NewCallback, Timestamp};
use crate::store::{
    Arrivals, CarriedOut, ChargedAttempt, Claim, ClaimResult, EndedAttempt, Endpoint, EnqueueError,
    Lease, LedgerEntry, Queue, RecordedAttempt, Refund, Retention, StoreError, Survey, Unrecorded,
    Unreleased,
};
use crate::telemetry::Metrics;

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A queue that only answers whether it is writable: yes, or never.
#[derive(Debug, Default)]
struct ProbeOnly {
    hangs: AtomicBool,
}

#[async_trait]
impl Queue for ProbeOnly {
    async fn newest(&self) -> Result<CallbackId, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn arrivals(&self, _: CallbackId, _: usize) -> Result<Arrivals, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn survey(&self, _: Option<Endpoint>, _: usize) -> Result<Survey, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn claim(&self, _: Claim) -> Result<Vec<ClaimResult>, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn record(&self, _: Vec<EndedAttempt>) -> Result<Vec<RecordedAttempt>, Unrecorded> {
        unreachable!("the admin port only probes")
    }
    async fn release(&self, _: Vec<Lease>) -> Result<(), Unreleased> {
        unreachable!("the admin port only probes")
    }
    async fn refund(&self, _: Refund) -> Result<Vec<ChargedAttempt>, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn interrupt_in_flight(&self, _: Timestamp) -> Result<usize, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn carry_out(&self, _: Timestamp) -> Result<CarriedOut, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn enqueue(
        &self,
        _: Vec<NewCallback>,
        _: Timestamp,
    ) -> Result<Vec<CallbackId>, EnqueueError> {
        unreachable!("the admin port only probes")
    }
    async fn prune(&self, _: Retention) -> Result<usize, StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn write_ledger(&self, _: LedgerEntry) -> Result<(), StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn maintain(&self) -> Result<(), StoreError> {
        unreachable!("the admin port only probes")
    }
    async fn probe(&self) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
    async fn nudged(&self) {
        unreachable!("the admin port only probes")
    }
    async fn close(&self) {
        unreachable!("the admin port only probes")
    }
}

/// A running admin port.
struct Admin {
    address: SocketAddr,
    beat: Arc<Beat>,
    clock: ManualClock,
    queue: Arc<ProbeOnly>,
    has_keys: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn start() -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let clock = ManualClock::at(NOON);
    let beat = Arc::new(Beat::default());
    let queue = Arc::new(ProbeOnly::default());
    let has_keys = Arc::new(AtomicBool::new(true));
    let keys = has_keys.clone();
    let state = AdminState {
        metrics: Arc::new(Metrics::new("3.53.0")),
        queue: queue.clone(),
        beat: beat.clone(),
        keys: Arc::new(move || match keys.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("keys.toml is\nempty".to_owned()),
        }),
        clock: Arc::new(clock.clone()),
    };
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, router(state), async {
        let _ = stopped.await;
    }));
    Admin {
        address,
        beat,
        clock,
        queue,
        has_keys,
        stop,
        server,
    }
}

impl Admin {
    /// The whole answer to a request, head and body.
    async fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
        read.expect("in time").expect("UTF-8");
        answer
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask("GET", path).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("cache-control: no-store"), "{head}");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

#[tokio::test]
async fn health_follows_the_beat() {
    let admin = start().await;
    assert_eq!(
        admin.get("/healthz").await,
        (503, "the loop has not begun\n".to_owned())
    );
    admin.beat.beat(NOON);
    assert_eq!(admin.get("/healthz").await, (200, "ok\n".to_owned()));
    admin.clock.advance(Duration::from_secs(10));
    assert_eq!(admin.get("/healthz").await.0, 200);
    admin.clock.advance(Duration::from_millis(1));
    let (status, reason) = admin.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(
        reason.contains("last beat at 2023-11-14T22:13:20.000Z"),
        "{reason}"
    );
}

#[tokio::test]
async fn readiness_gives_every_reason() {
    let admin = start().await;
    assert_eq!(admin.get("/readyz").await, (200, "ok\n".to_owned()));
    admin.has_keys.store(false, Ordering::Relaxed);
    assert_eq!(
        admin.get("/readyz").await,
        (503, "no keys: keys.toml is empty\n".to_owned())
    );
    admin.queue.hangs.store(true, Ordering::Relaxed);
    assert_eq!(
        admin.get("/readyz").await,
        (
            503,
            "the store did not commit within 2 s\nno keys: keys.toml is empty\n".to_owned()
        )
    );
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let admin = start().await;
    let answer = admin.ask("GET", "/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("callback_dispatcher_build_info{"));
    assert!(answer.ends_with("# EOF\n"));
}

#[tokio::test]
async fn nothing_else_is_served() {
    let admin = start().await;
    assert_eq!(admin.get("/").await.0, 404);
    assert_eq!(admin.get("/metrics/").await.0, 404);
    assert!(
        admin
            .ask("POST", "/healthz")
            .await
            .starts_with("HTTP/1.1 405")
    );
}

#[tokio::test]
async fn stops_in_spite_of_an_idle_connection() {
    let admin = start().await;
    let idle = TcpStream::connect(admin.address).await.expect("it listens");
    assert_eq!(admin.get("/readyz").await.0, 200);
    admin.stop.send(()).expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(10), admin.server).await;
    ended.expect("in time").expect("no panic");
    assert!(TcpStream::connect(admin.address).await.is_err());
    drop(idle);
}
