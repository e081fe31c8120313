//! A real socket and a caller that writes its requests out, so that nothing is hidden.

mod evidence;
mod tls;

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::Stopwatch;
use crate::merchant::BODY_BYTES_MAX;

async fn start(settings: MerchantSettings) -> MockMerchant {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    MockMerchant::start(listener, settings).expect("starts")
}

async fn start_with(answer: Answer) -> MockMerchant {
    start(MerchantSettings {
        script: answer.into(),
        ..MerchantSettings::default()
    })
    .await
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(20);
    let done = tokio::time::timeout(deadline, work).await;
    done.expect("done long before the deadline")
}

fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /cb?a=1 HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Sends `request` and returns what comes until the end of the connection.
async fn send(merchant: &MockMerchant, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(merchant.addr()).await.expect("listens");
        stream.write_all(request.as_bytes()).await.expect("reads");
        let mut answer = Vec::new();
        // A merchant that answers before it has read everything may end in a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("UTF-8")
    };
    in_time(exchange).await
}

/// POSTs `body`; returns the answer's status and body.
async fn post(merchant: &MockMerchant, body: &str) -> (u16, String) {
    parse(&send(merchant, &request(body)).await)
}

fn parse(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.expect("a status"), body.to_owned())
}

const ACK: &str = r#"{"transResult":"SUCCESS"}"#;
const REFUSAL: &str = r#"{"transResult":"FAIL"}"#;

#[tokio::test]
async fn answers_as_told() {
    for (answer, status, body) in [
        (Answer::Ack, 200, ACK),
        (Answer::Refuse, 200, REFUSAL),
        (Answer::Status(503), 503, ACK),
        (Answer::Status(204), 204, ""),
        (Answer::Status(7), 500, ACK),
        (Answer::Body("[1]".to_owned()), 200, "[1]"),
        (Answer::Empty, 200, ""),
    ] {
        let merchant = start_with(answer.clone()).await;
        let got = post(&merchant, "{}").await;
        assert_eq!(got, (status, body.to_owned()), "{answer}");
        assert_eq!(merchant.count(), 1);
    }
    let merchant = start_with(Answer::Html).await;
    let page = send(&merchant, &request("{}")).await;
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("text/html") && page.contains("<p>")
    );
    let merchant = start_with(Answer::Redirect("https://a.example/login".to_owned())).await;
    let redirect = send(&merchant, &request("{}")).await;
    assert!(redirect.starts_with("HTTP/1.1 302 "));
    assert!(redirect.contains("location: https://a.example/login\r\n"));
}

#[tokio::test]
async fn close_ends_without_a_byte() {
    let merchant = start_with(Answer::Close).await;
    assert_eq!(send(&merchant, &request("{}")).await, "");
    assert_eq!(merchant.count(), 1);
}

#[tokio::test]
async fn hang_lasts_until_the_stop() {
    let merchant = start_with(Answer::Hang).await;
    let mut stream = TcpStream::connect(merchant.addr()).await.expect("listens");
    let request = request("{}");
    stream.write_all(request.as_bytes()).await.expect("reads");
    in_time(merchant.wait_for(1)).await;
    in_time(merchant.stop()).await;
    let mut answer = Vec::new();
    // Reset or closed, but not a byte of an answer.
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn slow_takes_its_time() {
    let wait = Duration::from_millis(30);
    let merchant = start_with(Answer::Slow(wait)).await;
    let stopwatch = Stopwatch::start();
    assert_eq!(post(&merchant, "{}").await, (200, ACK.to_owned()));
    assert!(stopwatch.elapsed() >= wait);
}

#[tokio::test]
async fn the_first_posts_of_each_order_fail() {
    let merchant = start(MerchantSettings {
        fail_first: 2,
        ..MerchantSettings::default()
    })
    .await;
    let payment = r#"{"newpayOrderNo":"1"}"#;
    let refund = r#"{"newpayOrderNo":"1","newpayRefundOrderNo":"1"}"#;
    for (body, answer) in [
        (payment, REFUSAL),
        (refund, REFUSAL),
        (payment, REFUSAL),
        (payment, ACK),
        (refund, REFUSAL),
        (refund, ACK),
        (r#"{"newpayOrderNo":"2"}"#, REFUSAL),
        (payment, ACK),
    ] {
        assert_eq!(post(&merchant, body).await.1, answer, "{body}");
    }
}

#[tokio::test]
async fn a_script_looks_at_each_post() {
    let merchant = start(MerchantSettings {
        script: Script::each(|received| match received.text("newpayOrderNo") {
            Some("1") => Answer::Ack,
            _ => Answer::Status(404),
        }),
        remember: 0,
        ..MerchantSettings::default()
    })
    .await;
    assert_eq!(post(&merchant, r#"{"newpayOrderNo":"1"}"#).await.0, 200);
    assert_eq!(post(&merchant, r#"{"newpayOrderNo":"2"}"#).await.0, 404);
    assert_eq!(merchant.received(), []);
}

#[tokio::test]
async fn only_posts_of_a_sensible_size() {
    let merchant = start_with(Answer::Ack).await;
    let get = "GET / HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n";
    let answer = send(&merchant, get).await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: POST\r\n"));

    let too_large = BODY_BYTES_MAX + 1;
    let head = format!("POST / HTTP/1.1\r\nHost: m\r\nContent-Length: {too_large}\r\n\r\n");
    assert!(send(&merchant, &head).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(merchant.count(), 0);

    let largest = "x".repeat(BODY_BYTES_MAX);
    assert_eq!(post(&merchant, &largest).await.0, 200);
    assert_eq!(merchant.count(), 1);
}

#[tokio::test]
async fn a_chunked_body_has_the_same_limit() {
    let merchant = start_with(Answer::Ack).await;
    let head = "POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = "x".repeat(BODY_BYTES_MAX + 1);
    let too_large = format!("{head}{:x}\r\n{chunk}", chunk.len());
    assert!(
        send(&merchant, &too_large)
            .await
            .starts_with("HTTP/1.1 413 ")
    );
    assert_eq!(merchant.count(), 0);
}

#[tokio::test]
async fn connections_are_kept_and_memory_is_bounded() {
    let merchant = start(MerchantSettings {
        remember: 2,
        ..MerchantSettings::default()
    })
    .await;
    let mut stream = TcpStream::connect(merchant.addr()).await.expect("listens");
    for n in 1..=3 {
        let body = format!("{{\"n\":{n}}}");
        let request = request(&body).replace("Connection: close\r\n", "");
        stream.write_all(request.as_bytes()).await.expect("reads");
        let mut answer = vec![0; 4096];
        let mut length = 0;
        while !answer[..length].ends_with(ACK.as_bytes()) {
            let read = in_time(stream.read(&mut answer[length..])).await;
            length += read.expect("still connected");
        }
    }
    in_time(merchant.wait_for(3)).await;
    let numbers: BTreeSet<String> = merchant
        .received()
        .iter()
        .filter_map(|post| Some(post.text("n")?.to_owned()))
        .collect();
    assert_eq!(numbers, ["2", "3"].map(str::to_owned).into());
}
