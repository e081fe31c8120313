//! Certificates of `egress.extra_ca_file`: which of them are authorities, and those that a server shows as its own.
//!
//! The platform verifier takes every root that it is given as an authority for all names, also one that says it is
//! none. So it is given only those that say they are one. It also refuses an authority at the end of a chain, although
//! `openssl req -x509` makes such certificates for servers. Here any certificate that is listed is trusted as itself,
//! whoever has signed it: for the names in it and as long as it says.
//!
//! Absent: trust in anything that a listed certificate has signed. That is the platform verifier's business.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

/// Trusts what the authorities have signed, and the listed certificates themselves.
#[derive(Debug)]
pub(super) struct ListedVerifier {
    /// `None` where there is no authority, neither listed nor of the platform.
    pub(super) authorities: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) listed: Vec<CertificateDer<'static>>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Whether this certificate says that it may sign others: by its basic constraints and, if it has one, its key usage.
/// One of X.509 version 1 can say neither, and is one if it has signed itself.
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    if certificate.version() == X509Version::V1 {
        return certificate.issuer().as_raw() == certificate.subject().as_raw();
    }
    let is_said = matches!(certificate.basic_constraints(), Ok(Some(said)) if said.value.ca);
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    is_said && may_sign
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
        let judged = match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
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
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
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
