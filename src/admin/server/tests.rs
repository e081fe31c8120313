use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::admin::{AdminState, Beat, History, router};
use crate::clock::SystemClock;
use crate::delivery::observer::Observer;
use crate::domain::Timestamp;
use crate::telemetry::Metrics;

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A running admin port.
struct Admin {
    address: SocketAddr,
    beat: Arc<Beat>,
    /// A store that hangs instead of taking a commit.
    store_hangs: Arc<AtomicBool>,
    has_keys: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn start() -> Admin {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let beat = Arc::new(Beat::default());
    let store_hangs = Arc::new(AtomicBool::new(false));
    let hangs = store_hangs.clone();
    let has_keys = Arc::new(AtomicBool::new(true));
    let keys = has_keys.clone();
    let state = AdminState {
        metrics: Arc::new(Metrics::new("3.53.0")),
        clock: Arc::new(SystemClock),
        store: Arc::new(move || match hangs.load(Ordering::Relaxed) {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(Ok(()))),
        }),
        beat: beat.clone(),
        history: Arc::new(History::new(NOON)),
        keys: Arc::new(move || match keys.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("keys.toml is\nempty".to_owned()),
        }),
    };
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, router(state), async {
        let _ = stopped.await;
    }));
    Admin {
        address,
        beat,
        store_hangs,
        has_keys,
        stop,
        server,
    }
}

impl Admin {
    /// The whole answer to a request, head and body.
    async fn ask(&self, method: &str, path: &str) -> String {
        self.ask_with(method, path, "").await
    }

    async fn ask_with(&self, method: &str, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
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
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let admin = start().await;
    let open_metrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    for (accept, content_type, line) in [
        (
            "",
            "application/openmetrics-text",
            "# TYPE callback_dispatcher_attempts counter",
        ),
        (open_metrics, "application/openmetrics-text", "# EOF"),
        (
            "text/plain",
            "text/plain",
            "# TYPE callback_dispatcher_attempts_total counter",
        ),
        ("*/*", "application/openmetrics-text", "# EOF"),
    ] {
        let header = match accept {
            "" => String::new(),
            accept => format!("Accept: {accept}\r\n"),
        };
        let answer = admin.ask_with("GET", "/metrics", &header).await;
        assert!(
            answer.contains(&format!("content-type: {content_type}")),
            "{accept}: {answer}"
        );
        assert!(
            answer.lines().any(|found| found == line),
            "{accept}: {line}"
        );
    }
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
    admin.store_hangs.store(true, Ordering::Relaxed);
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
