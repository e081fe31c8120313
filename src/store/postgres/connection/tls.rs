//! TLS: which servers are trusted, and the certificate that is shown to them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::parameters::Parameters;
use super::url_error::UrlError;

/// `is_used`: whether any connection uses it; the roots of the system are read only then.
pub(super) fn tls(parameters: &Parameters, is_used: bool) -> Result<ClientConfig, UrlError> {
    let setup = |error: rustls::Error| UrlError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(setup)?;
    let builder = match parameters.sslrootcert.as_deref() {
        Some(path) => builder.with_root_certificates(read_roots(path)?),
        // Never asked.
        None if !is_used => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_platform_verifier().map_err(setup)?,
    };
    let (certificate, key) = match (&parameters.sslcert, &parameters.sslkey) {
        (None, None) => return Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(UrlError::ClientCertificate("one is missing".to_owned())),
    };
    let fault = |error: &dyn fmt::Display| UrlError::ClientCertificate(error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(&error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| fault(&error))
}

fn read_roots(path: &Path) -> Result<RootCertStore, UrlError> {
    let fault = |reason: String| UrlError::Roots {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("no certificate in it".to_owned()));
    }
    Ok(roots)
}
