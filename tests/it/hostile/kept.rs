//! Connections that are closed while they are kept: no form of it costs an attempt.
//!
//! Each connection of these merchants answers one request and then goes, in its own way. One
//! callback after the other is delivered, so each but the first may meet a connection that is
//! about to be closed, or is closed already.

use std::sync::Arc;

use callback_dispatcher::clock::SystemClock;
use callback_dispatcher::merchant::Answer;
use serde_json::Value;

use super::certificates::Authority;
use super::server::{Act, Server, ack, send};
use super::tally::Tally;
use super::{Gateway, Place, beside, start, until_attempted};
use crate::support::attempt::sent_before;

/// How many callbacks each of them gets, one after the other.
const ROUNDS: usize = 15;

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
        (
            "closed with a 408 as the request begins",
            answers_and(&[Act::Glance, send(late)]),
        ),
        // The second of them must not pass for the answer to the next request.
        ("answered twice, then closed", answers_and(&[ack()])),
        (
            "answered twice, then silent",
            answers_and(&[ack(), Act::Hang]),
        ),
    ]
}

/// The `timestamp` of each request that is about `order`.
fn timestamps(requests: &[String], order: &str) -> Vec<i64> {
    let bodies = requests
        .iter()
        .filter_map(|request| request.split("\r\n\r\n").nth(1));
    let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
    let about = bodies.filter(|body| body["orderNo"] == order || body["newpayOrderNo"] == order);
    let timestamp = |body: Value| {
        body["timestamp"]
            .as_str()
            .and_then(|text| text.parse().ok())
    };
    about
        .map(|body| timestamp(body).expect("a number"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_merchant_closes_costs_no_attempt() {
    let authority = Authority::new("The Authority");
    let config = authority.identity().server();
    let place = Place::new();
    let daemon = start(&place, &authority.file()).await;
    let healthy = place.merchant_at(Answer::Ack, Arc::new(SystemClock)).await;
    let mut merchants = Vec::new();
    for (name, acts) in ways_to_go() {
        let server = Server::plain(acts.clone()).await;
        merchants.push((name, server.url("http"), server));
        let server = Server::tls(Arc::clone(&config), acts).await;
        merchants.push((name, server.url("https"), server));
    }
    let gateway = Gateway::of(&place);
    let order = |merchant: usize, round: usize| format!("kept-{merchant}-{round}");
    let delivered = async {
        for round in 0..ROUNDS {
            let orders = (0..merchants.len()).map(|merchant| order(merchant, round));
            let orders: Vec<String> = orders.collect();
            let urls = merchants.iter().map(|(_, url, _)| url.as_str());
            gateway.queue(urls.zip(orders.iter().map(String::as_str)));
            for order in &orders {
                until_attempted(&daemon, order).await;
            }
        }
    };
    let healthy = beside(&daemon, &healthy, &gateway, delivered).await;

    let mut tally = Tally {
        cases: merchants.len(),
        healthy,
        ..Tally::default()
    };
    let mut wrong = Vec::new();
    for (merchant, (name, url, server)) in merchants.iter().enumerate() {
        let mut faults = Vec::new();
        let mut seen = 0;
        for round in 0..ROUNDS {
            let attempts = daemon.attempts(&order(merchant, round)).await;
            if attempts.len() != 1 || attempts[0].outcome != "acknowledged" {
                faults.push(format!("{name}, {url}: {attempts:?}"));
            }
            // No two sendings are alike, and each that came is recorded.
            let mut recorded: Vec<i64> = attempts
                .iter()
                .flat_map(|attempt| [sent_before(&attempt.detail), attempt.sent_timestamp])
                .flatten()
                .collect();
            for came in timestamps(&server.requests(), &order(merchant, round)) {
                seen += 1;
                match recorded.iter().position(|timestamp| *timestamp == came) {
                    Some(at) => drop(recorded.remove(at)),
                    None => faults.push(format!("{name}, {url}: {came} of {attempts:?}")),
                }
            }
        }
        // Whatever was delivered was asked for.
        let requests = server.requests().len();
        if requests < ROUNDS || seen != requests {
            faults.push(format!("{name}, {url}: only {seen} of {requests} requests"));
        }
        tally.passed += usize::from(faults.is_empty());
        tally.connections += server.connections();
        tally.requests += requests;
        tally.bytes_sent += server.bytes_sent();
        wrong.extend(faults);
    }
    tally.report("kept");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    daemon.stop().await;
}
