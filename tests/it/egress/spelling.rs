//! One address has many spellings, and all of them are that address.

use std::net::{IpAddr, Ipv4Addr};

use callback_dispatcher::delivery::egress::{Forbidden, TargetHost};

use crate::fuzz::targets::registry::{bounds, ipv4};
use crate::fuzz::targets::url::as_the_c_library;

use super::{ip, policy};

/// What resolvers and browsers take for `address`.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let whole = u32::from(address);
    let (low, lower) = (whole & 0xff_ffff, whole & 0xffff);
    let dotted = address.to_string();
    let wide: String = dotted.chars().map(full_width).collect();
    let percent: String = dotted.bytes().map(|byte| format!("%{byte:02x}")).collect();
    vec![
        format!("{dotted}."),
        format!("{a}.{low}"),
        format!("{a}.{b}.{lower}"),
        whole.to_string(),
        format!("{whole:#x}"),
        format!("{whole:#X}").replace("0X", "0x"),
        format!("0{whole:o}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.{b}.{c:#x}.{d}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0X{a:x}.{low:#x}"),
        dotted.replace('.', "。"),
        dotted.replace('.', "．"),
        dotted.replace('.', "%2E"),
        percent,
        wide,
        format!("[::ffff:{dotted}]"),
        format!("[::FFFF:{:x}:{:x}]", whole >> 16, lower),
        format!("[0:0:0:0:0:ffff:{dotted}]"),
        dotted,
    ]
}

/// `1` as `１`.
fn full_width(character: char) -> char {
    match character.to_digit(10) {
        Some(digit) => char::from_u32('０' as u32 + digit).expect("there are ten of them"),
        None => character,
    }
}

#[test]
fn no_spelling_leads_to_a_forbidden_address() {
    let policy = policy(&[]);
    for (block, ..) in ipv4() {
        let IpAddr::V4(last) = bounds(block).1 else {
            panic!("{block} is not of IPv4");
        };
        for host in spellings(last) {
            for url in [
                format!("https://{host}/callback"),
                format!("http://{host}:8080"),
                format!("https:{host}"),
                format!("https:\\\\{host}\\a"),
                format!(" ht\ttps://{host}?a#b\n"),
            ] {
                match policy.check_url(&url) {
                    Err(Forbidden::Address { .. } | Forbidden::Embedded { .. }) => {}
                    verdict => panic!("{url}: {verdict:?}"),
                }
            }
        }
    }
}

#[test]
fn every_spelling_of_a_public_address_is_that_address() {
    let public = Ipv4Addr::new(193, 0, 6, 139);
    for host in spellings(public).iter().filter(|it| !it.starts_with('[')) {
        let target = policy(&[]).check_url(&format!("https://{host}/callback"));
        let target = target.expect(host);
        assert_eq!(target.host, TargetHost::Address(public.into()), "{host}");
        let url = target.url.as_str();
        assert_eq!(url, "https://193.0.6.139/callback", "{host}");
    }
}

#[test]
fn near_addresses_are_refused() {
    let policy = policy(&["0.0.0.0/0", "::/0"]);
    let hosts = "256.0.0.1 1.2.3.4.5 4294967296 0x100000000 08.0.0.1 1.2.3.0x 127.0.0.1.1 a.0x7f
        [::1%25lo] [fe80::1%eth0] [::1 [::g] [1.2.3.4] [v1.a] 127.0.0.1%00";
    for host in hosts
        .split_whitespace()
        .chain(["127.0.0.1 ", "127.0.0.1\0"])
    {
        let verdict = policy.check_url(&format!("https://{host}/"));
        // Some are another spelling of an address after all; a name they are never.
        let is_name = verdict.is_ok_and(|target| target.host == TargetHost::Name);
        assert!(!is_name, "{host}");
    }
}

#[test]
fn urls_with_credentials_are_refused() {
    let policy = policy(&[]);
    for url in [
        "https://user@merchant.example/",
        "https://user:secret@merchant.example/",
        "https://:secret@merchant.example/",
        "https://merchant.example@evil.example/",
        "https://merchant.example%40evil.example@8.8.8.8/",
        "https://a@b@merchant.example/",
        "https://us\ter@merchant.example/",
        "https:user@merchant.example",
        "https://%00@merchant.example/",
    ] {
        assert_eq!(policy.check_url(url), Err(Forbidden::Userinfo), "{url}");
    }
    // An empty one is none, and does not stay.
    for url in ["https://@merchant.example/", "https://:@merchant.example/"] {
        let target = policy.check_url(url).expect(url);
        assert_eq!(target.url.as_str(), "https://merchant.example/", "{url}");
    }
    // Behind the host it is just a character.
    for url in [
        "https://merchant.example/@user",
        "https://merchant.example?a=b@c",
        "https://merchant.example#@10.0.0.1",
        "https://merchant.example\\@10.0.0.1",
    ] {
        let target = policy.check_url(url).expect(url);
        assert_eq!(target.url.host_str(), Some("merchant.example"), "{url}");
    }
}

#[test]
fn the_model_of_the_c_library_is_right() {
    for (name, address) in [
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("1.2.772", "1.2.3.4"),
        ("0", "0.0.0.0"),
    ] {
        assert_eq!(as_the_c_library(name).map(IpAddr::from), Some(ip(address)));
    }
    for name in [
        "",
        "merchant.example",
        "256.1.1.1",
        "1.2.3.4.5",
        "08",
        "+1",
        "1..2",
    ] {
        assert_eq!(as_the_c_library(name), None, "{name}");
    }
}
