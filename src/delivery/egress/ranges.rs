//! The special-purpose ranges of IANA's IPv4 and IPv6 registries, each with its use.
//!
//! Every range is here, those marked globally reachable too (AS112, AMT, the anycast addresses):
//! none of them is a merchant's. Multicast and the reserved block E are not in those registries
//! but are no unicast addresses either, and a cloud's own services stand on one that is public by its
//! number. The narrower range stands before the wider one around it,
//! so that the reason names it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, d: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// What is not public in IPv4.
pub(super) static IPV4: [(Ipv4Net, &str); 19] = [
    (v4(0, 0, 0, 0, 8), "this host's own network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared address space"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    // Azure's: DNS, health, and the agent of its machines, with their certificates and settings.
    (v4(168, 63, 129, 16, 32), "a cloud's own service"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 31, 196, 0, 24), "the AS112 sink"),
    (v4(192, 52, 193, 0, 24), "for multicast tunnels"),
    (v4(192, 88, 99, 0, 24), "a retired 6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(192, 175, 48, 0, 24), "the AS112 sink"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    // 255.255.255.255, the limited broadcast, is the last of these.
    (v4(240, 0, 0, 0, 4), "reserved or broadcast"),
];

/// What is not public in IPv6, as far as it has a name; outside [`IPV6_PUBLIC`] everything is
/// refused anyway.
pub(super) static IPV6: [(Ipv6Net, &str); 20] = [
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        "the unspecified address",
    ),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "an IPv4-mapped address",
    ),
    (v6(0, 0, 0, 0, 96), "an IPv4-compatible address"),
    (v6(0x64, 0xff9b, 0, 0, 96), "translated to IPv4"),
    (v6(0x64, 0xff9b, 1, 0, 48), "translated to IPv4 locally"),
    (v6(0x100, 0, 0, 0, 64), "discard-only"),
    (v6(0x100, 0, 0, 1, 64), "a dummy prefix"),
    (v6(0x2001, 0, 0, 0, 32), "a Teredo tunnel"),
    (v6(0x2001, 2, 0, 0, 48), "for benchmarks"),
    (v6(0x2001, 0, 0, 0, 23), "reserved for protocols"),
    (v6(0x2001, 0xdb8, 0, 0, 32), "for documentation"),
    (v6(0x2002, 0, 0, 0, 16), "a 6to4 tunnel"),
    (v6(0x2620, 0x4f, 0x8000, 0, 48), "the AS112 sink"),
    (v6(0x3fff, 0, 0, 0, 20), "for documentation"),
    (v6(0x5f00, 0, 0, 0, 16), "for segment routing"),
    (v6(0xfc00, 0, 0, 0, 7), "a unique local address"),
    (v6(0xfe80, 0, 0, 0, 10), "link-local"),
    (v6(0xfec0, 0, 0, 0, 10), "site-local"),
    (v6(0xff00, 0, 0, 0, 8), "multicast"),
];

/// The only part of IPv6 from which global unicast addresses are given out.
pub(super) const IPV6_PUBLIC: Ipv6Net = v6(0x2000, 0, 0, 0, 3);

/// The range that makes an address not public, and its use; `None` for a public one.
pub(super) fn special_range(address: IpAddr) -> Option<(IpNet, &'static str)> {
    match address {
        IpAddr::V4(address) => IPV4
            .iter()
            .find(|(network, _)| network.contains(&address))
            .map(|(network, range)| (IpNet::V4(*network), *range)),
        IpAddr::V6(address) => IPV6
            .iter()
            .find(|(network, _)| network.contains(&address))
            .map(|(network, range)| (IpNet::V6(*network), *range))
            .or_else(|| beside_public(address)),
    }
}

/// What is neither listed nor in [`IPV6_PUBLIC`] is refused all the same.
fn beside_public(address: Ipv6Addr) -> Option<(IpNet, &'static str)> {
    if IPV6_PUBLIC.contains(&address) {
        return None;
    }
    let eighth = Ipv6Net::new_assert(address, 3).trunc();
    Some((IpNet::V6(eighth), "not global unicast"))
}
