//! Answers that nobody asked for: a merchant that refuses every callback, and on whose connections an
//! acknowledgement follows a little later, as servers do that answer twice. It counts for no callback.

use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::SystemClock;
use callback_dispatcher::merchant::Answer;

use super::certificates::Authority;
use super::server::{Act, Server, send};
use super::tally::Tally;
use super::{Gateway, Place, beside, start, until_attempted};

/// Callbacks for each of them, all due at once.
const CALLBACKS: usize = 8;

/// Requests that a connection would answer, if it were kept.
const ANSWERS: usize = 4;

const REFUSAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"transResult\":\"FAIL\"}";
const SUCCESS: &str = "{\"transResult\":\"SUCCESS\"}";

/// The same acknowledgement in ten framings.
fn framings() -> [(&'static str, String); 10] {
    let with_length = format!("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{SUCCESS}");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    [
        ("with a length", with_length.clone()),
        ("chunked", format!("{chunked}19\r\n{SUCCESS}\r\n0\r\n\r\n")),
        (
            "in small chunks",
            format!("{chunked}1\r\n{{\r\n18\r\n{}\r\n0\r\n\r\n", &SUCCESS[1..]),
        ),
        ("to the end", format!("HTTP/1.1 200 OK\r\n\r\n{SUCCESS}")),
        ("of HTTP/1.0", format!("HTTP/1.0 200 OK\r\n\r\n{SUCCESS}")),
        (
            "after a 100",
            format!("HTTP/1.1 100 Continue\r\n\r\n{with_length}"),
        ),
        (
            "after a 103",
            format!("HTTP/1.1 103 Early Hints\r\n\r\n{with_length}"),
        ),
        ("after an empty line", format!("\r\n{with_length}")),
        ("twice", with_length.repeat(2)),
        ("as a body alone", SUCCESS.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_nobody_asked_for_counts_for_no_callback() {
    let authority = Authority::new("The Authority");
    let config = authority.identity().server();
    let place = Place::new();
    let daemon = start(&place, &authority.file()).await;
    let healthy = place.merchant_at(Answer::Ack, Arc::new(SystemClock)).await;
    let mut merchants = Vec::new();
    for (framing, leftover) in framings() {
        for delay in [10, 200] {
            let answer = [
                Act::Request,
                send(REFUSAL),
                Act::Pause(Duration::from_millis(delay)),
                send(&leftover),
            ];
            let mut acts = vec![answer; ANSWERS].concat();
            acts.push(Act::Hang);
            let name = format!("{framing}, {delay} ms late");
            let server = Server::plain(acts.clone()).await;
            merchants.push((name.clone(), server.url("http"), server));
            let server = Server::tls(Arc::clone(&config), acts).await;
            merchants.push((name, server.url("https"), server));
        }
    }
    let gateway = Gateway::of(&place);
    let callbacks: Vec<(&str, String)> = (0..CALLBACKS)
        .flat_map(|nth| {
            let each = merchants.iter().enumerate();
            each.map(move |(merchant, (_, url, _))| (&**url, format!("leftover-{merchant}-{nth}")))
        })
        .collect();
    let attempted = async {
        gateway.queue(callbacks.iter().map(|(url, order)| (*url, &**order)));
        for (_, order) in &callbacks {
            until_attempted(&daemon, order).await;
        }
    };
    let healthy = beside(&daemon, &healthy, &gateway, attempted).await;

    let mut wrong = Vec::new();
    for (merchant, (name, url, _)) in merchants.iter().enumerate() {
        for nth in 0..CALLBACKS {
            for attempt in daemon.attempts(&format!("leftover-{merchant}-{nth}")).await {
                if attempt.outcome != "refused" {
                    wrong.push(format!("{name}, {url}: {attempt:?}"));
                }
            }
        }
    }
    let tally = Tally {
        cases: merchants.len(),
        passed: if wrong.is_empty() { merchants.len() } else { 0 },
        connections: merchants
            .iter()
            .map(|(_, _, server)| server.connections())
            .sum(),
        requests: merchants
            .iter()
            .map(|(_, _, server)| server.requests().len())
            .sum(),
        bytes_sent: merchants
            .iter()
            .map(|(_, _, server)| server.bytes_sent())
            .sum(),
        healthy,
    };
    tally.report("leftovers");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    daemon.stop().await;
}
