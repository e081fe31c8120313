//! From an error to where and why an exchange broke: pure, but for a look at this host's routes.
//!
//! reqwest's own words are not used, because they contain the URL; what speaks is the most
//! specific error it carries.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use hyper::http::uri::InvalidUri;
use rustls::pki_types::{InvalidDnsNameError, UnixTime};
use rustls::{AlertDescription, CertificateError};

use super::lookup::LookupError;
use crate::delivery::egress::Forbidden;
use crate::domain::{Cause, FOR_OPERATOR, Phase, Timestamp, words_of_name};

/// The longest detail; certificates bring long ones.
const DETAIL_CHARS_MAX: usize = 300;

/// Linux's numbers for what std has no public `ErrorKind` for. They are the same on every
/// architecture that Rust's std supports except MIPS and SPARC (ENOBUFS).
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;

/// What hyper says of a proxy that refuses us, or is none. The errors' types are private to it. What a SOCKS
/// proxy says of the merchant (refused, out of reach) is not among them.
const PROXY_REFUSES_US: [&str; 8] = [
    "proxy authorization required",
    "credentials not accepted",
    "server does not support user/pass authentication",
    "server implements authentication incorrectly",
    "failed parsing server response",
    "general server failure",
    "connection not allowed",
    "command not supported",
];

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) phase: Phase,
    pub(super) cause: Cause,
    pub(super) detail: String,
}

/// What the classification needs to know beside the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// The stage that the progress saw.
    pub(super) phase: Phase,
    /// Whether the connection goes to the operator's proxy.
    pub(super) is_proxied: bool,
    /// What was dialled, as far as known.
    pub(super) dialled: Option<IpAddr>,
}

/// The policy's verdict, if that is what the error is about.
pub(super) fn forbidden<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Forbidden> {
    find(error)
}

/// Whether nothing was sent because the URL is none in HTTP's own grammar.
pub(super) fn is_unsendable(error: &(dyn Error + 'static)) -> bool {
    find::<InvalidUri>(error).is_some()
        || find::<reqwest::Error>(error).is_some_and(reqwest::Error::is_builder)
}

/// Whether the error is how a connection shows that the other side closed it: what a kept
/// connection does that was closed while nobody looked. That a part of the head of an answer had come
/// can't be told before the head is whole, and would make no difference.
pub(super) fn is_closed(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        }
        error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::UnexpectedEof
            )
        })
    })
}

/// Where and why the exchange broke.
pub(super) fn classify(error: &(dyn Error + 'static), around: Circumstances) -> Finding {
    let mut finding = Finding {
        phase: around.phase,
        cause: Cause::Remote,
        detail: String::new(),
    };
    let io_error = io_error(error);
    if let Some(lookup_error) = find::<LookupError>(error) {
        // What is looked up on the way to a connection is the proxy's name, or with socks5:// a merchant's, whose
        // faults are taken for ours as well.
        finding = Finding {
            phase: Phase::Dns,
            cause: Cause::Local,
            detail: format!("egress.proxy: {lookup_error}"),
        };
    } else if let Some(tls_error) = find::<rustls::Error>(error) {
        // Under TLS 1.3 the server's refusal comes when the client thinks the handshake over.
        if around.phase < Phase::Head || around.phase == Phase::Head && is_refusal(tls_error) {
            finding.phase = Phase::Tls;
            if matches!(tls_error, rustls::Error::InvalidMessage(_)) {
                finding.cause = Cause::NotTls;
            }
            finding.detail = tls_detail(tls_error);
        } else {
            finding.detail = broken_tls_detail(tls_error);
        }
    } else if find::<InvalidDnsNameError>(error).is_some() {
        finding.phase = Phase::Tls;
        finding.detail = "no certificate can be valid for this host name".to_owned();
    } else if let Some(io_error) = io_error {
        let is_at_proxy = around.is_proxied && around.phase <= Phase::Connect;
        if is_at_proxy || is_local(io_error, around.dialled) {
            finding.cause = Cause::Local;
        }
        finding.detail = io_detail(io_error);
        if is_at_proxy {
            finding.detail = format!("egress.proxy: {}", finding.detail);
        }
    } else {
        let words = deepest(error).to_string();
        let is_at_proxy = around.is_proxied && around.phase <= Phase::Connect;
        finding.detail = match is_at_proxy {
            true => format!("egress.proxy: {words}"),
            false => words,
        };
        if is_at_proxy
            && PROXY_REFUSES_US
                .iter()
                .any(|it| finding.detail.ends_with(it))
        {
            finding.cause = Cause::Local;
        }
    }
    finding.detail = shorten(finding.detail);
    finding
}

/// Where and why a lookup brought nothing.
pub(super) fn of_lookup(error: &LookupError) -> Finding {
    Finding {
        phase: Phase::Dns,
        cause: match error.is_local() {
            true => Cause::Local,
            false => Cause::Remote,
        },
        detail: shorten(error.to_string()),
    }
}

/// Whether an attempt to connect to `dialled` failed on this host, if only for want of a route in the address's
/// family.
pub(super) fn is_of_this_host(error: &(dyn Error + 'static), dialled: Option<IpAddr>) -> bool {
    io_error(error).is_some_and(|error| {
        let lacks_route = error.kind() == io::ErrorKind::NetworkUnreachable && !has_route(dialled);
        lacks_route || is_local(error, dialled)
    })
}

fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    chain(error)
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .last()
}

/// The words for a deadline that passed.
pub(super) fn deadline_detail(awaited: &str, limit: Duration, phase: Phase) -> String {
    let limit = humantime::format_duration(limit);
    let stage = match phase {
        Phase::Tls => format!("during {phase}"),
        _ => format!("while {phase}"),
    };
    format!("no {awaited} within {limit} {stage}")
}

/// The errors behind an error. `io::Error::source` leaves out the one it wraps, so that
/// one is asked for by its own method.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| behind(*error))
}

fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The first error of this type behind an error.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    chain(error).last().unwrap_or(error)
}

/// Whether this host is to blame. No route to a host is the network's word about the other side. A network
/// that is unreachable may be so for a router far away: this host is to blame if it has no route itself, in no
/// family. One that only lacks the address's family, such as IPv6, is well.
fn is_local(error: &io::Error, dialled: Option<IpAddr>) -> bool {
    let Some(number) = error.raw_os_error() else {
        return false;
    };
    match error.kind() {
        io::ErrorKind::NetworkUnreachable => !has_route(dialled) && !is_online(),
        // No port is left, or this host has no address of the family.
        io::ErrorKind::AddrNotAvailable => has_route(dialled) || !is_online(),
        io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrInUse
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::OutOfMemory => true,
        _ => matches!(number, ENFILE | EMFILE | ENOBUFS),
    }
}

/// Whether this host has a route to the rest of the world, in any family. The addresses are those of
/// documentations.
fn is_online() -> bool {
    let anywhere = [
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    ];
    anywhere.into_iter().any(|address| has_route(Some(address)))
}

/// Whether this host knows a way to `address`. A datagram socket that connects sends nothing.
fn has_route(address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| {
        let from: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let connected = UdpSocket::bind((from, 0)).and_then(|socket| socket.connect((address, 9)));
        connected.is_ok()
    })
}

fn io_detail(error: &io::Error) -> String {
    match error.kind() {
        kind @ (io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable) => kind.to_string(),
        io::ErrorKind::UnexpectedEof => "the server cut the connection off".to_owned(),
        // Without the number: "Connection timed out (os error 110)".
        _ => match error.to_string().split_once(" (os error ") {
            Some((words, _)) => words.to_owned(),
            None => error.to_string(),
        },
    }
}

/// Whether the server refuses what the client's last part of the handshake told: its certificate, as a rule.
fn is_refusal(error: &rustls::Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        rustls::Error::AlertReceived(
            Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
        )
    )
}

/// Why a connection broke after its handshake.
fn broken_tls_detail(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(why) => {
            let name = words_of_name(&format!("{why:?}"));
            format!("the server ended the connection with the alert: {name}")
        }
        rustls::Error::DecryptError => {
            "the server's answer is not valid TLS: it can't be decrypted".to_owned()
        }
        rustls::Error::InvalidMessage(_) | rustls::Error::PeerSentOversizedRecord => {
            tls_detail(error)
        }
        other => {
            let name = words_of_name(&format!("{other:?}"));
            format!("the server's answer is not valid TLS: {name}")
        }
    }
}

/// Why TLS failed, in words for people: rustls' own have Rust's types and Unix times in them.
pub(super) fn tls_detail(error: &rustls::Error) -> String {
    use rustls::Error;
    let name = |why: &dyn fmt::Debug| words_of_name(&format!("{why:?}"));
    match error {
        Error::InvalidCertificate(why) => certificate_detail(why),
        Error::InvalidMessage(why) => {
            format!("the server's answer is not valid TLS: {}", name(why))
        }
        Error::AlertReceived(alert) => {
            format!(
                "the server ended the handshake with the alert: {}",
                name(alert)
            )
        }
        Error::PeerIncompatible(why) => {
            format!(
                "the server offers nothing that is accepted here: {}",
                name(why)
            )
        }
        Error::PeerMisbehaved(why) => {
            format!("the server does not keep to the protocol: {}", name(why))
        }
        Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        Error::NoApplicationProtocol => "the server does not offer HTTP/1.1".to_owned(),
        Error::PeerSentOversizedRecord => {
            "the server's answer is not valid TLS: record too large".to_owned()
        }
        other => format!("the handshake failed: {}", name(other)),
    }
}

fn certificate_detail(why: &CertificateError) -> String {
    use CertificateError as Why;
    let moment = |at: &UnixTime| {
        let millis = i64::try_from(at.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        Timestamp::from_millis(millis)
    };
    match why {
        Why::Expired => "the certificate has expired".to_owned(),
        Why::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", moment(not_after))
        }
        Why::NotValidYet => "the certificate is not valid yet".to_owned(),
        Why::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", moment(not_before))
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "the certificate is not valid for this host name".to_owned()
        }
        Why::UnknownIssuer => format!(
            "the certificate's issuer is not trusted\
             {FOR_OPERATOR}egress.extra_ca_file adds a private one"
        ),
        Why::BadSignature => "the certificate's signature does not hold".to_owned(),
        Why::Revoked => "the certificate was revoked".to_owned(),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "the certificate is not for servers".to_owned()
        }
        // The verifier's own error, whose name is all there is.
        Why::Other(inner) => {
            format!(
                "the certificate is not accepted: {}",
                words_of_name(&inner.to_string())
            )
        }
        other => {
            format!(
                "the certificate is not accepted: {}",
                words_of_name(&format!("{other:?}"))
            )
        }
    }
}

fn shorten(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
        detail.truncate(end);
        detail.push_str("...");
    }
    detail
}
