//! TLS: rustls with aws-lc-rs, the platform's roots and the operator's own.
//!
//! Key exchange is hybrid post-quantum (X25519MLKEM768) with servers that know it: recorded traffic stays
//! closed to a quantum computer.
//!
//! Absent: any way to switch verification off, and HTTP/2 by ALPN.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;

use super::listed::{ListedVerifier, is_authority};
use super::progress;
use super::secp521r1::Secp521r1;

/// Sessions kept for resumption by each peer.
const SESSIONS_PER_PEER: usize = 8;

/// Bounded, so that unique origins cannot exhaust memory.
const PEERS_MAX: usize = 1024;

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

/// The cryptography of all connections with merchants.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.push(&Secp521r1);
    provider
}

/// The cipher suites that are accepted, by their names in IANA's registry, those of TLS 1.3 first.
pub fn accepted_cipher_suites() -> Vec<String> {
    let suites = provider().cipher_suites;
    let names = suites.iter().map(|suite| format!("{:?}", suite.suite()));
    names.map(|name| name.replace("TLS13_", "TLS_")).collect()
}

/// Judges certificates by the platform's roots and the listed certificates.
pub(super) fn verifier(
    listed: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(provider());
    let extra_roots = listed.iter().filter(|listed| is_authority(listed)).cloned();
    let authorities: Option<Arc<dyn ServerCertVerifier>> =
        match Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider)) {
            Ok(verifier) => Some(Arc::new(verifier)),
            // There is no authority, yet some servers' own certificates are trusted.
            Err(rustls::Error::General(_)) if !listed.is_empty() => None,
            Err(rustls::Error::General(why)) => return Err(TlsError::NoRoots(why)),
            Err(error) => return Err(TlsError::NoRoots(error.to_string())),
        };
    Ok(Arc::new(ListedVerifier {
        authorities,
        listed,
        provider,
    }))
}

/// The TLS configuration of every connection, with `verifier` as the judge of certificates.
pub(super) fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Setup)?
        .dangerous() // rustls' word for any verifier that is not its own
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The TLS sessions that can be resumed: those of an app with one address and port under one name.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    kept: Mutex<HashMap<String, Arc<ObservedSessions>>>,
}

impl Sessions {
    /// Where connections of `app_id` with `origin` at `address` keep their sessions.
    pub(super) fn of(&self, app_id: &str, origin: &str, address: Option<IpAddr>) -> Resumption {
        let key = format!("{app_id}\n{origin}\n{address:?}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PEERS_MAX && !kept.contains_key(&key) {
            kept.clear();
        }
        let sessions = kept.entry(key).or_default();
        Resumption::store(Arc::clone(sessions) as _)
    }
}

/// The memory of TLS sessions. A handshake begins by asking it, which is how the progress learns
/// that TCP is done and TLS has begun; nothing else in reqwest tells.
#[derive(Debug)]
struct ObservedSessions(ClientSessionMemoryCache);

impl Default for ObservedSessions {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(SESSIONS_PER_PEER))
    }
}

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
