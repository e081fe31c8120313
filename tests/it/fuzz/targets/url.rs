//! A callback URL, or an address: what the egress policy lets pass is somebody's public address.

use std::net::{IpAddr, Ipv4Addr};

use callback_dispatcher::delivery::egress::{Forbidden, Policy, Target, TargetHost, URL_CHARS_MAX};

use super::registry::is_a_merchants;

/// `data` is a URL; four or sixteen bytes are an address as well.
pub(crate) fn check(data: &[u8]) {
    if let Ok(octets) = <[u8; 4]>::try_from(data) {
        check_address(octets.into());
    }
    if let Ok(octets) = <[u8; 16]>::try_from(data) {
        check_address(octets.into());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_url(text);
    }
}

/// The verdict is the registries'.
pub(crate) fn check_address(address: IpAddr) {
    let verdict = Policy::default().check_address(address);
    assert_eq!(
        verdict.is_ok(),
        is_a_merchants(address),
        "{address}: {verdict:?}"
    );
}

fn check_url(text: &str) {
    let strict = Policy::default();
    let lax = Policy {
        allow_http: true,
        ..Policy::default()
    };
    match (lax.check_url(text), strict.check_url(text)) {
        (Ok(target), verdict) => {
            let is_https = target.url.scheme() == "https";
            assert!(is_https || target.url.scheme() == "http", "{text:?}");
            assert_eq!(verdict.is_ok(), is_https, "{text:?}");
            check_target(&lax, text, &target);
        }
        (Err(forbidden), verdict) => {
            assert!(verdict.is_err(), "{text:?}");
            check_refusal(text, &forbidden);
        }
    }
}

fn check_target(policy: &Policy, text: &str, target: &Target) {
    assert!(text.chars().count() <= URL_CHARS_MAX, "{text:?}");
    assert_ne!(target.port, 0, "{text:?}");
    let called = target.url.as_str();
    // A user or password would be sent along.
    let (_, behind) = called.split_once("://").expect("it is absolute");
    let authority = behind.split(['/', '?', '#', '\\']).next();
    let authority = authority.expect("the first piece is there");
    assert!(!authority.contains('@'), "{text:?}: {called}");
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) {
                host
            } else {
                authority
            }
        });
    match target.host {
        TargetHost::Address(address) => {
            assert!(is_a_merchants(address), "{text:?}: {address}");
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(bare.parse::<IpAddr>(), Ok(address), "{text:?}: {called}");
        }
        TargetHost::Name => {
            let name = host.strip_suffix('.').unwrap_or(host);
            assert_eq!(as_the_c_library(name), None, "{text:?}: {called}");
            assert!(host.is_ascii() && !host.is_empty(), "{text:?}: {called}");
        }
    }
    // What is called means to everybody what was judged.
    let uri: hyper::Uri = called.parse().expect("a request can carry it");
    assert_eq!(uri.host(), Some(host), "{text:?}: {called}");
    let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    });
    assert_eq!(port, target.port, "{text:?}: {called}");
    if called.chars().count() <= URL_CHARS_MAX {
        assert_eq!(policy.check_url(called).as_ref(), Ok(target), "{text:?}");
    }
}

/// A refusal has a reason that holds.
fn check_refusal(text: &str, forbidden: &Forbidden) {
    match forbidden {
        Forbidden::TooLong => assert!(text.chars().count() > URL_CHARS_MAX),
        Forbidden::PlainHttp => panic!("{text:?}: http was allowed"),
        Forbidden::Userinfo => assert!(text.contains('@'), "{text:?}"),
        Forbidden::Address {
            address, network, ..
        } => {
            assert!(!is_a_merchants(*address), "{text:?}: {address}");
            assert!(network.contains(address), "{text:?}: {address}");
        }
        Forbidden::Embedded { embedded, .. } => {
            assert!(!is_a_merchants((*embedded).into()), "{text:?}: {embedded}");
        }
        Forbidden::Denied { .. } | Forbidden::OwnAddress { .. } => panic!("{text:?}: {forbidden}"),
        Forbidden::Invalid(_) | Forbidden::Scheme | Forbidden::PortZero | Forbidden::HostName => {}
    }
}

/// What `inet_aton` of the C library takes for an address: one to four numbers, each decimal,
/// octal or hexadecimal, the last one filling what is left. A name like that is no name.
pub(crate) fn as_the_c_library(name: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = name.split('.').map(number).collect::<Option<_>>()?;
    let (last, before) = numbers.split_last()?;
    if before.len() > 3 || before.iter().any(|byte| *byte > 255) {
        return None;
    }
    let places_left = 8 * (4 - before.len());
    if u64::from(*last) >> places_left != 0 {
        return None;
    }
    let high = before.iter().enumerate();
    let high: u32 = high.map(|(index, byte)| byte << (24 - 8 * index)).sum();
    Some(Ipv4Addr::from(high | last))
}

fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    let is_sound = !digits.is_empty() && !digits.starts_with('+');
    u32::from_str_radix(digits, radix).ok().filter(|_| is_sound)
}
