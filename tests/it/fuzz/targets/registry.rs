//! Which addresses are nobody's merchant, by IANA's registries.
//!
//! Judged here by plain arithmetic on the bits, sharing nothing with `src/delivery/egress`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// A block, its name, the RFC, and the registry's column "Globally Reachable" (`None`: N/A).
pub(crate) type Block = (&'static str, &'static str, u16, Option<bool>);

/// Written down by hand: `tests/vectors/special_addresses.txt`.
static REGISTRIES: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let text = include_str!("../../../vectors/special_addresses.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let block = |line: &'static str| {
        let [block, name, rfc, reachable] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let reachable = match reachable {
            "n/a" => None,
            answer => Some(answer == "yes"),
        };
        (block, name, rfc.parse().expect("a number"), reachable)
    };
    lines.map(block).collect()
});

pub(crate) fn blocks() -> impl Iterator<Item = &'static Block> {
    REGISTRIES.iter()
}

pub(crate) fn ipv4() -> impl Iterator<Item = &'static Block> {
    blocks().filter(|(block, ..)| block.contains('.'))
}

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
            let last = Ipv4Addr::from(first | low);
            (Ipv4Addr::from(first).into(), last.into())
        }
        IpAddr::V6(first) => {
            let low = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = u128::from(first);
            assert_eq!(first & low, 0, "{cidr}");
            let last = Ipv6Addr::from(first | low);
            (Ipv6Addr::from(first).into(), last.into())
        }
    }
}

fn is_special(address: IpAddr) -> bool {
    blocks().any(|(cidr, ..)| {
        let (first, last) = bounds(cidr);
        first <= address && address <= last
    })
}

/// Whether a merchant can have this address: one that is given out to somebody, and special to
/// nobody. The registries' globally reachable blocks are services of the network itself.
pub(crate) fn is_a_merchants(address: IpAddr) -> bool {
    let is_given_out = match address {
        IpAddr::V4(_) => true,
        // Of IPv6 only an eighth is.
        IpAddr::V6(v6) => u128::from(v6) >> 125 == 0b001,
    };
    is_given_out && !is_special(address)
}
