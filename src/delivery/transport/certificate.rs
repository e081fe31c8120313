//! What stands in a certificate that a server has shown: for people to read.
//!
//! Absent: any judgement. Whom to trust is the verifier's to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::domain::Timestamp;

/// A certificate, as far as people want to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// The host names and addresses that it is for (subjectAltName), at most [`NAMES_MAX`].
    pub names: Vec<String>,
    /// Valid from here.
    pub not_before: Timestamp,
    /// Valid to here.
    pub not_after: Timestamp,
}

/// Certificates of content networks are for hundreds of names.
pub const NAMES_MAX: usize = 20;

impl Certificate {
    /// Reads one; `None` if it is not X.509.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
        })
    }

    /// Whether it vouches for itself.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    });
    names.take(NAMES_MAX).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(octets)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn moment(unix_seconds: i64) -> Timestamp {
    Timestamp::from_millis(unix_seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "ຮ້ານ");
        params.not_before = date_time_ymd(2026, 11, 1);
        params.not_after = date_time_ymd(2027, 1, 30);
        let key = KeyPair::generate().expect("a key");
        let signed = params.self_signed(&key).expect("a certificate");
        Certificate::read(signed.der()).expect("it is X.509")
    }

    #[test]
    fn says_whose_and_how_long() {
        let read = certificate(&["shop.example", "*.shop.example", "192.0.2.7", "2001:db8::7"]);
        assert_eq!(
            read.names,
            ["shop.example", "*.shop.example", "192.0.2.7", "2001:db8::7"]
        );
        assert!(read.subject.contains("ຮ້ານ"), "{}", read.subject);
        assert!(read.is_self_issued());
        assert_eq!(read.not_before.to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(read.not_after.to_string(), "2027-01-30T00:00:00.000Z");
    }

    #[test]
    fn names_are_capped() {
        let many: Vec<String> = (0..100).map(|n| format!("n{n}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(certificate(&many).names.len(), NAMES_MAX);
        assert!(certificate(&[]).names.is_empty());
    }

    #[test]
    fn non_x509_bytes_are_rejected() {
        assert_eq!(Certificate::read(b""), None);
        assert_eq!(Certificate::read(b"-----BEGIN CERTIFICATE-----"), None);
    }
}
