//! The classification of errors, as a table.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::CertificateError;

use crate::delivery::egress::Forbidden;
use crate::delivery::transport::fault::{self, Circumstances, Finding, classify};
use crate::domain::{Cause, Phase, reason};

const AROUND: Circumstances = Circumstances {
    phase: Phase::Connect,
    is_proxied: false,
    dialled: None,
};

fn during(phase: Phase, error: &(dyn Error + 'static)) -> Finding {
    classify(error, Circumstances { phase, ..AROUND })
}

#[test]
fn errno_tells_whose_fault_it_is() {
    let table = [
        (111, Cause::Remote, "connection refused"),
        (104, Cause::Remote, "connection reset"),
        (113, Cause::Remote, "host unreachable"),
        (110, Cause::Remote, "Connection timed out"),
        (100, Cause::Local, "Network is down"),
        (24, Cause::Local, "Too many open files"),
        (23, Cause::Local, "Too many open files in system"),
        (105, Cause::Local, "No buffer space available"),
        (12, Cause::Local, "Cannot allocate memory"),
        (13, Cause::Local, "Permission denied"),
        (1, Cause::Local, "Operation not permitted"),
    ];
    for (errno, cause, detail) in table {
        let finding = during(Phase::Connect, &io::Error::from_raw_os_error(errno));
        assert_eq!(finding.phase, Phase::Connect);
        assert_eq!((finding.cause, &*finding.detail), (cause, detail));
    }
}

/// Loopback has a route on every host, so the word came from elsewhere; and where there is a route, what lacks
/// is a port.
#[test]
fn a_network_out_of_reach_of_a_router_far_away_is_not_this_hosts_fault() {
    let to_loopback = Circumstances {
        dialled: Some([127, 0, 0, 1].into()),
        ..AROUND
    };
    for (errno, cause, detail) in [
        (101, Cause::Remote, "network unreachable"),
        (99, Cause::Local, "Cannot assign requested address"),
    ] {
        let finding = classify(&io::Error::from_raw_os_error(errno), to_loopback);
        assert_eq!((finding.cause, &*finding.detail), (cause, detail));
    }
}

#[test]
fn what_a_proxy_says_of_itself_is_this_hosts_fault_and_what_it_says_of_the_merchant_is_not() {
    let behind_proxy = Circumstances {
        is_proxied: true,
        ..AROUND
    };
    for (words, cause) in [
        ("SOCKS error: credentials not accepted", Cause::Local),
        ("SOCKS error: connection not allowed", Cause::Local),
        ("SOCKS error: host unreachable", Cause::Remote),
        ("SOCKS error: connection refused", Cause::Remote),
        ("tunnel error: proxy authorization required", Cause::Local),
    ] {
        let error: Box<dyn Error + Send + Sync> = words.into();
        assert_eq!(classify(&*error, behind_proxy).cause, cause, "{words}");
    }
}

#[test]
fn what_an_io_error_wraps_is_found() {
    let tls = rustls::Error::InvalidCertificate(CertificateError::Expired);
    let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
    let finding = during(Phase::Tls, &wrapped);
    assert_eq!(finding.phase, Phase::Tls);
    assert_eq!(finding.cause, Cause::Remote);
    assert!(finding.detail.contains("xpired"), "{}", finding.detail);
    let forbidden = io::Error::other(Forbidden::PlainHttp);
    assert_eq!(fault::forbidden(&forbidden), Some(&Forbidden::PlainHttp));
}

/// Merchants are told the part before what is for the operator.
#[test]
fn no_fault_of_tls_is_told_in_rusts_words() {
    use rustls::{AlertDescription, InvalidMessage, PeerIncompatible, PeerMisbehaved};
    let name = || rustls::pki_types::ServerName::try_from("other.example").expect("a name");
    let certificates = [
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::Revoked,
        CertificateError::UnknownIssuer,
        CertificateError::BadSignature,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::NotValidForName,
        CertificateError::NotValidForNameContext {
            expected: name(),
            presented: vec!["DnsName(\"shop.example\")".to_owned()],
        },
        CertificateError::InvalidPurpose,
        CertificateError::ApplicationVerificationFailure,
        CertificateError::Other(rustls::OtherError(Arc::new(io::Error::other(
            "Other(OtherError(CaUsedAsEndEntity))",
        )))),
    ];
    let mut errors: Vec<rustls::Error> = certificates.map(rustls::Error::InvalidCertificate).into();
    errors.extend([
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure),
        rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
        rustls::Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
        rustls::Error::NoCertificatesPresented,
        rustls::Error::NoApplicationProtocol,
        rustls::Error::PeerSentOversizedRecord,
        rustls::Error::DecryptError,
        rustls::Error::HandshakeNotComplete,
        rustls::Error::General("a::b { c: Some(1) }".to_owned()),
    ]);
    for error in errors {
        let detail = fault::tls_detail(&error);
        let reason = reason(&detail);
        for word in ["::", "{", "(", "\"", "_", "egress"] {
            assert!(!reason.contains(word), "{word} in {reason:?} of {error:?}");
        }
    }
}

#[test]
fn a_late_refusal_of_tls_is_still_one_of_tls() {
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    let wrapped = io::Error::new(io::ErrorKind::InvalidData, alert);
    assert_eq!(during(Phase::Head, &wrapped).phase, Phase::Tls);
    assert_eq!(during(Phase::Body, &wrapped).phase, Phase::Body);
}

#[test]
fn what_breaks_after_the_handshake_is_no_fault_of_the_handshake() {
    use rustls::{AlertDescription, InvalidMessage, PeerMisbehaved};
    let errors = [
        rustls::Error::DecryptError,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
        rustls::Error::PeerSentOversizedRecord,
        rustls::Error::PeerMisbehaved(PeerMisbehaved::KeyEpochWithPendingFragment),
        rustls::Error::AlertReceived(AlertDescription::InternalError),
    ];
    for error in errors {
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
        for phase in [Phase::Head, Phase::Body] {
            let finding = during(phase, &wrapped);
            assert_eq!((finding.phase, finding.cause), (phase, Cause::Remote));
            assert!(!finding.detail.contains("handshake"), "{finding:?}");
        }
        assert_eq!(during(Phase::Tls, &wrapped).phase, Phase::Tls);
    }
}

#[test]
fn no_link_is_in_a_detail() {
    let words = "peer closed connection without sending TLS close_notify: https://docs.rs/";
    let cut = io::Error::new(io::ErrorKind::UnexpectedEof, words);
    let detail = during(Phase::Body, &cut).detail;
    assert_eq!(detail, "the server cut the connection off");
}

#[test]
fn a_proxy_that_refuses_is_this_hosts_fault() {
    let refused = io::Error::from_raw_os_error(111);
    let behind_proxy = Circumstances {
        is_proxied: true,
        ..AROUND
    };
    let finding = classify(&refused, behind_proxy);
    assert_eq!(finding.cause, Cause::Local);
    assert_eq!(finding.detail, "egress.proxy: connection refused");
}

#[test]
fn long_words_are_cut_between_characters() {
    let long = io::Error::other("é".repeat(1000));
    assert_eq!(during(Phase::Head, &long).detail.chars().count(), 303);
}
