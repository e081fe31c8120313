//! Our own questions to the name servers of `resolv.conf`, by hickory.
//!
//! A lookup holds no thread and ends when it is dropped. Two name servers are asked at the same time, so one
//! that is dead costs nothing. Equal questions under way share an answer, and answers are kept for their
//! time to live within bounds.
//!
//! A and AAAA are two questions. The first good answer need not wait for the other for long: some
//! networks drop AAAA (RFC 8305, section 3).
//!
//! Absent: the options and search domains of `resolv.conf`, and `nsswitch.conf`.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use tokio::time::timeout;

use super::hosts::HostsFile;
use super::reread::Reread;
use super::{Lookup, LookupError, LookupFailure};

/// For one round of questions. A slow resolver takes 4 s; a lost packet is sent again within a round.
const ROUND: Duration = Duration::from_secs(5);

/// Rounds after the first.
const ROUNDS_MORE: usize = 1;

/// How long the IPv4 addresses wait for the IPv6 ones.
const IPV6_DELAY: Duration = Duration::from_millis(50);

/// How long the IPv6 addresses wait for the IPv4 ones: longer, as many hosts have no IPv6.
const IPV4_DELAY: Duration = Duration::from_secs(2);

/// How long an answer is kept: so long that a burst does not ask again, and a move is noticed.
const KEPT_MIN: Duration = Duration::from_secs(5);
const KEPT_MAX: Duration = Duration::from_secs(300);
const ABSENCE_KEPT_MAX: Duration = Duration::from_secs(30);

/// Name servers that are asked, as glibc limits them.
const SERVERS_MAX: usize = 3;

/// Asks the name servers of the system.
#[derive(Debug)]
pub struct DnsLookup {
    hosts: HostsFile,
    resolvers: Reread<Option<Resolvers>>,
}

#[derive(Debug)]
struct Resolvers {
    /// All servers.
    all: TokioResolver,
    /// Each alone, for when one of them could not find out.
    each: Vec<TokioResolver>,
}

impl Default for DnsLookup {
    fn default() -> Self {
        Self::with_files("/etc/resolv.conf", "/etc/hosts")
    }
}

impl DnsLookup {
    /// One that goes by other files than the system's.
    fn with_files(resolv_conf: &str, hosts: &str) -> Self {
        Self {
            hosts: HostsFile::at(hosts),
            resolvers: Reread::new(resolv_conf, |bytes| Resolvers::read(bytes).ok()),
        }
    }
}

#[async_trait]
impl Lookup for DnsLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let Ok(mut name) = Name::from_ascii(name) else {
            let words = "the name is not one that can exist";
            return Err(LookupError::new(LookupFailure::NoSuchName, words));
        };
        name.set_fqdn(true);
        let listed = self.hosts.addresses(&name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let resolvers = self.resolvers.current();
        let Some(resolvers) = resolvers.as_ref() else {
            let words = "the resolver can't be set up";
            return Err(LookupError::new(LookupFailure::Local, words));
        };
        let (ipv4, ipv6) = (
            pin!(resolvers.ask(&name, RecordType::A)),
            pin!(resolvers.ask(&name, RecordType::AAAA)),
        );
        let (ipv4, ipv6) = match select(ipv4, ipv6).await {
            Either::Left((ipv4, ipv6)) => {
                let wait = ipv4.is_ok().then_some(IPV6_DELAY);
                (ipv4, wait_for(wait, ipv6).await)
            }
            Either::Right((ipv6, ipv4)) => {
                let wait = ipv6.is_ok().then_some(IPV4_DELAY);
                (wait_for(wait, ipv4).await, ipv6)
            }
        };
        match (ipv4, ipv6) {
            // The other family may have failed: what there is, is enough.
            (Ok(ipv4), ipv6) => Ok([ipv6.unwrap_or_default(), ipv4].concat()),
            (Err(_), Ok(ipv6)) => Ok(ipv6),
            (Err(ipv4), Err(ipv6)) => Err(more_telling(ipv4, ipv6)),
        }
    }
}

/// The answer, unless it comes too late.
async fn wait_for(wait: Option<Duration>, asking: impl Future<Output = Found>) -> Found {
    match wait {
        None => asking.await,
        Some(wait) => timeout(wait, asking).await.unwrap_or_else(|_| {
            let words = "no answer from the resolver";
            Err(LookupError::new(LookupFailure::NoAnswer, words))
        }),
    }
}

type Found = Result<Vec<IpAddr>, LookupError>;

impl Resolvers {
    fn read(resolv_conf: &[u8]) -> Result<Self, NetError> {
        let servers = match system_conf::parse_resolv_conf(resolv_conf) {
            Ok((config, _)) => config.name_servers().to_vec(),
            // Without any, it is on this host.
            Err(_) => vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())],
        };
        let servers: Vec<_> = servers.into_iter().take(SERVERS_MAX).collect();
        let each = match servers.len() {
            1 => Vec::new(),
            _ => servers.iter().map(|one| vec![one.clone()]).collect(),
        };
        let each: Result<_, _> = each.into_iter().map(resolver).collect();
        Ok(Self {
            all: resolver(servers)?,
            each: each?,
        })
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Found {
        let mut found = addresses(&self.all, name, kind).await;
        // One server that is broken must not speak for the others.
        for server in &self.each {
            match &found {
                Err(error) if error.failure == LookupFailure::ServerFailure => {
                    found = addresses(server, name, kind).await;
                }
                _ => break,
            }
        }
        found
    }
}

fn resolver(servers: Vec<NameServerConfig>) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.timeout = ROUND;
    options.attempts = ROUNDS_MORE;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_min_ttl = Some(KEPT_MIN);
    options.positive_max_ttl = Some(KEPT_MAX);
    options.negative_min_ttl = Some(KEPT_MIN);
    options.negative_max_ttl = Some(ABSENCE_KEPT_MAX);
    // Shares have their own limit.
    options.max_active_requests = usize::from(u16::MAX);
    builder.build()
}

async fn addresses(resolver: &TokioResolver, name: &Name, kind: RecordType) -> Found {
    let found = resolver.lookup(name.clone(), kind).await;
    let found = found.map_err(|error| said(&error))?;
    let addresses: Vec<_> = found
        .answers()
        .iter()
        .filter(|record| record.record_type() == kind)
        .filter_map(|record| record.data.ip_addr())
        .collect();
    match addresses.is_empty() {
        true => Err(no_address()),
        false => Ok(addresses),
    }
}

fn no_address() -> LookupError {
    LookupError::new(LookupFailure::NoAddress, "the name has no address")
}

fn said(error: &NetError) -> LookupError {
    use LookupFailure as Failure;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NXDomain,
            ..
        })) => LookupError::new(Failure::NoSuchName, "the name does not exist"),
        NetError::Dns(DnsError::NoRecordsFound(_)) => no_address(),
        NetError::Timeout => LookupError::new(Failure::NoAnswer, "no answer from the resolver"),
        NetError::Io(error) => {
            let words = error.to_string();
            let words = words.split(" (os error ").next().unwrap_or(&words);
            LookupError::new(
                Failure::Local,
                format!("the resolver is out of reach: {words}"),
            )
        }
        NetError::NoConnections | NetError::Busy => {
            LookupError::new(Failure::Local, "the resolver is out of reach")
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let code = match code {
                ResponseCode::ServFail => "SERVFAIL".to_owned(),
                ResponseCode::Refused => "REFUSED".to_owned(),
                other => other.to_string(),
            };
            LookupError::new(
                Failure::ServerFailure,
                format!("the resolver could not find out ({code})"),
            )
        }
        _ => LookupError::new(
            Failure::ServerFailure,
            "the resolver's answer can't be read",
        ),
    }
}

/// Of the errors for both families, the one that says more about the name.
fn more_telling(one: LookupError, other: LookupError) -> LookupError {
    let rank = |error: &LookupError| match error.failure {
        LookupFailure::NoSuchName => 0,
        // That one family has none says nothing of the other.
        LookupFailure::ServerFailure => 1,
        LookupFailure::NoAnswer => 2,
        LookupFailure::Local => 3,
        LookupFailure::NoAddress => 4,
    };
    match rank(&other) < rank(&one) {
        true => other,
        false => one,
    }
}
