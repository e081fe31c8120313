//! What counts as an answer, and how much of it is read.

use std::sync::Arc;

use tokio::sync::Notify;

use super::scripted::{ACK, Merchant, Step, answer, send};
use super::*;

#[tokio::test]
async fn what_is_no_http_breaks_the_protocol() {
    let headers = "X-Many: 1\r\n".repeat(200);
    let many = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1 << 20));
    let doubled = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}";
    for bytes in [
        "SSH-2.0-OpenSSH_9\r\n",
        "\0\0\0",
        "HTTP/2 200\r\n\r\n",
        doubled,
        &many,
        &endless,
    ] {
        let (report, _) = post_once(settings(), vec![Step::Request, send(bytes)]).await;
        assert_fault(&report, Phase::Head, Cause::Remote, "");
    }
}

#[tokio::test]
async fn every_status_is_an_answer() {
    let continued = format!("HTTP/1.1 100 Continue\r\n\r\n{}", answer(200, "{}"));
    let table = [
        (answer(201, "{}"), 201, "{}"),
        (answer(404, "no"), 404, "no"),
        (answer(503, ""), 503, ""),
        (continued, 200, "{}"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 204, ""),
        (
            "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(),
            200,
            "until the end",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            302,
            "",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
                .to_owned(),
            101,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw".to_owned(),
            200,
            "raw",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned(),
            200,
            "ok",
        ),
    ];
    for (bytes, status, body) in table {
        let (report, merchant) = post_once(settings(), vec![Step::Request, send(&bytes)]).await;
        assert_eq!(
            report.exchange,
            answered(merchant.address, status, body),
            "{bytes}"
        );
    }
}

#[tokio::test]
async fn a_body_is_cut_at_the_cap() {
    let long = "a".repeat(CAP + 1);
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551000\r\n\r\n";
    let chunk = format!("{:x}\r\n{long}\r\n", long.len());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bytes in [
        answer(200, &long),
        format!("{length}{long}"),
        format!("{chunked}{chunk}"),
        format!("HTTP/1.0 200 OK\r\n\r\n{long}"),
    ] {
        // The merchant says no more and waits: only a cut ends this before the deadline.
        let script = vec![Step::Request, send(&bytes), Step::Hang];
        let (report, _) = post_once(settings(), script).await;
        match report.exchange {
            Exchange::Answered { body, .. } => {
                assert!(body.oversized);
                assert_eq!(body.bytes, long.as_bytes()[..CAP]);
            }
            other => panic!("{other:?}"),
        }
    }
    let (report, merchant) = post_once(
        settings(),
        vec![Step::Request, send(answer(200, &long[..CAP]))],
    )
    .await;
    assert_eq!(
        report.exchange,
        answered(merchant.address, 200, &long[..CAP])
    );
}

#[tokio::test]
async fn a_cut_connection_is_not_used_again() {
    let gone = Arc::new(Notify::new());
    let long = answer(200, &"a".repeat(CAP * 1000));
    let script = vec![
        Step::Request,
        send(long),
        Step::Hang,
        Step::Tell(Arc::clone(&gone)),
    ];
    let merchant = Merchant::plain(vec![script, vec![Step::Request, Step::Ack]]).await;
    let transport = transport(settings());
    transport.post(&merchant.url(), Vec::new()).await;
    settle().await;
    let report = transport.post(&merchant.url(), Vec::new()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert_eq!(merchant.connections(), 2);
}
