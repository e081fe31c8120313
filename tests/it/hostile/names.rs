//! Resolvers that hang, fail or point inward.
//!
//! The daemon asks the system's resolver, which a test can't bend; so here it is the transport
//! alone, under a scripted one, and the judgement on what it brings back.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::delivery::egress::Policy;
use callback_dispatcher::delivery::transport::{
    Lookup, LookupError, LookupFailure, Post, Transport, TransportSettings,
};
use callback_dispatcher::domain::judge;

use super::MARGIN;
use super::server::{Act, Server, ack};
use super::tally::Tally;

const LIMIT: Duration = Duration::from_secs(1);

const ALLOWED: Ipv4Addr = Ipv4Addr::LOCALHOST;
const INWARD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What it says of every name.
#[derive(Clone, Debug)]
enum Names {
    Hang,
    Fail(LookupFailure, &'static str),
    Are(Vec<Ipv4Addr>),
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, _name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match self {
            Self::Hang => std::future::pending().await,
            Self::Fail(failure, words) => Err(LookupError::new(*failure, *words)),
            Self::Are(addresses) => Ok(addresses.iter().copied().map(IpAddr::V4).collect()),
        }
    }
}

fn cases() -> Vec<(&'static str, Names, &'static str, &'static str)> {
    vec![
        (
            "a resolver that hangs",
            Names::Hang,
            "timeout",
            "while resolving the name",
        ),
        (
            "a name that is unknown",
            Names::Fail(LookupFailure::NoSuchName, "the name does not exist"),
            "dns",
            "does not exist",
        ),
        ("a name without addresses", Names::Are(vec![]), "dns", ""),
        (
            "a name that points inward",
            Names::Are(vec![INWARD]),
            "blocked",
            "127.0.0.2",
        ),
        (
            "a name that also points inward",
            Names::Are(vec![INWARD, ALLOWED]),
            "acknowledged",
            "",
        ),
        (
            "a name that points to the cloud's own data",
            Names::Are(vec![Ipv4Addr::new(169, 254, 169, 254)]),
            "blocked",
            "169.254.169.254",
        ),
        (
            "a name that points to nobody",
            Names::Are(vec![Ipv4Addr::UNSPECIFIED]),
            "blocked",
            "0.0.0.0",
        ),
        (
            "a name that points where it may",
            Names::Are(vec![ALLOWED]),
            "acknowledged",
            "",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn names_end_as_the_contract_says() {
    let inward = Server::at(INWARD, None, vec![Act::Request, ack()]).await;
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for (name, names, outcome, words) in cases() {
        let merchant = Server::plain(vec![Act::Request, ack()]).await;
        // Both at the same port would need luck; the inward one must not be called at any.
        let port = match &names {
            Names::Are(addresses) if addresses == &[INWARD] => inward.address.port(),
            _ => merchant.address.port(),
        };
        let settings = TransportSettings {
            connect_timeout: LIMIT,
            timeout: LIMIT,
            policy: Policy {
                allow_http: true,
                allow_networks: vec!["127.0.0.1/32".parse().expect("a network")],
                ..Policy::default()
            },
            ..TransportSettings::default()
        };
        let transport = Transport::with_lookup(settings, Arc::new(names)).expect("good settings");
        let watch = Stopwatch::start();
        let url = format!("http://shop.example:{port}/callback");
        let report = transport.post(&url, b"{}".to_vec()).await;
        let verdict = judge(&report.exchange);
        let right = verdict.outcome.as_str() == outcome
            && verdict.counted
            && verdict.detail.contains(words)
            && watch.elapsed() < LIMIT + MARGIN;
        tally.cases += 1;
        tally.passed += usize::from(right);
        tally.connections += merchant.connections();
        tally.requests += merchant.requests().len();
        if !right {
            wrong.push(format!("{name}: {outcome} expected, {verdict:?}"));
        }
    }
    tally.report("names");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(inward.connections(), 0);
}
