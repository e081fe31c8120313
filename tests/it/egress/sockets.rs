//! The real transport and a resolver that lies: nobody connects to an address that is not allowed.
//!
//! 127.0.0.1 is listed and stands for a public address; the rest of loopback is what it is.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use callback_dispatcher::delivery::transport::{
    Lookup, LookupError, Post as _, PostReport, Transport, TransportSettings,
};
use callback_dispatcher::domain::{Cause, Exchange};

use super::{ip, policy};
use crate::support::connections::{Conduct, Connections};

const ALLOWED: &str = "127.0.0.1";
const LISTED: &str = "127.0.0.1/32";
const FORBIDDEN: &str = "127.0.0.2";

/// Gives these answers in turn, the last one for ever.
#[derive(Debug)]
struct Liar(Mutex<VecDeque<Vec<IpAddr>>>);

#[async_trait]
impl Lookup for Liar {
    async fn lookup(&self, _name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = answers.pop_front().expect("another answer");
        if answers.is_empty() {
            answers.push_back(next.clone());
        }
        Ok(next)
    }
}

fn transport(listed: &[&str], answers: &[&[&str]]) -> Transport {
    let answers = answers.iter();
    let answers = answers.map(|answer| answer.iter().copied().map(ip).collect());
    let settings = TransportSettings {
        policy: policy(listed),
        ..TransportSettings::default()
    };
    let lookup = Arc::new(Liar(Mutex::new(answers.collect())));
    Transport::with_lookup(settings, lookup).expect("good settings")
}

async fn post(transport: &Transport, host: &str, port: u16) -> PostReport {
    let url = format!("http://{host}:{port}/callback");
    transport.post(&url, b"{}".to_vec()).await
}

#[track_caller]
fn assert_blocked(report: &PostReport) {
    let exchange = &report.exchange;
    assert!(matches!(exchange, Exchange::Blocked { .. }), "{exchange:?}");
}

#[track_caller]
fn assert_answered_by(report: &PostReport, address: SocketAddr) {
    let Exchange::Answered { remote_addr, .. } = report.exchange else {
        panic!("{:?}", report.exchange);
    };
    assert_eq!(remote_addr, Some(address));
}

/// The listed address, and the forbidden ones at the same port.
async fn both() -> (Connections, [Connections; 2]) {
    let listen = |address, port| Connections::at(address, port, Conduct::Acknowledges);
    let allowed = listen(ALLOWED, 0).await;
    let port = allowed.address.port();
    let forbidden = [listen(FORBIDDEN, port).await, listen("::1", port).await];
    (allowed, forbidden)
}

#[tokio::test]
async fn a_resolver_that_answers_public_then_private() {
    let (allowed, forbidden) = both().await;
    let port = allowed.address.port();
    for turn in [FORBIDDEN, "::1", "::ffff:127.0.0.2", "64:ff9b::7f00:2"] {
        // Without a kept connection each POST asks again.
        let answers: &[&[&str]] = &[&[ALLOWED], &[turn]];
        let transport = transport(&[LISTED], answers);
        let first = post(&transport, "merchant.test", port).await;
        assert_answered_by(&first, allowed.address);
        // Another name for the same resolver, so that no kept connection answers.
        assert_blocked(&post(&transport, "other.test", port).await);
        // Nor by the first name: what is kept leads where it led.
        let kept = post(&transport, "merchant.test", port).await;
        assert_answered_by(&kept, allowed.address);
    }
    for listener in &forbidden {
        assert_eq!(listener.count().await, 0, "{}", listener.address);
    }
    assert_eq!(allowed.count().await, 4);
}

#[tokio::test]
async fn of_an_answer_only_the_allowed_addresses_are_dialled() {
    let (allowed, forbidden) = both().await;
    let answers: [&[&str]; 7] = [
        &[ALLOWED, FORBIDDEN],
        &[FORBIDDEN, ALLOWED],
        &[ALLOWED, ALLOWED, "::1"],
        &["::1", ALLOWED],
        &[ALLOWED, "169.254.169.254"],
        &[ALLOWED, "::ffff:127.0.0.2"],
        &[ALLOWED, "fe80::1"],
    ];
    for answer in answers {
        let transport = transport(&[LISTED], &[answer]);
        let report = post(&transport, "merchant.test", allowed.address.port()).await;
        assert_answered_by(&report, allowed.address);
        let answer: Vec<_> = answer.iter().copied().filter(|it| *it != ALLOWED).collect();
        if !answer.is_empty() {
            let transport = self::transport(&[LISTED], &[&answer]);
            assert_blocked(&post(&transport, "merchant.test", allowed.address.port()).await);
        }
    }
    for listener in &forbidden {
        assert_eq!(listener.count().await, 0, "{}", listener.address);
    }
    assert_eq!(allowed.count().await, answers.len());
}

#[tokio::test]
async fn a_literal_address_is_not_asked_of_any_resolver() {
    let (allowed, forbidden) = both().await;
    // Each answer would be the allowed one.
    let transport = transport(&[LISTED], &[&[ALLOWED]]);
    let hosts = "127.0.0.2 127.2 2130706434 0x7f.0.0.2 0177.0.0.2 １２７.0.0.2 127.0.0.2. [::1]
        [::ffff:127.0.0.2] 0 [::] [::127.0.0.1] user@127.0.0.1";
    for host in hosts.split_whitespace() {
        assert_blocked(&post(&transport, host, allowed.address.port()).await);
    }
    for listener in forbidden.iter().chain([&allowed]) {
        assert_eq!(listener.count().await, 0, "{}", listener.address);
    }
    // The listed one may be spelled as it likes.
    for host in ["127.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let report = post(&transport, host, allowed.address.port()).await;
        let Exchange::Answered { remote_addr, .. } = report.exchange else {
            panic!("{host}: {:?}", report.exchange);
        };
        let remote = remote_addr.expect("it answered").ip().to_canonical();
        assert_eq!(remote, ip(ALLOWED), "{host}");
    }
}

#[tokio::test]
async fn the_reported_address_is_the_one_that_was_dialled() {
    let (allowed, forbidden) = both().await;
    let port = allowed.address.port();
    // All of loopback is listed here; at 127.0.0.3 nobody listens.
    let listed = &["127.0.0.0/8", "::1/128"];
    let [second, sixth] = &forbidden;
    for (answer, dialled) in [
        (&["127.0.0.3", FORBIDDEN][..], second),
        (&["::1", ALLOWED], sixth),
        (&[ALLOWED, FORBIDDEN], &allowed),
    ] {
        let transport = transport(listed, &[answer]);
        let report = post(&transport, "merchant.test", port).await;
        assert_answered_by(&report, dialled.address);
        assert_eq!(dialled.count().await, 1, "{answer:?}");
    }
    // Nobody there: the one that was tried is reported, or none, but never another.
    let transport = transport(listed, &[&["127.0.0.3"]]);
    let report = post(&transport, "merchant.test", port).await;
    let Exchange::Failed(fault) = report.exchange else {
        panic!("{:?}", report.exchange);
    };
    assert_ne!(fault.cause, Cause::Deadline, "{}", fault.detail);
    let tried = SocketAddr::new(ip("127.0.0.3"), port);
    assert!(
        fault
            .remote_addr
            .is_none_or(|it| it == tried || it.port() == 0 && it.ip() == tried.ip()),
        "{fault:?}"
    );
}
