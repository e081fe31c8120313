//! The policy's verdict is that of IANA's registries, in every block and beside each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use callback_dispatcher::delivery::egress::Policy;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::fuzz::targets::registry::{Block, blocks, bounds, ipv4, is_a_merchants};
use crate::fuzz::targets::url::check_address;

use super::policy;

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of the same family as `like` with this number, if there is one.
fn address(like: IpAddr, number: u128) -> Option<IpAddr> {
    match like {
        IpAddr::V4(_) => {
            let number = u32::try_from(number).ok()?;
            Some(Ipv4Addr::from(number).into())
        }
        IpAddr::V6(_) => Some(Ipv6Addr::from(number).into()),
    }
}

#[test]
fn no_address_of_any_block_may_be_called() {
    for (block, name, rfc, _) in blocks() {
        let (first, last) = bounds(block);
        let middle = u128::midpoint(number(first), number(last));
        let middle = address(first, middle).expect("it is in between");
        for address in [first, middle, last] {
            let verdict = Policy::default().check_address(address);
            assert!(verdict.is_err(), "{address} of {block}, {name} (RFC {rfc})");
            check_address(address);
        }
    }
}

#[test]
fn beside_each_block_the_public_begins() {
    let mut public = Vec::new();
    for (block, ..) in blocks() {
        let (first, last) = bounds(block);
        let before = number(first).checked_sub(1);
        let behind = number(last).checked_add(1);
        for beside in [before, behind].into_iter().flatten() {
            if let Some(beside) = address(first, beside) {
                check_address(beside);
                public.extend(is_a_merchants(beside).then_some(beside));
            }
        }
    }
    // Not one of them by mistake: neighbours that are blocks themselves are few.
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = public.iter().partition(|it| it.is_ipv4());
    assert!(v4.len() >= 30, "{v4:?}");
    assert!(v6.len() >= 8, "{v6:?}");
}

#[test]
fn reachable_for_everybody_is_not_a_merchant() {
    // Services of the network itself: IANA says that they are globally reachable, and nobody has
    // his shop there.
    let reachable: Vec<_> = blocks()
        .filter(|(.., reachable)| *reachable == Some(true))
        .collect();
    assert_eq!(reachable.len(), 14);
    for (block, ..) in reachable {
        let (first, _) = bounds(block);
        assert!(Policy::default().check_address(first).is_err(), "{block}");
    }
}

/// The ways from IPv6 to IPv4 that an operator may have, listed as a whole.
const LISTED: &[&str] = &[
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
];

/// Forbidden addresses of IPv4, one from each block.
fn forbidden_ipv4() -> impl Iterator<Item = Ipv4Addr> {
    ipv4().map(|(block, ..)| match bounds(block).1 {
        IpAddr::V4(last) => last,
        IpAddr::V6(_) => panic!("{block} is not of IPv4"),
    })
}

/// Every form in which an address of IPv6 carries one of IPv4.
fn carriers(inner: Ipv4Addr) -> [(&'static str, Ipv6Addr); 9] {
    let bits = u128::from(u32::from(inner));
    let [a, b, c, d] = inner.octets().map(u128::from);
    let prefix = |high: [u16; 4]| {
        let [p, q, r, s] = high;
        u128::from(Ipv6Addr::new(p, q, r, s, 0, 0, 0, 0))
    };
    [
        ("mapped", (0xffff << 32 | bits).into()),
        ("compatible", bits.into()),
        ("NAT64", (prefix([0x64, 0xff9b, 0, 0]) | bits).into()),
        (
            "NAT64, local, /96",
            (prefix([0x64, 0xff9b, 1, 0]) | bits).into(),
        ),
        (
            "NAT64, local, /64",
            (prefix([0x64, 0xff9b, 1, 0]) | bits << 24).into(),
        ),
        (
            // RFC 6052, section 2.2: the byte in the middle stays empty.
            "NAT64, local, /48",
            (prefix([0x64, 0xff9b, 1, 0]) | (a << 8 | b) << 64 | (c << 8 | d) << 40).into(),
        ),
        ("6to4", (prefix([0x2002, 0, 0, 0]) | bits << 80 | 1).into()),
        (
            "Teredo, client",
            (prefix([0x2001, 0, 0x4136, 0xe378]) | u128::from(!u32::from(inner))).into(),
        ),
        (
            "Teredo, server",
            (prefix([0x2001, 0, 0, 0]) | bits << 64 | 0xf7f7_f7f7).into(),
        ),
    ]
}

#[test]
fn addresses_that_embed_a_forbidden_one_are_refused() {
    // By default no carrier passes at all, be its load as public as it may.
    let loads = forbidden_ipv4().chain([Ipv4Addr::new(8, 8, 8, 8)]);
    for inner in loads {
        for (form, outer) in carriers(inner) {
            assert!(!is_a_merchants(outer.into()), "{form} {outer}");
            check_address(outer.into());
        }
    }
    // Where the ways themselves are listed, the load is looked at.
    let listed = policy(LISTED);
    for inner in forbidden_ipv4() {
        for (form, outer) in carriers(inner) {
            assert!(
                listed.check_address(outer.into()).is_err(),
                "{form} {outer}"
            );
        }
    }
    for (form, outer) in carriers(Ipv4Addr::new(8, 8, 8, 8)) {
        let verdict = listed.check_address(outer.into());
        let is_listed = matches!(
            form,
            "mapped" | "6to4" | "NAT64" | "NAT64, local, /96" | "NAT64, local, /64"
        );
        assert_eq!(verdict.is_ok(), is_listed, "{form} {outer}");
    }
}

/// Any address, those at the edges of blocks more often than others.
fn any_address() -> impl Strategy<Value = IpAddr> {
    let anywhere = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        // The eighth that is given out.
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits >> 3 | 1 << 125).into()),
    ];
    let blocks: Vec<&Block> = blocks().collect();
    let edge = (prop::sample::select(blocks), any::<bool>(), -300..300_i128);
    let edge = edge.prop_map(|((block, ..), is_first, steps)| {
        let (first, last) = bounds(block);
        let from = if is_first { first } else { last };
        let there = number(from).saturating_add_signed(steps);
        address(from, there).unwrap_or(from)
    });
    prop_oneof![1 => anywhere, 1 => edge]
}

proptest! {
    #![proptest_config(Config { cases: 20_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_verdict_is_the_registries(address in any_address()) {
        check_address(address);
    }
}
