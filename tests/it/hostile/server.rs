//! A server that does what a list of acts says, byte by byte, on a port of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a connection does next. After its last act it is closed in the usual way.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Read a whole request.
    Request,
    /// Read whatever comes first.
    Glance,
    /// Send this.
    Send(Arc<[u8]>),
    /// Send this, one byte a second.
    Drip(Arc<[u8]>),
    /// Send this again and again, until the other side goes.
    Flood {
        wave: Arc<[u8]>,
        /// Between two waves.
        pause: Duration,
    },
    /// Say nothing for this long.
    Pause(Duration),
    /// Say nothing until the other side goes.
    Hang,
    /// Send this on the TCP connection itself, below TLS.
    Bare(Arc<[u8]>),
    /// End with a reset.
    Reset,
    /// End TCP without a word of TLS.
    Cut,
}

pub(super) fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().into())
}

pub(super) fn drip(bytes: impl AsRef<[u8]>) -> Act {
    Act::Drip(bytes.as_ref().into())
}

/// Pauses a little, for these servers share their two or four cores with the daemon and with the
/// healthy merchant, which no merchant does in life.
pub(super) fn flood(wave: impl AsRef<[u8]>) -> Act {
    Act::Flood {
        wave: wave.as_ref().into(),
        pause: Duration::from_millis(5),
    }
}

/// The acknowledgement as an answer that leaves the connection open.
pub(super) fn ack() -> Act {
    send("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"transResult\":\"SUCCESS\"}")
}

/// What the server has seen.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    bytes_sent: AtomicU64,
    requests: Mutex<Vec<String>>,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    listening: JoinHandle<()>,
}

impl Server {
    pub(super) async fn plain(acts: Vec<Act>) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, None, acts).await
    }

    pub(super) async fn tls(config: Arc<ServerConfig>, acts: Vec<Act>) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, Some(config), acts).await
    }

    /// Every connection does the same acts.
    pub(super) async fn at(host: Ipv4Addr, tls: Option<Arc<ServerConfig>>, acts: Vec<Act>) -> Self {
        let bound = TcpListener::bind((host, 0)).await;
        let listener = bound.expect("a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let seen: Arc<Seen> = Arc::default();
        let noting = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noting.connections.fetch_add(1, Ordering::SeqCst);
                noting.open.fetch_add(1, Ordering::SeqCst);
                let (seen, tls, acts) = (Arc::clone(&noting), tls.clone(), acts.clone());
                tokio::spawn(async move {
                    // The other side may go whenever it likes.
                    let _ = converse(stream, tls, acts, &seen).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            seen,
            listening,
        }
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/callback", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that neither side has closed.
    pub(super) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.seen.bytes_sent.load(Ordering::SeqCst)
    }

    /// Every request that was read whole, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.seen.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A stream, and the TCP connection below it.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    acts: Vec<Act>,
    seen: &Seen,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => play(stream, acts, seen).await,
        Some(config) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            play(stream, acts, seen).await
        }
    }
}

async fn play(mut wire: impl Wire, acts: Vec<Act>, seen: &Seen) -> io::Result<()> {
    for act in acts {
        match act {
            Act::Request => {
                let request = read_request(&mut wire).await?;
                let requests = seen.requests.lock();
                requests
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request);
            }
            Act::Glance => {
                let _length = wire.read(&mut [0; 4096]).await?;
            }
            Act::Send(bytes) => write(&mut wire, &bytes, seen).await?,
            Act::Drip(bytes) => {
                let mut second = tokio::time::interval(Duration::from_secs(1));
                for byte in bytes.chunks(1) {
                    second.tick().await;
                    write(&mut wire, byte, seen).await?;
                }
                gone(&mut wire).await?;
            }
            Act::Flood { wave, pause } => loop {
                write(&mut wire, &wave, seen).await?;
                tokio::time::sleep(pause).await;
            },
            Act::Pause(time) => tokio::time::sleep(time).await,
            Act::Hang => gone(&mut wire).await?,
            Act::Bare(bytes) => {
                // The send buffer is empty, or nearly.
                wire.tcp().writable().await?;
                assert_eq!(wire.tcp().try_write(&bytes)?, bytes.len());
            }
            Act::Reset => return wire.tcp().set_zero_linger(),
            Act::Cut => return Ok(()),
        }
    }
    wire.shutdown().await
}

async fn write(wire: &mut impl Wire, bytes: &[u8], seen: &Seen) -> io::Result<()> {
    wire.write_all(bytes).await?;
    wire.flush().await?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    seen.bytes_sent.fetch_add(length, Ordering::SeqCst);
    Ok(())
}

/// Returns once the other side has closed.
async fn gone(wire: &mut impl Wire) -> io::Result<()> {
    while wire.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

async fn read_request(wire: &mut impl Wire) -> io::Result<String> {
    let mut request = Vec::new();
    loop {
        if let Some(head_end) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&request).into_owned();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            if request.len() >= head_end + 4 + length {
                return Ok(text);
            }
        }
        if wire.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
