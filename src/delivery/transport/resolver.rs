//! From a name to addresses that may be called.
//!
//! The addresses of an answer that the policy allows are the dialled ones; no second lookup in between could
//! answer differently. Forbidden ones beside them are passed over: many names have an IPv6 address that
//! leads nowhere beside a good IPv4 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::lookup::Lookups;
use super::progress;
use crate::delivery::egress::{Forbidden, Policy};

/// At most as many addresses of a name are tried.
const ADDRESSES_MAX: usize = 16;

/// Those of `addresses` that the policy allows, the families by turns (RFC 8305, section 4).
///
/// # Errors
///
/// If it allows none of them: the first verdict.
pub(super) fn allowed(policy: &Policy, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Forbidden> {
    let mut first_verdict = Ok(());
    let mut allowed: Vec<IpAddr> = Vec::new();
    for address in addresses {
        match check(policy, *address) {
            Ok(()) if allowed.contains(address) => {}
            Ok(()) => allowed.push(*address),
            Err(verdict) => first_verdict = first_verdict.and(Err(verdict)),
        }
    }
    if allowed.is_empty() {
        first_verdict?;
    }
    let is_like_first =
        |address: &IpAddr| Some(address.is_ipv4()) == allowed.first().map(IpAddr::is_ipv4);
    let (mut like_first, mut others): (Vec<_>, Vec<_>) =
        allowed.iter().copied().partition(is_like_first);
    let mut by_turns = Vec::with_capacity(allowed.len());
    like_first.reverse();
    others.reverse();
    while !(like_first.is_empty() && others.is_empty()) {
        by_turns.extend(like_first.pop());
        by_turns.extend(others.pop());
    }
    by_turns.truncate(ADDRESSES_MAX);
    Ok(by_turns)
}

/// Whether `address` may be called: neither is it forbidden by its number, nor is it this host's own, unless it is
/// listed. What listens at an address of this host may be meant for this host alone.
pub(super) fn check(policy: &Policy, address: IpAddr) -> Result<(), Forbidden> {
    policy.check_address(address)?;
    // Whoever lists the one spelling means the other.
    let is_listed = policy.is_listed(address) || policy.is_listed(address.to_canonical());
    match is_own(address) && !is_listed {
        true => Err(Forbidden::OwnAddress { address }),
        false => Ok(()),
    }
}

/// Whether it is an address of this host: the kernel calls it from that address itself. A datagram socket that
/// connects sends nothing.
fn is_own(address: IpAddr) -> bool {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let called_from = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    called_from.is_ok_and(|from| from.ip().to_canonical() == address.to_canonical())
}

/// Resolves the proxy's name, and for `socks5` those of merchants.
#[derive(Debug)]
pub(super) struct ProxyResolver {
    pub(super) lookups: Arc<Lookups>,
    pub(super) policy: Arc<Policy>,
    /// The proxy's name: it is the operator's own and may well be private.
    pub(super) exempt_name: Option<String>,
}

impl Resolve for ProxyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookups = Arc::clone(&self.lookups);
        let policy = Arc::clone(&self.policy);
        let is_exempt = self.exempt_name.as_deref() == Some(name.as_str());
        Box::pin(async move {
            progress::proxy_lookup_begun();
            let mut addresses = lookups.ask(name.as_str()).await?;
            if !is_exempt {
                addresses = allowed(&policy, &addresses)?;
            }
            progress::proxy_lookup_ended();
            let addresses = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[&str]) -> Result<Vec<IpAddr>, Forbidden> {
        let parse = |address: &&str| address.parse().expect("an address");
        let addresses: Vec<IpAddr> = addresses.iter().map(parse).collect();
        allowed(&Policy::default(), &addresses)
    }

    #[test]
    fn forbidden_addresses_are_passed_over_unless_there_are_no_others() {
        let good: IpAddr = "93.184.216.34".parse().expect("an address");
        for answer in [
            &["fe80::1", "93.184.216.34"],
            &["93.184.216.34", "10.0.0.1"],
            &["93.184.216.34", "93.184.216.34"],
        ] {
            assert_eq!(of(answer), Ok(vec![good]), "{answer:?}");
        }
        let verdict = of(&["10.0.0.1", "fe80::1"]).expect_err("none is allowed");
        assert!(
            verdict.to_string().contains("10.0.0.1 is private"),
            "{verdict}"
        );
    }

    #[test]
    fn families_take_turns_and_there_is_an_end() {
        let by_turns = of(&["2600::1", "2600::2", "1.1.1.1", "2600::3"]).expect("allowed");
        let by_turns: Vec<_> = by_turns.iter().map(IpAddr::to_string).collect();
        assert_eq!(by_turns, ["2600::1", "1.1.1.1", "2600::2", "2600::3"]);
        let many: Vec<_> = (1..100).map(|n| format!("1.1.1.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many).expect("allowed").len(), ADDRESSES_MAX);
        assert_eq!(of(&[]), Ok(vec![]));
    }
}
