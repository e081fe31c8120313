//! The same POST, watched more closely: what the command `probe` is told.
//!
//! The POST goes the way of every other; only its progress also notes what came from outside. When
//! that is over and the server has begun to speak, a second connection to the same address makes
//! the TLS handshake again. reqwest shows neither version nor cipher suite, and nothing at all of
//! certificates that are not trusted.
//!
//! Invariants of the second connection:
//!
//! - It goes to the address that the first was allowed to dial and has dialled.
//! - It carries no byte of HTTP: it says goodbye when the handshake is done.
//! - Its certificates are judged by the transport's own verifier; it trusts nobody else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Host;

use super::certificate::Certificate;
use super::progress::Progress;
use super::worker_cache::WorkerCache;
use super::{PostReport, Requests, Transport, fault, tls};
use crate::clock::Stopwatch;
use crate::delivery::egress::{Forbidden, Target};
use crate::domain::{Cause, Exchange, Phase};

/// The rest of a longer chain is not shown.
const CHAIN_MAX: usize = 8;

/// What a probe saw.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// How the POST went.
    pub post: PostReport,
    /// Every address behind the URL, with the egress policy's verdict on it. None behind a proxy,
    /// which resolves by itself.
    pub addresses: Vec<(IpAddr, Result<(), Forbidden>)>,
    /// The dialled address, as far as known.
    pub dialled: Option<SocketAddr>,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// What the server showed of TLS, if it came to that.
    pub tls: Option<TlsReport>,
}

/// What a server showed in a handshake, which need not have succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsReport {
    /// `1.2` or `1.3`.
    pub version: Option<&'static str>,
    /// By its name in IANA's registry, as rustls writes it.
    pub cipher_suite: Option<String>,
    /// The certificates, if they came.
    pub chain: Option<Chain>,
}

/// The certificates that a server showed, its own first, and the judgement on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Those that could be read.
    pub certificates: Vec<Certificate>,
    /// Whether they were accepted.
    pub verdict: Result<(), Distrust>,
}

/// Why certificates are not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// What kind of reason it is.
    pub reason: DistrustReason,
    /// The verifier's words.
    pub detail: String,
}

/// The reasons that have a remedy of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistrustReason {
    /// The server's certificate, or one above it, has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// No trusted root vouches for it.
    UnknownIssuer,
    /// Something rarer.
    Other,
}

impl Transport {
    /// POSTs `body` to `url` as [`Post::post`](super::Post::post) does, and tells what it saw on
    /// the way. Takes up to the deadline of the POST and that of a connection.
    pub async fn probe(&self, app_id: &str, url: &str, body: Vec<u8>) -> ProbeReport {
        let progress = Progress::with_notes(Stopwatch::start());
        let post = self
            .observed(
                &progress,
                &mut WorkerCache::default(),
                app_id,
                url,
                Requests {
                    first: body,
                    again: &mut || None,
                    permit: None,
                },
            )
            .await;
        let notes = progress.notes();
        let target = self.policy.check_url(url);
        let dialled = match &post.exchange {
            Exchange::Answered { remote_addr, .. } => *remote_addr,
            Exchange::Failed(fault) => fault.remote_addr,
            Exchange::Blocked { .. } => None,
        };
        let tls = match (&target, dialled) {
            (Ok(target), Some(address)) if has_spoken_tls(&post.exchange, target) => {
                self.look_at_tls(app_id, target, address).await
            }
            _ => None,
        };
        ProbeReport {
            post,
            addresses: self.addresses(&target, notes.addresses),
            dialled,
            headers: notes.headers,
            tls,
        }
    }

    fn addresses(
        &self,
        target: &Result<Target, Forbidden>,
        resolved: Vec<IpAddr>,
    ) -> Vec<(IpAddr, Result<(), Forbidden>)> {
        let addresses = match target {
            _ if self.proxy.is_some() => Vec::new(),
            Ok(target) => match target.url.host() {
                Some(Host::Ipv4(address)) => vec![address.into()],
                Some(Host::Ipv6(address)) => vec![address.into()],
                Some(Host::Domain(_)) | None => resolved,
            },
            Err(Forbidden::Address { address, .. }) => vec![*address],
            Err(Forbidden::Embedded { address, .. }) => vec![(*address).into()],
            Err(_) => Vec::new(),
        };
        let judged = addresses.into_iter();
        judged
            .map(|address| (address, self.policy.check_address(address)))
            .collect()
    }

    /// Behind a proxy there is no address of the server to dial.
    async fn look_at_tls(
        &self,
        app_id: &str,
        target: &Target,
        address: SocketAddr,
    ) -> Option<TlsReport> {
        if self.proxy.is_some() || self.policy.check_address(address.ip()).is_err() {
            return None;
        }
        let name = match target.url.host()? {
            Host::Domain(name) => ServerName::try_from(name.to_owned()).ok()?,
            Host::Ipv4(address) => ServerName::from(IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::from(address)),
        };
        let observer = Arc::new(ObservingVerifier {
            verifier: Arc::clone(&self.verifier),
            seen: Mutex::default(),
        });
        let config = tls::client_config(Arc::clone(&observer) as _).ok()?;
        let config = self.with_certificate(app_id, config);
        let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
        let handshake = async {
            let stream = TcpStream::connect(address).await?;
            shake_hands(&mut connection, &stream).await
        };
        // However it ends: what matters is what was seen until then.
        let _ = timeout(self.connect_timeout, handshake).await;
        let report = TlsReport {
            version: connection.protocol_version().and_then(version),
            cipher_suite: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite())),
            chain: observer.chain(),
        };
        (report != TlsReport::default()).then_some(report)
    }
}

/// Whether a handshake was begun that the server has taken part in: where it kept silent or did
/// not take the connection, another one would only take time.
fn has_spoken_tls(exchange: &Exchange, target: &Target) -> bool {
    target.url.scheme() == "https"
        && match exchange {
            Exchange::Answered { .. } => true,
            Exchange::Failed(fault) => match fault.phase {
                Phase::Dns | Phase::Connect => false,
                Phase::Tls => matches!(fault.cause, Cause::Remote | Cause::NotTls),
                Phase::Head | Phase::Body => true,
            },
            Exchange::Blocked { .. } => false,
        }
}

const fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    }
}

/// By hand, because the ready-made functions return nothing of a handshake that failed.
async fn shake_hands(connection: &mut ClientConnection, stream: &TcpStream) -> io::Result<()> {
    loop {
        flush(connection, stream).await?;
        if !connection.is_handshaking() {
            break;
        }
        stream.readable().await?;
        if let Some(0) = pass_over_early(connection.read_tls(&mut Ready(stream)))? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    connection.send_close_notify();
    flush(connection, stream).await
}

async fn flush(connection: &mut ClientConnection, stream: &TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        stream.writable().await?;
        pass_over_early(connection.write_tls(&mut Ready(stream)))?;
    }
    Ok(())
}

/// Readiness is a hint: what was not ready after all is waited for again.
fn pass_over_early(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A stream that is read and written without waiting.
struct Ready<'a>(&'a TcpStream);

impl io::Read for Ready<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl io::Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Delegates to the verifier, and remembers the certificates and the verdict.
#[derive(Debug)]
struct ObservingVerifier {
    verifier: Arc<dyn ServerCertVerifier>,
    seen: Mutex<Option<Chain>>,
}

impl ObservingVerifier {
    fn chain(&self) -> Option<Chain> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl ServerCertVerifier for ObservingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let shown = std::iter::once(end_entity).chain(intermediates);
        let chain = Chain {
            certificates: shown
                .take(CHAIN_MAX)
                .filter_map(|der| Certificate::read(der))
                .collect(),
            verdict: match &judged {
                Ok(_) => Ok(()),
                Err(error) => Err(distrust(error)),
            },
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn distrust(error: &rustls::Error) -> Distrust {
    use CertificateError as Why;
    let reason = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            Why::Expired | Why::ExpiredContext { .. } => DistrustReason::Expired,
            Why::NotValidYet | Why::NotValidYetContext { .. } => DistrustReason::NotYetValid,
            Why::NotValidForName | Why::NotValidForNameContext { .. } => DistrustReason::WrongName,
            // What has the name of a root but another key fails by its signature.
            Why::UnknownIssuer | Why::BadSignature => DistrustReason::UnknownIssuer,
            _ => DistrustReason::Other,
        },
        _ => DistrustReason::Other,
    };
    Distrust {
        reason,
        detail: fault::tls_detail(error),
    }
}
