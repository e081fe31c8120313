//! Every range at its edges, every odd spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::ranges::{IPV4, IPV6};
use super::*;

fn open_policy(networks: &[&str]) -> Policy {
    Policy {
        allow_http: true,
        allow_networks: networks
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect(),
        ..Policy::default()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn is_public(address: impl Into<IpAddr>) -> bool {
    Policy::default().check_address(address.into()).is_ok()
}

#[test]
fn what_is_denied_is_denied_whatever_else_allows_it() {
    let policy = Policy {
        deny_networks: vec!["93.184.216.0/24".parse().expect("a network")],
        ..open_policy(&["93.184.216.34/32", "10.0.0.0/8"])
    };
    for denied in [
        "93.184.216.34",
        "93.184.216.255",
        "::ffff:93.184.216.34",
        "2002:5db8:d822::1",
    ] {
        let verdict = policy.check_address(ip(denied)).expect_err(denied);
        assert!(
            verdict.to_string().contains("egress.deny_networks"),
            "{verdict}"
        );
    }
    assert_eq!(policy.check_address(ip("93.184.217.0")), Ok(()));
    assert_eq!(policy.check_address(ip("10.0.0.1")), Ok(()));
}

#[test]
fn a_clouds_own_service_is_forbidden_though_its_number_is_public() {
    assert!(!is_public(ip("168.63.129.16")));
    assert!(is_public(ip("168.63.129.15")) && is_public(ip("168.63.129.17")));
    let listed = open_policy(&["168.63.129.16/32"]);
    assert_eq!(listed.check_address(ip("168.63.129.16")), Ok(()));
}

#[test]
fn both_ends_of_every_range_are_forbidden() {
    for (network, range) in &IPV4 {
        assert!(!is_public(network.network()), "{network} {range}");
        assert!(!is_public(network.broadcast()), "{network} {range}");
    }
    for (network, range) in &IPV6 {
        assert!(!is_public(network.network()), "{network} {range}");
        assert!(!is_public(network.broadcast()), "{network} {range}");
    }
}

#[test]
fn the_neighbours_of_every_ipv4_range_are_public() {
    // Written out and not computed from the table: these would notice a wrong prefix length.
    let public = "
        1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
        128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255
        192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255
        192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255
        192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255
        203.0.114.0 223.255.255.255 8.8.8.8
    ";
    for address in public.split_whitespace() {
        assert!(is_public(ip(address)), "{address}");
    }
    let forbidden = "
        0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0
        127.255.255.255 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255
        192.0.2.255 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.255 203.0.113.255
        224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.254 255.255.255.255
    ";
    for address in forbidden.split_whitespace() {
        assert!(!is_public(ip(address)), "{address}");
    }
}

#[test]
fn the_neighbours_of_every_ipv6_range_are_public_if_global_unicast() {
    let public = "
        2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::
        2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9::
        2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003::
        2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001::
        3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::
        3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2606:4700:4700::1111
    ";
    for address in public.split_whitespace() {
        assert!(is_public(ip(address)), "{address}");
    }
    let forbidden = "
        :: ::1 ::2 ::127.0.0.1 ::ffff:8.8.8.8 ::1:0:0:0 64:ff9b::8.8.8.8 64:ff9b:1::1
        64:ff9b:2::1 100::1 100:0:0:1::1 100:0:0:2::1
        1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001::1 2001:2::1 2001:20::1
        2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8::1 2002:808:808::1 3fff::1
        3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: 5f00::1 8000::1 fc00::1 fdff::1
        fe00::1 fe80::1 febf::1 fec0::1 feff::1 ff02::1
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    ";
    for address in forbidden.split_whitespace() {
        assert!(!is_public(ip(address)), "{address}");
    }
}

#[test]
fn no_range_is_hidden_behind_another() {
    for (network, range) in &IPV4 {
        let (found, _) = ranges::special_range(network.network().into()).expect("forbidden");
        assert_eq!(found, IpNet::V4(*network), "{range}");
    }
    for (network, range) in &IPV6 {
        // The last address: the first of ::/96 and of 2001::/23 lie in narrower ranges.
        let (found, _) = ranges::special_range(network.broadcast().into()).expect("forbidden");
        assert_eq!(found, IpNet::V6(*network), "{range}");
    }
}

#[test]
fn the_reason_names_the_range_and_the_setting() {
    let forbidden = Policy::default().check_address(ip("127.0.0.1"));
    assert_eq!(
        forbidden.expect_err("loopback").to_string(),
        "127.0.0.1 is loopback (127.0.0.0/8); operator: add it to egress.allow_networks to allow it"
    );
    let forbidden = Policy::default().check_address(ip("::ffff:10.0.0.1"));
    assert_eq!(
        forbidden.expect_err("private").to_string(),
        "::ffff:10.0.0.1 carries 10.0.0.1, and 10.0.0.1 is private (10.0.0.0/8); \
         operator: add it to egress.allow_networks to allow it"
    );
    let forbidden = Policy::default().check_address(ip("9000::1"));
    assert_eq!(
        forbidden.expect_err("unassigned").to_string(),
        "9000::1 is not global unicast (8000::/3); \
         operator: add it to egress.allow_networks to allow it"
    );
}

#[test]
fn listed_networks_are_allowed_and_no_more() {
    let policy = open_policy(&["127.0.0.0/8", "fd00::/8"]);
    for allowed in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "8.8.8.8"] {
        assert_eq!(policy.check_address(ip(allowed)), Ok(()), "{allowed}");
    }
    for forbidden in [
        "10.0.0.1",
        "::1",
        "fc00::1",
        "64:ff9b::127.0.0.1",
        "::ffff:8.8.8.8",
    ] {
        assert!(policy.check_address(ip(forbidden)).is_err(), "{forbidden}");
    }
}

#[test]
fn a_listed_translator_is_no_way_round() {
    let policy = open_policy(&["64:ff9b::/96", "2002::/16", "::/0"]);
    for allowed in ["64:ff9b::8.8.8.8", "2002:808:808::1", "::1"] {
        assert_eq!(policy.check_address(ip(allowed)), Ok(()), "{allowed}");
    }
    for forbidden in ["64:ff9b::10.0.0.1", "2002:7f00:1::1", "::ffff:127.0.0.1"] {
        assert!(policy.check_address(ip(forbidden)).is_err(), "{forbidden}");
    }
}

#[test]
fn every_spelling_of_loopback_is_loopback() {
    let policy = open_policy(&[]);
    let spellings = "
        127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001
        127.0.0.1. １２７.０.０.１ 127。0。0。1 ①②⑦.0.0.1 %31%32%37.0.0.1 [::1] [::ffff:127.0.0.1]
        [::ffff:7f00:1] [0:0:0:0:0:0:0:1] [64:ff9b::7f00:1] 0 [::] 0.0.0.0
    ";
    for host in spellings.split_whitespace() {
        let checked = policy.check_url(&format!("http://{host}:8080/callback"));
        assert!(
            matches!(
                checked,
                Err(Forbidden::Address { .. } | Forbidden::Embedded { .. })
            ),
            "{host}: {checked:?}"
        );
    }
}

#[test]
fn names_wait_for_their_resolution() {
    for url in [
        "https://merchant.example/callback?order=1#part",
        "https://localhost/",
        "https://a.localhost./",
        "HTTPS://MERCHANT_1.EXAMPLE:8443",
        "https://bücher.example/",
        " https://merchant.example/\n",
    ] {
        let target = Policy::default().check_url(url).expect(url);
        assert_eq!(target.host, TargetHost::Name, "{url}");
    }
    let target = Policy::default().check_url("https://merchant.example/");
    assert_eq!(target.expect("fine").port, 443);
    let target = Policy::default().check_url("https://[2606:4700::1111]:8443/");
    let target = target.expect("fine");
    assert_eq!(target.port, 8443);
    assert_eq!(target.host, TargetHost::Address(ip("2606:4700::1111")));
}

#[test]
fn urls_that_are_never_called() {
    let policy = open_policy(&["127.0.0.0/8"]);
    let table = [
        ("ftp://merchant.example/", Forbidden::Scheme),
        ("file:///etc/passwd", Forbidden::Scheme),
        ("unix:/run/x", Forbidden::Scheme),
        ("https://user@merchant.example/", Forbidden::Userinfo),
        ("https://:secret@merchant.example/", Forbidden::Userinfo),
        ("https://merchant.example:0/", Forbidden::PortZero),
        ("https://mer{chant.example/", Forbidden::HostName),
        ("https://mer\"chant.example/", Forbidden::HostName),
    ];
    for (url, why) in table {
        assert_eq!(policy.check_url(url), Err(why), "{url}");
    }
    for url in [
        "",
        "/callback",
        "merchant.example/x",
        "https://",
        "https://[::1",
        "https://1.2.3.4.5/",
        "https://a b/",
    ] {
        let checked = policy.check_url(url);
        assert!(
            matches!(checked, Err(Forbidden::Invalid(_))),
            "{url}: {checked:?}"
        );
    }
    assert_eq!(
        Policy::default().check_url("http://merchant.example/"),
        Err(Forbidden::PlainHttp)
    );
}

#[test]
fn length_is_counted_in_characters() {
    let policy = Policy::default();
    let of_length = |chars: usize| {
        let start = "https://merchant.example/";
        format!("{start}{}", "é".repeat(chars - start.len()))
    };
    assert!(policy.check_url(&of_length(2048)).is_ok());
    assert_eq!(policy.check_url(&of_length(2049)), Err(Forbidden::TooLong));
}

fn forbidden_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    (0..IPV4.len(), any::<u32>()).prop_map(|(index, bits)| {
        let network = IPV4[index].0;
        let host_bits = bits & u32::from(network.hostmask());
        Ipv4Addr::from(u32::from(network.network()) | host_bits)
    })
}

proptest! {
    #[test]
    fn no_wrapping_makes_a_forbidden_ipv4_public(address in forbidden_ipv4(), low in any::<u64>()) {
        prop_assert!(!is_public(address));
        let [a, b, c, d] = address.octets();
        let (high, rest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let tunnelled = (u128::from(Ipv6Addr::new(0x2002, high, rest, 0, 0, 0, 0, 0))
            | u128::from(low)).into();
        let wrapped: [Ipv6Addr; 4] = [
            address.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, rest),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, rest),
            tunnelled,
        ];
        // Even where the wrapping networks themselves are listed; ::/96 is not a wrapping that
        // leads anywhere, so it needs no more than its own entry.
        let policy = open_policy(&["64:ff9b::/96", "2002::/16", "::ffff:0:0/96"]);
        for address in wrapped {
            prop_assert!(policy.check_address(address.into()).is_err(), "{}", address);
        }
    }

    #[test]
    fn what_may_be_called_fits_into_a_request(
        host in "[!-~é]{1,12}",
        rest in "[/?#][ -~\\PC]{0,30}",
    ) {
        if let Ok(target) = Policy::default().check_url(&format!("https://{host}.example{rest}")) {
            let uri = target.url.as_str().parse::<hyper::Uri>();
            prop_assert!(uri.is_ok(), "{}", target.url);
        }
    }

    #[test]
    fn no_url_makes_it_panic(url in "\\PC{0,80}") {
        let _ = open_policy(&[]).check_url(&url);
        let _ = open_policy(&[]).check_url(&format!("https://{url}"));
    }
}
