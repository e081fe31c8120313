//! Connections that are closed while they are kept: no form of it costs an attempt.
//!
//! Each connection of these merchants answers one request and then goes, in its own way. One
//! callback after the other is delivered, so each but the first may meet a connection that is
//! about to be closed, or is closed already.

use std::sync::Arc;

use callback_dispatcher::clock::SystemClock;
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::ShownState;
use futures_util::future::join_all;

use super::certificates::Authority;
use super::server::{Act, Server, ack, send};
use super::tally::Tally;
use super::{Daemon, Place, beside, payment, start};

/// Callbacks for each of them.
const CALLBACKS: usize = 25;

fn ways_to_go() -> Vec<(&'static str, Vec<Act>)> {
    let answers_and = |acts: &[Act]| {
        let mut all = vec![Act::Request, ack()];
        all.extend_from_slice(acts);
        all
    };
    let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    vec![
        ("closed while idle", answers_and(&[])),
        ("reset while idle", answers_and(&[Act::Reset])),
        ("closed as the request begins", answers_and(&[Act::Glance])),
        ("closed after the request", answers_and(&[Act::Request])),
        (
            "reset as the request begins",
            answers_and(&[Act::Glance, Act::Reset]),
        ),
        (
            "reset after the request",
            answers_and(&[Act::Request, Act::Reset]),
        ),
        (
            "cut after the request",
            answers_and(&[Act::Request, Act::Cut]),
        ),
        (
            "closed in the next answer's head",
            answers_and(&[Act::Request, send("HTTP/1.")]),
        ),
        ("closed with an unasked 408", answers_and(&[send(late)])),
        // The second of them must not pass for the answer to the next request.
        ("answered twice, then closed", answers_and(&[ack()])),
        (
            "answered twice, then silent",
            answers_and(&[ack(), Act::Hang]),
        ),
    ]
}

/// Delivers one callback after the other; returns what went wrong.
async fn deliver(daemon: &Daemon, family: usize, url: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for number in 0..CALLBACKS {
        let order = format!("kept-{family}-{number}");
        daemon.enqueue(vec![payment(url, &order)]).await;
        daemon.until_attempts(&order, 1).await;
        let state = daemon.callback(&order).await.state;
        if state != ShownState::Delivered {
            let attempts = daemon.attempts(&order).await;
            wrong.push(format!("{order} is {state}: {attempts:?}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_merchant_closes_costs_no_attempt() {
    let authority = Authority::new("The Authority");
    let config = authority.identity().server();
    let place = Place::new();
    let daemon = start(&place, &authority.file()).await;
    let healthy = place.merchant(Answer::Ack, Arc::new(SystemClock)).await;
    let mut merchants = Vec::new();
    for (name, acts) in ways_to_go() {
        let server = Server::plain(acts.clone()).await;
        merchants.push((name, "http", server));
        let server = Server::tls(Arc::clone(&config), acts).await;
        merchants.push((name, "https", server));
    }
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    let delivered = async {
        let runs = merchants
            .iter()
            .enumerate()
            .map(|(family, (_, scheme, server))| {
                let url = server.url(scheme);
                let daemon = &daemon;
                async move { deliver(daemon, family, &url).await }
            });
        for ((name, scheme, server), mut faults) in merchants.iter().zip(join_all(runs).await) {
            // Whatever was delivered was asked for.
            let requests = server.requests().len();
            if requests < CALLBACKS {
                faults.push(format!("only {requests} requests"));
            }
            tally.cases += 1;
            tally.passed += usize::from(faults.is_empty());
            tally.connections += server.connections();
            tally.requests += requests;
            tally.bytes_sent += server.bytes_sent();
            wrong.extend(
                faults
                    .iter()
                    .map(|fault| format!("{name}, {scheme}: {fault}")),
            );
        }
    };
    let served = beside(&daemon, &healthy, delivered).await;
    tally.healthy = served;
    tally.report("kept");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    daemon.stop().await;
}
