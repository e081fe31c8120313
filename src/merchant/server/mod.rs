//! The merchant's listener: its settings, its connections, its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Script};
use super::conversation::Behaviour;
use super::journal::Journal;
use super::ledger::Ledger;
use super::received::Received;
use crate::clock::{SharedClock, SystemClock};
use crate::domain::{Convention, Keyring};

/// Connections held at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// The wait after a failed accept, which mostly means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the merchant behaves.
#[derive(Clone)]
pub struct MerchantSettings {
    /// What is answered.
    pub script: Script,
    /// How many POSTs of each order are answered with [`Answer::Refuse`] before that.
    pub fail_first: u32,
    /// Where each POST is recorded.
    pub journal: Option<PathBuf>,
    /// The keys to check signatures with.
    pub keyring: Arc<Keyring>,
    /// How signatures are made.
    pub convention: Convention,
    /// Tells when a POST arrives.
    pub clock: SharedClock,
    /// The certificate and key of an `https` merchant; `None`: plain `http`.
    pub tls: Option<Arc<ServerConfig>>,
    /// How many of the newest POSTs [`MockMerchant::received`] returns; 0 keeps none, and if
    /// nothing else asks for their content, they are not even parsed: for benches.
    pub remember: usize,
}

/// Acknowledges everything over plain HTTP, knows no key, remembers the newest 10 000.
impl Default for MerchantSettings {
    fn default() -> Self {
        Self {
            script: Answer::Ack.into(),
            fail_first: 0,
            journal: None,
            keyring: Arc::default(),
            convention: Convention::default(),
            clock: Arc::new(SystemClock),
            tls: None,
            remember: 10_000,
        }
    }
}

impl fmt::Debug for MerchantSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MerchantSettings")
            .field("script", &self.script)
            .field("fail_first", &self.fail_first)
            .field("journal", &self.journal)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// Why the merchant can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The journal can't be opened.
    #[error("journal {path}: {source}; give a file in a directory that may be written to")]
    Journal {
        /// Where it should be.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The listener is none.
    #[error("the listening socket has no address ({0}); bind it first")]
    Listener(io::Error),
}

/// A merchant that is at work. It stops when this is dropped.
#[derive(Debug)]
pub struct MockMerchant {
    address: SocketAddr,
    scheme: &'static str,
    behaviour: Arc<Behaviour>,
    /// The listener closes when this is dropped.
    open: oneshot::Sender<()>,
    listening: JoinHandle<()>,
}

impl MockMerchant {
    /// Answers on `listener` from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(listener: TcpListener, settings: MerchantSettings) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let reads = settings.fail_first > 0
            || settings.journal.is_some()
            || settings.remember > 0
            || matches!(settings.script, Script::Each(_));
        let journal = match settings.journal {
            None => None,
            Some(path) => match Journal::open(&path) {
                Ok(journal) => Some(journal),
                Err(source) => return Err(StartError::Journal { path, source }),
            },
        };
        let behaviour = Arc::new(Behaviour {
            script: settings.script,
            fail_first: settings.fail_first,
            keyring: settings.keyring,
            convention: settings.convention,
            clock: settings.clock,
            journal,
            ledger: Ledger::new(settings.remember),
            reads,
        });
        let tls = settings.tls.map(TlsAcceptor::from);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (open, closed) = oneshot::channel();
        let listening = tokio::spawn(listen(listener, tls, behaviour.clone(), closed));
        Ok(Self {
            address,
            scheme,
            behaviour,
            open,
            listening,
        })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// How many POSTs have been received: read whole, and journalled if that is asked for.
    pub fn count(&self) -> usize {
        self.behaviour.ledger.count()
    }

    /// The newest POSTs, oldest first; at most [`MerchantSettings::remember`].
    pub fn received(&self) -> Vec<Received> {
        self.behaviour.ledger.newest()
    }

    /// Returns once `n` POSTs have been received since the start. The caller sets the deadline.
    pub async fn wait_for(&self, n: usize) {
        self.behaviour.ledger.wait_for(n).await;
    }

    /// Closes the listener and every connection, in the middle of an answer too.
    pub async fn stop(self) {
        drop(self.open);
        // Only a panic makes this an error, and that has been reported.
        let _ = self.listening.await;
    }
}

/// Takes connections until `closed`.
async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    behaviour: Arc<Behaviour>,
    mut closed: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A stop goes first, then what frees a place, so that neither waits for new connections.
            biased;
            _ = &mut closed => break,
            Some(_) = connections.join_next() => {}
            stream = accept(&listener), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(serve_stream(stream, tls.clone(), behaviour.clone()));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "the mock merchant can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_stream(stream: TcpStream, tls: Option<TlsAcceptor>, behaviour: Arc<Behaviour>) {
    // Without it an answer would wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    match tls {
        None => serve(stream, behaviour).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve(stream, behaviour).await,
            Err(error) => tracing::debug!(%error, "no TLS session with the caller"),
        },
    }
}

/// Answers the requests of one connection, one after the other.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, behaviour: Arc<Behaviour>) {
    let behaviour = &*behaviour;
    let connection = http1::Builder::new()
        // No timers: a caller may keep its connection open for as long as it likes.
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| behaviour.respond(request)),
        );
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
