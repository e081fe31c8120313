//! Who may be called: a pure function over URLs and addresses.
//!
//! A callback URL comes from outside, and this program stands where the payment platform's own
//! services are in reach. So only globally reachable unicast addresses may be called, unless an
//! operator lists the network in `egress.allow_networks`. What `egress.deny_networks` lists is never called.
//!
//! The policy is asked at `enqueue`, before each request ([`Policy::check_url`]; a literal address
//! never reaches a resolver), for every address a resolver answers, and for the address that was
//! dialled ([`Policy::check_address`]).
//!
//! Invariants:
//!
//! - An URL is parsed once; what was judged is what is called ([`Target::url`]).
//! - IPv6 is denied by default: only `2000::/3` less the special ranges is public.
//! - An IPv6 address that carries an IPv4 address passes only if that one passes too.
//!
//! Absent: I/O, name resolution (`localhost` is refused where it is resolved), which addresses are this host's own
//! (the transport asks the kernel), and a list of forbidden ports (the merchant chooses the port).

mod ranges;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::domain::FOR_OPERATOR;

/// The longest callback URL, in characters.
pub const URL_CHARS_MAX: usize = 2048;

/// Who may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether `http:` URLs may be called; `https:` ones always may.
    pub allow_http: bool,
    /// Networks that may be called although they are not public.
    pub allow_networks: Vec<IpNet>,
    /// Networks that may not be called, whatever else is said of them.
    pub deny_networks: Vec<IpNet>,
}

/// A URL that may be called, as far as the URL alone tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL, parsed: call this and not the text it came from.
    pub url: Url,
    /// What stands for the host.
    pub host: TargetHost,
    /// The port, the scheme's own if the URL names none.
    pub port: u16,
}

/// The host of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// A name: its addresses are to be checked when it is resolved.
    Name,
    /// A literal address, checked.
    Address(IpAddr),
}

/// Why somebody may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Longer than [`URL_CHARS_MAX`].
    #[error("the callback URL is longer than {URL_CHARS_MAX} characters; shorten it")]
    TooLong,
    /// No absolute URL with a host.
    #[error("the callback URL is not valid: {0}; give one like https://merchant.example/callback")]
    Invalid(#[from] url::ParseError),
    /// `http:`, and the policy wants `https:`.
    #[error("plain http is not allowed, use https{FOR_OPERATOR}egress.allow_http allows it")]
    PlainHttp,
    /// Neither http nor https.
    #[error(
        "the callback URL is neither http nor https; give one like https://merchant.example/callback"
    )]
    Scheme,
    /// A user name or password, which would be sent as an Authorization header.
    #[error("the callback URL has a user name or password in it; remove it")]
    Userinfo,
    /// Port 0.
    #[error("the callback URL names port 0; name the port the merchant listens on")]
    PortZero,
    /// A host name that no request can carry.
    #[error("the callback URL's host has characters that no host name has; correct it")]
    HostName,
    /// An address that is not public.
    #[error(
        "{address} is {range} ({network}){FOR_OPERATOR}add it to egress.allow_networks to allow it"
    )]
    Address {
        /// The address.
        address: IpAddr,
        /// What its network is for.
        range: &'static str,
        /// The special network it lies in.
        network: IpNet,
    },
    /// In `egress.deny_networks`.
    #[error(
        "{address} is in a network that is not called ({network}){FOR_OPERATOR}egress.deny_networks lists it"
    )]
    Denied {
        /// The address.
        address: IpAddr,
        /// The network it lies in.
        network: IpNet,
    },
    /// An address of this host.
    #[error(
        "{address} is an address of ours{FOR_OPERATOR}it is this host's; add it to egress.allow_networks to allow it"
    )]
    OwnAddress {
        /// The address.
        address: IpAddr,
    },
    /// An IPv6 address with an IPv4 address in it that may not be called.
    #[error("{address} carries {embedded}, and {because}")]
    Embedded {
        /// The address.
        address: Ipv6Addr,
        /// The one in it.
        embedded: Ipv4Addr,
        /// What is wrong with that.
        because: Box<Forbidden>,
    },
}

impl Policy {
    /// Judges a callback URL, as far as the URL alone tells: a name's addresses are checked when
    /// they are known.
    ///
    /// # Errors
    ///
    /// The first rule that forbids it.
    pub fn check_url(&self, url: &str) -> Result<Target, Forbidden> {
        // Counting characters costs more than comparing lengths, and is rarely needed.
        if url.len() > URL_CHARS_MAX && url.chars().count() > URL_CHARS_MAX {
            return Err(Forbidden::TooLong);
        }
        let url = Url::parse(url)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(Forbidden::PlainHttp),
            _ => return Err(Forbidden::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::Userinfo);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if port == 0 {
            return Err(Forbidden::PortZero);
        }
        // `Host` and not the text: 127.1, 2130706433, 0x7f000001 and full-width digits are all
        // one address here.
        let host = match url.host().ok_or(url::ParseError::EmptyHost)? {
            Host::Domain(name) if is_host_name(name) => TargetHost::Name,
            Host::Domain(_) => return Err(Forbidden::HostName),
            Host::Ipv4(address) => TargetHost::Address(address.into()),
            Host::Ipv6(address) => TargetHost::Address(address.into()),
        };
        if let TargetHost::Address(address) = host {
            self.check_address(address)?;
        }
        Ok(Target { url, host, port })
    }

    /// Judges an address that is about to be called, or was dialled.
    ///
    /// # Errors
    ///
    /// Names the special range or the listed network that the address lies in.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Forbidden> {
        if let Some(network) = self.deny_networks.iter().find(|it| it.contains(&address)) {
            return Err(Forbidden::Denied {
                address,
                network: *network,
            });
        }
        if let IpAddr::V6(v6) = address
            && let Some(embedded) = embedded_ipv4(v6)
        {
            self.check_address(embedded.into())
                .map_err(|because| Forbidden::Embedded {
                    address: v6,
                    embedded,
                    because: Box::new(because),
                })?;
            // A mapped address is its IPv4 address in another spelling, so who lists the one
            // means the other. Translated ones go by way of a gateway and need an entry.
            if v6.to_ipv4_mapped().is_some() && self.is_listed(embedded.into()) {
                return Ok(());
            }
        }
        if self.is_listed(address) {
            return Ok(());
        }
        match ranges::special_range(address) {
            None => Ok(()),
            Some((network, range)) => Err(Forbidden::Address {
                address,
                range,
                network,
            }),
        }
    }

    /// Whether an operator lists it in `egress.allow_networks`.
    pub fn is_listed(&self, address: IpAddr) -> bool {
        self.allow_networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// Letters, digits, and what else is seen in names that resolve. The rest (quotes, braces) passes
/// the URL standard but not an HTTP request.
fn is_host_name(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// The IPv4 address that an IPv6 address leads to: mapped (`::ffff:a.b.c.d`), translated by NAT64
/// (`64:ff9b::a.b.c.d`, and locally within `64:ff9b:1::/48`) or tunnelled by 6to4
/// (`2002:aabb:ccdd::`).
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => &octets[12..16],
        // A local prefix may be shorter than 96 bits (RFC 6052, section 2.2). Then the last octets
        // are empty: three of them with 64 bits, all four with less, which passes for nobody.
        [0x64, 0xff9b, 1, ..] if octets[12] != 0 && octets[13..] == [0; 3] => &octets[9..13],
        [0x64, 0xff9b, 1, ..] => &octets[12..16],
        [0x2002, ..] => &octets[2..6],
        _ => return None,
    };
    <[u8; 4]>::try_from(embedded).ok().map(Ipv4Addr::from)
}
