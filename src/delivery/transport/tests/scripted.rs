//! A merchant that does what a script says, byte by byte, on a port of its own.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::delivery::transport::{Lookup, LookupError, LookupFailure};

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) const ACK: &str = r#"{"transResult":"SUCCESS"}"#;

/// What a connection does next. After its last step it is closed.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Read a whole request.
    Request,
    /// Send this.
    Send(Vec<u8>),
    /// Send the acknowledgement and keep the connection.
    Ack,
    /// Wait for a word from the test.
    Wait(Arc<Notify>),
    /// Give a word to the test.
    Tell(Arc<Notify>),
    /// Do nothing until the other side goes.
    Hang,
}

pub(super) fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// The server.
#[derive(Debug)]
pub(super) struct Merchant {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    accepting: JoinHandle<()>,
}

impl Merchant {
    /// Every connection acknowledges `times` requests.
    pub(super) async fn acks(times: usize) -> Self {
        Self::plain(vec![vec![[Step::Request, Step::Ack]; times].concat()]).await
    }

    /// The nth connection plays the nth script, or the last one.
    pub(super) async fn plain(scripts: Vec<Vec<Step>>) -> Self {
        Self::at(SocketAddr::new(LOOPBACK, 0), scripts).await
    }

    /// The same at this address.
    pub(super) async fn at(address: SocketAddr, scripts: Vec<Vec<Step>>) -> Self {
        Self::serve(address, scripts, None).await
    }

    /// The same behind TLS.
    pub(super) async fn tls(config: rustls::ServerConfig, scripts: Vec<Vec<Step>>) -> Self {
        Self::tls_at(SocketAddr::new(LOOPBACK, 0), config, scripts).await
    }

    /// The same at this address.
    pub(super) async fn tls_at(
        address: SocketAddr,
        config: rustls::ServerConfig,
        scripts: Vec<Vec<Step>>,
    ) -> Self {
        let tls = TlsAcceptor::from(Arc::new(config));
        Self::serve(address, scripts, Some(tls)).await
    }

    async fn serve(address: SocketAddr, scripts: Vec<Vec<Step>>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::<AtomicUsize>::default();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let handshakes = Arc::<Mutex<Vec<HandshakeKind>>>::default();
        let shown = (
            Arc::clone(&connections),
            Arc::clone(&requests),
            Arc::clone(&handshakes),
        );
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let index = connections.fetch_add(1, Ordering::SeqCst);
                let script = scripts[index.min(scripts.len() - 1)].clone();
                let (requests, tls) = (Arc::clone(&requests), tls.clone());
                let handshakes = Arc::clone(&handshakes);
                tokio::spawn(async move {
                    let Some(tls) = tls else {
                        return play(stream, script, &requests).await;
                    };
                    let stream = tls.accept(stream).await?;
                    let kind = stream.get_ref().1.handshake_kind();
                    handshakes
                        .lock()
                        .expect("no test panics with it")
                        .extend(kind);
                    play(stream, script, &requests).await
                });
            }
        });
        let (connections, requests, handshakes) = shown;
        Self {
            address,
            connections,
            requests,
            handshakes,
            accepting,
        }
    }

    /// Closes the listener.
    pub(super) async fn stop(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/callback?order=1", self.address)
    }

    /// The same by the name `merchant.test`.
    pub(super) fn named_url(&self, scheme: &str) -> String {
        format!("{scheme}://merchant.test:{}/callback", self.address.port())
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How each TLS handshake went.
    pub(super) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.handshakes
            .lock()
            .expect("no test panics with it")
            .clone()
    }

    /// Every request that was read whole, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .expect("no test panics with it")
            .clone()
    }
}

async fn play(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Vec<Step>,
    requests: &Mutex<Vec<String>>,
) -> io::Result<()> {
    for step in script {
        match step {
            Step::Request => {
                let request = read_request(&mut stream).await?;
                requests
                    .lock()
                    .expect("no test panics with it")
                    .push(request);
            }
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Ack => stream.write_all(answer(200, ACK).as_bytes()).await?,
            Step::Wait(word) => word.notified().await,
            Step::Tell(word) => word.notify_one(),
            Step::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
        }
        stream.flush().await?;
    }
    stream.shutdown().await
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
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
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
}

/// A whole answer that leaves the connection open.
pub(super) fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// One answer of a [`ScriptedLookup`].
#[derive(Clone, Debug)]
pub(super) enum Found {
    Addresses(Vec<IpAddr>),
    Fails(LookupFailure, &'static str),
    Hangs,
}

/// A resolver that gives its answers in turn, the last one for ever.
#[derive(Debug)]
pub(super) struct ScriptedLookup(Mutex<VecDeque<Found>>);

impl ScriptedLookup {
    pub(super) fn new(answers: impl IntoIterator<Item = Found>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.into_iter().collect())))
    }
}

#[async_trait]
impl Lookup for ScriptedLookup {
    async fn lookup(&self, _name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let found = {
            let mut answers = self.0.lock().expect("no test panics with it");
            match answers.len() {
                0 => panic!("no lookup was expected"),
                1 => answers[0].clone(),
                _ => answers.pop_front().expect("there are two"),
            }
        };
        match found {
            Found::Addresses(addresses) => Ok(addresses),
            Found::Fails(failure, words) => Err(LookupError::new(failure, words)),
            Found::Hangs => std::future::pending().await,
        }
    }
}
