//! Which addresses are nobody's merchant, by IANA's registries: data, written down by hand.
//!
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>, up to RFC 9780 of 2025. What is no
//! unicast address at all stands in other registries and is added at the end of each.
//!
//! Judged here by plain arithmetic on the bits, sharing nothing with `src/delivery/egress`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block, its name, the RFC, and the registry's column "Globally Reachable" (`None`: N/A).
pub(crate) type Block = (&'static str, &'static str, u16, Option<bool>);

pub(crate) const IPV4: &[Block] = &[
    ("0.0.0.0/8", "\"This network\"", 791, Some(false)),
    (
        "0.0.0.0/32",
        "\"This host on this network\"",
        1122,
        Some(false),
    ),
    ("10.0.0.0/8", "Private-Use", 1918, Some(false)),
    ("100.64.0.0/10", "Shared Address Space", 6598, Some(false)),
    ("127.0.0.0/8", "Loopback", 1122, Some(false)),
    ("169.254.0.0/16", "Link Local", 3927, Some(false)),
    ("172.16.0.0/12", "Private-Use", 1918, Some(false)),
    (
        "192.0.0.0/24",
        "IETF Protocol Assignments",
        6890,
        Some(false),
    ),
    (
        "192.0.0.0/29",
        "IPv4 Service Continuity Prefix",
        7335,
        Some(false),
    ),
    ("192.0.0.8/32", "IPv4 dummy address", 7600, Some(false)),
    (
        "192.0.0.9/32",
        "Port Control Protocol Anycast",
        7723,
        Some(true),
    ),
    (
        "192.0.0.10/32",
        "Traversal Using Relays around NAT Anycast",
        8155,
        Some(true),
    ),
    ("192.0.0.170/32", "NAT64/DNS64 Discovery", 8880, Some(false)),
    ("192.0.0.171/32", "NAT64/DNS64 Discovery", 8880, Some(false)),
    (
        "192.0.2.0/24",
        "Documentation (TEST-NET-1)",
        5737,
        Some(false),
    ),
    ("192.31.196.0/24", "AS112-v4", 7535, Some(true)),
    ("192.52.193.0/24", "AMT", 7450, Some(true)),
    (
        "192.88.99.0/24",
        "Deprecated (6to4 Relay Anycast)",
        7526,
        None,
    ),
    (
        "192.88.99.2/32",
        "6a44-relay anycast address",
        6751,
        Some(false),
    ),
    ("192.168.0.0/16", "Private-Use", 1918, Some(false)),
    (
        "192.175.48.0/24",
        "Direct Delegation AS112 Service",
        7534,
        Some(true),
    ),
    ("198.18.0.0/15", "Benchmarking", 2544, Some(false)),
    (
        "198.51.100.0/24",
        "Documentation (TEST-NET-2)",
        5737,
        Some(false),
    ),
    (
        "203.0.113.0/24",
        "Documentation (TEST-NET-3)",
        5737,
        Some(false),
    ),
    ("240.0.0.0/4", "Reserved", 1112, Some(false)),
    ("255.255.255.255/32", "Limited Broadcast", 8190, Some(false)),
    ("224.0.0.0/4", "Multicast", 5771, None),
];

pub(crate) const IPV6: &[Block] = &[
    ("::1/128", "Loopback Address", 4291, Some(false)),
    ("::/128", "Unspecified Address", 4291, Some(false)),
    ("::ffff:0:0/96", "IPv4-mapped Address", 4291, Some(false)),
    ("64:ff9b::/96", "IPv4-IPv6 Translat.", 6052, Some(true)),
    ("64:ff9b:1::/48", "IPv4-IPv6 Translat.", 8215, Some(false)),
    ("100::/64", "Discard-Only Address Block", 6666, Some(false)),
    ("100:0:0:1::/64", "Dummy IPv6 Prefix", 9780, Some(false)),
    ("2001::/23", "IETF Protocol Assignments", 2928, Some(false)),
    ("2001::/32", "TEREDO", 4380, None),
    (
        "2001:1::1/128",
        "Port Control Protocol Anycast",
        7723,
        Some(true),
    ),
    (
        "2001:1::2/128",
        "Traversal Using Relays around NAT Anycast",
        8155,
        Some(true),
    ),
    (
        "2001:1::3/128",
        "DNS-SD Service Registration Protocol Anycast",
        9665,
        Some(true),
    ),
    ("2001:2::/48", "Benchmarking", 5180, Some(false)),
    ("2001:3::/32", "AMT", 7450, Some(true)),
    ("2001:4:112::/48", "AS112-v6", 7535, Some(true)),
    ("2001:10::/28", "Deprecated (previously ORCHID)", 4843, None),
    ("2001:20::/28", "ORCHIDv2", 7343, Some(true)),
    (
        "2001:30::/28",
        "Drone Remote ID Protocol Entity Tags (DETs) Prefix",
        9374,
        Some(true),
    ),
    ("2001:db8::/32", "Documentation", 3849, Some(false)),
    ("2002::/16", "6to4", 3056, None),
    (
        "2620:4f:8000::/48",
        "Direct Delegation AS112 Service",
        7534,
        Some(true),
    ),
    ("3fff::/20", "Documentation", 9637, Some(false)),
    (
        "5f00::/16",
        "Segment Routing (SRv6) SIDs",
        9602,
        Some(false),
    ),
    ("fc00::/7", "Unique-Local", 4193, Some(false)),
    ("fe80::/10", "Link-Local Unicast", 4291, Some(false)),
    ("::/96", "Deprecated (IPv4-Compatible)", 4291, None),
    ("fec0::/10", "Deprecated (Site-Local)", 3879, None),
    ("ff00::/8", "Multicast", 4291, None),
];

/// A block as its first and its last address, as numbers of 128 bits; IPv4 has the low 32 of them.
pub(crate) fn bounds(cidr: &str) -> (IpAddr, IpAddr) {
    let (address, length) = cidr
        .split_once('/')
        .expect("a block is written with its length");
    let length: u32 = length.parse().expect("a length");
    match address.parse().expect("an address") {
        IpAddr::V4(first) => {
            let low = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = u32::from(first);
            assert_eq!(first & low, 0, "{cidr}");
            (
                Ipv4Addr::from(first).into(),
                Ipv4Addr::from(first | low).into(),
            )
        }
        IpAddr::V6(first) => {
            let low = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = u128::from(first);
            assert_eq!(first & low, 0, "{cidr}");
            (
                Ipv6Addr::from(first).into(),
                Ipv6Addr::from(first | low).into(),
            )
        }
    }
}

fn is_within(address: IpAddr, blocks: &[Block]) -> bool {
    blocks.iter().any(|(cidr, ..)| {
        let (first, last) = bounds(cidr);
        first <= address && address <= last
    })
}

/// Whether a merchant can have this address: one that is given out to somebody, and special to
/// nobody. The registries' globally reachable blocks are services of the network itself.
pub(crate) fn is_a_merchants(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !is_within(address, IPV4),
        // Of IPv6 only an eighth is given out at all.
        IpAddr::V6(v6) => u128::from(v6) >> 125 == 0b001 && !is_within(address, IPV6),
    }
}
