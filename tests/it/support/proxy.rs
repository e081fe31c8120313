//! A TCP proxy before a server on loopback, which can keep back what passes through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::place::listener;

/// Runs as long as it lives.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Connections that are made from now on get no answer, nor does anything they send arrive.
    is_frozen: AtomicBool,
    /// The next connection that has carried this text gets no more answers.
    swallows: Mutex<Option<&'static str>>,
    connections: Mutex<Vec<Arc<Passing>>>,
}

/// What passes on a connection.
#[derive(Default)]
struct Passing {
    is_muted: AtomicBool,
    is_frozen: AtomicBool,
    is_clogged: AtomicBool,
}

impl Proxy {
    /// Before the server at `port`.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = listener().await;
        let own = listener.local_addr().expect("it is bound").port();
        let state = Arc::<State>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, port, Arc::clone(&state)));
        Self {
            port: own,
            state,
            _serving: serving,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// No connection that stands now gets another answer; later ones do.
    pub(crate) fn mute_all(&self) {
        for passing in &*self.state.connections() {
            passing.is_muted.store(true, Ordering::SeqCst);
        }
    }

    /// Of the connections that stand now, no answer is read any more, so that the server waits.
    pub(crate) fn clog(&self) {
        for passing in &*self.state.connections() {
            passing.is_clogged.store(true, Ordering::SeqCst);
        }
    }

    /// The next connection that sends something, and on which `text` was sent at any time, gets no
    /// more answers.
    pub(crate) fn swallow_the_answer_to(&self, text: &'static str) {
        *self.state.swallows.lock().expect("no panic") = Some(text);
    }

    /// Whether that has happened.
    pub(crate) fn has_swallowed(&self) -> bool {
        self.state.swallows.lock().expect("no panic").is_none()
    }

    /// Nothing passes any more on any connection, old or new, and none is closed or refused.
    pub(crate) fn freeze(&self) {
        self.state.is_frozen.store(true, Ordering::SeqCst);
        for passing in &*self.state.connections() {
            passing.is_frozen.store(true, Ordering::SeqCst);
        }
    }
}

impl State {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Passing>>> {
        self.connections.lock().expect("no panic")
    }

    /// Whether the answer to this connection, on which `seen` was sent, is to be swallowed.
    fn swallows(&self, seen: &str) -> bool {
        let mut swallows = self.swallows.lock().expect("no panic");
        let does = swallows.is_some_and(|text| seen.contains(text));
        if does {
            *swallows = None;
        }
        does
    }
}

async fn serve(listener: TcpListener, port: u16, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
            continue;
        };
        let passing = Arc::<Passing>::default();
        let is_frozen = state.is_frozen.load(Ordering::SeqCst);
        passing.is_frozen.store(is_frozen, Ordering::SeqCst);
        state.connections().push(Arc::clone(&passing));
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        connections.spawn(requests(
            from_client,
            to_server,
            Arc::clone(&passing),
            Arc::clone(&state),
        ));
        connections.spawn(answers(from_server, to_client, passing));
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passing: Arc<Passing>,
    state: Arc<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut seen = String::new();
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if passing.is_frozen.load(Ordering::SeqCst) {
            continue;
        }
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if state.swallows(&seen) {
            passing.is_muted.store(true, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, passing: Arc<Passing>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        let is_kept_back =
            passing.is_muted.load(Ordering::SeqCst) || passing.is_frozen.load(Ordering::SeqCst);
        if passing.is_clogged.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match read {
            // Who gets no answer is not told of an end either.
            Ok(0) | Err(_) if is_kept_back => std::future::pending().await,
            Ok(0) | Err(_) => return,
            Ok(_) if is_kept_back => {}
            Ok(length) => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
