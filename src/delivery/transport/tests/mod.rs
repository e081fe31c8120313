//! Exchanges over real sockets with a scripted merchant.

mod answers;
mod egress;
mod fault;
mod floods;
mod kept;
mod listed;
mod permit;
mod race;
mod scripted;
mod stages;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use self::scripted::{ACK, Found, Merchant, ScriptedLookup, Step};
use super::*;
use crate::delivery::egress::Policy;
use crate::domain::{CappedBody, Cause, ExchangeFault, Phase};

/// Long enough for an exchange on loopback on a busy machine.
const SHORT: Duration = Duration::from_millis(700);

const CAP: usize = 1000;

fn settings() -> TransportSettings {
    TransportSettings {
        connect_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        max_response_bytes: CAP,
        policy: Policy {
            allow_http: true,
            allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            ..Policy::default()
        },
        ..TransportSettings::default()
    }
}

fn impatient() -> TransportSettings {
    TransportSettings {
        timeout: SHORT,
        ..settings()
    }
}

fn transport(settings: TransportSettings) -> Transport {
    resolving(settings, [])
}

fn resolving(settings: TransportSettings, answers: impl IntoIterator<Item = Found>) -> Transport {
    Transport::with_lookup(settings, ScriptedLookup::new(answers)).expect("good settings")
}

/// Only http URLs are allowed in addition to the default.
fn strict() -> TransportSettings {
    TransportSettings {
        policy: Policy {
            allow_http: true,
            ..Policy::default()
        },
        ..settings()
    }
}

/// The body of a second sending.
const AGAIN: &str = "again";

/// A POST by a worker, on behalf of `app_id`.
async fn post_as(
    transport: &Transport,
    app_id: &str,
    url: &str,
    body: &str,
    permit: Option<&Arc<Permit>>,
) -> PostReport {
    let mut cache = WorkerCache::default();
    let requests = Requests {
        first: body.into(),
        again: &mut || Some(AGAIN.into()),
        permit: permit.cloned(),
    };
    transport
        .post_with_cache(&mut cache, app_id, url, requests)
        .await
}

/// Two posts in turn, the first of which leaves a connection for the second.
async fn post_twice(transport: &Transport, url: &str) -> PostReport {
    post_as(transport, "6", url, "1", None).await;
    settle().await;
    post_as(transport, "6", url, "2", None).await
}

async fn post_once(settings: TransportSettings, script: Vec<Step>) -> (PostReport, Merchant) {
    let merchant = Merchant::plain(vec![script]).await;
    let report = transport(settings)
        .post(&merchant.url(), b"{}".to_vec())
        .await;
    (report, merchant)
}

/// Lets a connection find its way back into the pool, which takes hyper's tasks a few turns.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn fault_of(report: &PostReport) -> &ExchangeFault {
    match &report.exchange {
        Exchange::Failed(fault) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

#[track_caller]
fn assert_fault(report: &PostReport, phase: Phase, cause: Cause, detail: &str) {
    let fault = fault_of(report);
    assert_eq!((fault.phase, fault.cause), (phase, cause), "{fault:?}");
    assert!(fault.detail.contains(detail), "{fault:?}");
}

#[track_caller]
fn assert_blocked(report: &PostReport, why: &str) {
    match &report.exchange {
        Exchange::Blocked { reason } => assert!(reason.contains(why), "{reason}"),
        other => panic!("not blocked: {other:?}"),
    }
}

fn answered(address: SocketAddr, status: u16, body: &str) -> Exchange {
    Exchange::Answered {
        status,
        body: CappedBody {
            bytes: body.as_bytes().to_vec(),
            oversized: false,
        },
        remote_addr: Some(address),
    }
}

#[tokio::test]
async fn the_request_is_what_the_contract_says() {
    let merchant = Merchant::acks(1).await;
    let transport = transport(settings());
    let report = transport
        .post(&merchant.url(), br#"{"a":1}"#.to_vec())
        .await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    let version = env!("CARGO_PKG_VERSION");
    let mut lines: Vec<String> = merchant.requests()[0].lines().map(str::to_owned).collect();
    lines[1..].sort();
    assert_eq!(
        lines,
        [
            "POST /callback?order=1 HTTP/1.1",
            "",
            "Accept: application/json, */*",
            "Content-Length: 7",
            "Content-Type: application/json",
            &format!("Host: {}", merchant.address),
            &format!("User-Agent: callback-dispatcher/{version}"),
            r#"{"a":1}"#,
        ]
    );
    let times = report.phases;
    assert!(times.connect.is_some() && times.head.is_some() && times.body.is_some());
    assert!(times.dns.is_none() && times.tls.is_none());
}
