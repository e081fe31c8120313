//! Every case of `vectors/ack.json`, and some that no body alone shows, over real connections.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::store::ShownState;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Daemon, Place, StoreKind, listener, on_both, payment};

#[derive(Deserialize)]
struct Vector {
    name: String,
    status: u16,
    content_type: String,
    body_base64: String,
    outcome: String,
}

/// An answer as bytes, and what the log must say of it.
struct Case {
    name: String,
    answer: Vec<u8>,
    outcome: String,
}

const ACK: &[u8] = br#"{"transResult":"SUCCESS"}"#;

/// `content-length` is `length`, whatever the body's is.
fn answer(status: u16, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn vectors() -> Vec<Case> {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/ack.json")).expect("vectors");
    assert!(vectors.len() >= 33, "{}", vectors.len());
    let cases = vectors.into_iter().map(|vector| {
        let body = BASE64.decode(&vector.body_base64).expect("Base64");
        let headers = match vector.content_type.as_str() {
            "" => String::new(),
            named => format!("content-type: {named}\r\n"),
        };
        Case {
            name: vector.name,
            answer: answer(vector.status, &headers, body.len(), &body),
            outcome: vector.outcome,
        }
    });
    cases.collect()
}

/// What only shows on the wire.
fn of_the_wire() -> Vec<Case> {
    let case = |name: &str, answer: Vec<u8>, outcome: &str| Case {
        name: name.to_owned(),
        answer,
        outcome: outcome.to_owned(),
    };
    let json = "content-type: application/json\r\n";
    let padded = |bytes: usize| [ACK, &b" ".repeat(bytes - ACK.len())].concat();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
        a\r\n{\"transRes\r\nf\r\nult\":\"SUCCESS\"}\r\n0\r\n\r\n";
    let (cap, above) = (padded(64 * 1024), padded(64 * 1024 + 1));
    vec![
        case(
            "cut off inside the body",
            answer(200, json, 100, ACK),
            "protocol",
        ),
        case(
            "as large as the cap",
            answer(200, json, cap.len(), &cap),
            "acknowledged",
        ),
        case(
            "larger than the cap",
            answer(200, json, above.len(), &above),
            "unreadable",
        ),
        case("in chunks", chunked.to_vec(), "acknowledged"),
        case(
            "called gzip",
            answer(200, "content-encoding: gzip\r\n", ACK.len(), ACK),
            "acknowledged",
        ),
        case(
            "until the end",
            [b"HTTP/1.0 200 OK\r\n\r\n", ACK].concat(),
            "acknowledged",
        ),
        case("no HTTP", ACK.to_vec(), "protocol"),
        case("nothing", vec![], "protocol"),
        case("503 cut off", answer(503, json, 100, ACK), "http_status"),
    ]
}

/// Reads a POST to `/N` and gives the answer of case N.
async fn converse(mut stream: TcpStream, cases: Arc<Vec<Case>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (head, body_at) = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break (
                String::from_utf8_lossy(&request[..end]).to_lowercase(),
                end + 4,
            );
        }
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("a length").trim().parse().expect("a number");
    while request.len() < body_at + length {
        assert!(
            stream.read_buf(&mut request).await? > 0,
            "the request is cut off"
        );
    }
    let path = head.split(' ').nth(1).expect("a path");
    let case: usize = path.trim_start_matches('/').parse().expect("a case");
    stream.write_all(&cases[case].answer).await?;
    stream.shutdown().await
}

async fn every_answer_is_recorded_with_its_outcome(store: StoreKind) {
    let cases: Vec<Case> = vectors().into_iter().chain(of_the_wire()).collect();
    let cases = Arc::new(cases);
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answering = Arc::clone(&cases);
    let door = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A caller that has read enough may hang up.
            tokio::spawn(converse(stream, Arc::clone(&answering)));
        }
    });
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let order = |case: usize| format!("order-{case}");
    let callbacks = (0..cases.len()).map(|case| payment(&format!("{url}/{case}"), &order(case)));
    daemon.enqueue(callbacks.collect()).await;
    let mut wrong = Vec::new();
    for (position, case) in cases.iter().enumerate() {
        daemon.until_attempts(&order(position), 1).await;
        let attempts = daemon.attempts(&order(position)).await;
        let state = daemon.callback(&order(position)).await.state;
        let acknowledged = case.outcome == "acknowledged";
        let right = attempts.len() == 1
            && attempts[0].outcome == case.outcome
            && attempts[0].counted
            && (state == ShownState::Delivered) == acknowledged;
        if !right {
            wrong.push(format!(
                "{}: {} expected, {state}, {attempts:#?}",
                case.name, case.outcome
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    daemon.stop().await;
    door.abort();
}

on_both!(every_answer_is_recorded_with_its_outcome,);
