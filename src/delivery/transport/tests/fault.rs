//! The classification of errors, as a table.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use crate::delivery::egress::Forbidden;
use crate::delivery::transport::fault::{self, Circumstances, Finding, classify};
use crate::domain::{Cause, Phase};

const AROUND: Circumstances = Circumstances {
    phase: Phase::Connect,
    connect_timeout: Duration::from_secs(3),
    is_proxied: false,
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
        (101, Cause::Local, "network unreachable"),
        (100, Cause::Local, "Network is down"),
        (99, Cause::Local, "Cannot assign requested address"),
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

#[test]
fn the_resolvers_words_tell_whose_fault_it_is() {
    let table = [
        ("Temporary failure in name resolution", Cause::Local),
        ("Try again", Cause::Local),
        ("Memory allocation failure", Cause::Local),
        ("Name or service not known", Cause::Remote),
        ("Name does not resolve", Cause::Remote),
        ("No address associated with hostname", Cause::Remote),
        ("Non-recoverable failure in name resolution", Cause::Remote),
    ];
    for (words, cause) in table {
        let words = format!("failed to lookup address information: {words}");
        let finding = during(Phase::Dns, &io::Error::other(words.clone()));
        assert_eq!((finding.cause, finding.detail), (cause, words));
    }
    // The same words from elsewhere are a merchant's.
    let elsewhere = during(Phase::Head, &io::Error::other("Try again"));
    assert_eq!(elsewhere.cause, Cause::Remote);
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

#[test]
fn a_late_refusal_of_tls_is_still_one_of_tls() {
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
    let wrapped = io::Error::new(io::ErrorKind::InvalidData, alert);
    assert_eq!(during(Phase::Head, &wrapped).phase, Phase::Tls);
    assert_eq!(during(Phase::Body, &wrapped).phase, Phase::Body);
}

#[test]
fn an_own_timer_is_a_deadline() {
    let timer = io::Error::new(io::ErrorKind::TimedOut, "deadline has elapsed");
    let finding = during(Phase::Connect, &timer);
    assert_eq!(finding.cause, Cause::Deadline);
    assert_eq!(finding.detail, "no connection within 3s while connecting");
    let finding = during(Phase::Tls, &timer);
    assert_eq!(
        finding.detail,
        "no connection within 3s during the TLS handshake"
    );
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
