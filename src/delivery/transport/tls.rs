//! TLS: rustls with ring, the platform's roots and the operator's own.
//!
//! Absent: any way to switch verification off, and HTTP/2 by ALPN.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;

use super::trace;

/// Sessions kept for resumption: eight for each of the 512 newest merchants.
const SESSIONS_MAX: usize = 4096;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of further roots is not readable.
    #[error("cannot read egress.extra_ca_file {}: {source}; correct the path or its mode", path.display())]
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of further roots holds no usable certificate.
    #[error("egress.extra_ca_file {} has no usable certificate: {why}; it must be PEM", path.display())]
    CaUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The platform has no certificates, as in a bare container, or rustls refuses them.
    #[error("no root certificates: {0}; install ca-certificates or set egress.extra_ca_file")]
    NoRoots(String),
    /// The protocol versions and the cryptography don't go together.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

/// Judges certificates by the platform's roots and those of `extra_ca_file` (PEM).
pub(super) fn verifier(
    extra_ca_file: Option<&Path>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = extra_ca_file.map(read_roots).transpose()?;
    match Verifier::new_with_extra_roots(roots.into_iter().flatten(), provider) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) => Err(match (extra_ca_file, error) {
            // Of the roots, only the extra ones are refused one by one.
            (Some(path), error @ rustls::Error::InvalidCertificate(_)) => TlsError::CaUnusable {
                path: path.to_owned(),
                why: error.to_string(),
            },
            (_, rustls::Error::General(why)) => TlsError::NoRoots(why),
            (_, error) => TlsError::NoRoots(error.to_string()),
        }),
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
    config.resumption = Resumption::store(Arc::new(TellingSessions(
        ClientSessionMemoryCache::new(SESSIONS_MAX),
    )));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::CaUnreadable {
        path: path.to_owned(),
        source,
    })?;
    let unusable = |why: String| TlsError::CaUnusable {
        path: path.to_owned(),
        why,
    };
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if roots.is_empty() {
        return Err(unusable("no CERTIFICATE section in it".to_owned()));
    }
    Ok(roots)
}

/// The memory of TLS sessions. A handshake begins by asking it, which is how the trace learns
/// that TCP is done and TLS has begun; nothing else in reqwest tells.
#[derive(Debug)]
struct TellingSessions(ClientSessionMemoryCache);

impl ClientSessionStore for TellingSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        trace::tls_begun();
        self.0.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        trace::tls_begun();
        self.0.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.0.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        trace::tls_begun();
        self.0.take_tls13_ticket(name)
    }
}
