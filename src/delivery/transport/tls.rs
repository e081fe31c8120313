//! TLS: rustls with ring, the platform's roots and the operator's own.
//!
//! Absent: any way to switch verification off, and HTTP/2 by ALPN.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;

use super::progress;

/// Sessions kept for resumption: eight for each of the 512 newest merchants.
const SESSIONS_MAX: usize = 4096;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The platform has no certificates, as in a bare container, or rustls refuses them.
    #[error("no root certificates: {0}; install ca-certificates or set egress.extra_ca_file")]
    NoRoots(String),
    /// The protocol versions and the cryptography don't go together.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

/// Judges certificates by the platform's roots and `extra_roots`.
pub(super) fn verifier(
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match Verifier::new_with_extra_roots(extra_roots, provider) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(rustls::Error::General(why)) => Err(TlsError::NoRoots(why)),
        Err(error) => Err(TlsError::NoRoots(error.to_string())),
    }
}

/// The TLS configuration of every connection, with `verifier` as the judge of certificates.
pub(super) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Setup)?
        .dangerous() // rustls' word for any verifier that is not its own
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(ObservedSessions(
        ClientSessionMemoryCache::new(SESSIONS_MAX),
    )));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The memory of TLS sessions. A handshake begins by asking it, which is how the progress learns
/// that TCP is done and TLS has begun; nothing else in reqwest tells.
#[derive(Debug)]
struct ObservedSessions(ClientSessionMemoryCache);

impl ClientSessionStore for ObservedSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        progress::tls_begun();
        self.0.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        progress::tls_begun();
        self.0.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.0.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        progress::tls_begun();
        self.0.take_tls13_ticket(name)
    }
}
