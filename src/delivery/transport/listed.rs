//! Certificates of `egress.extra_ca_file` that a server shows as its own.
//!
//! `openssl req -x509` makes a certificate that is signed by itself and says that it is an authority. Such a
//! one is not accepted at the end of a chain, although the operator has named it. Here the very certificate
//! that is listed is trusted as it is, for the names in it and as long as it says.
//!
//! Absent: trust in anything that a listed certificate has signed. That is the platform verifier's business.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Trusts what another verifier trusts, and the listed certificates themselves.
#[derive(Debug)]
pub(super) struct ListedVerifier {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for ListedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let is_listed = || self.listed.iter().any(|listed| listed == end_entity);
        match judged {
            Err(_) if is_listed() => check_alone(end_entity, server_name, now),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Names and dates: all there is to check of a certificate that is trusted as it is.
fn check_alone(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let named = verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name);
    match named {
        Err(_) if is_common_name(&parsed, server_name) => {}
        named => named?,
    }
    Ok(ServerCertVerified::assertion())
}

/// Whether a certificate without alternative names, as `openssl req -x509 -subj /CN=NAME` makes it, is for
/// this name.
fn is_common_name(certificate: &X509Certificate<'_>, server_name: &ServerName<'_>) -> bool {
    let has_others = !matches!(certificate.subject_alternative_name(), Ok(None));
    let mut names = certificate.subject().iter_common_name();
    !has_others
        && names.any(|name| {
            name.as_str()
                .is_ok_and(|name| name.eq_ignore_ascii_case(&server_name.to_str()))
        })
}
