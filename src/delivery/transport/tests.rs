//! Exchanges over real sockets, without TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::scripted::{ACK, Found, LOOPBACK, Merchant, ScriptedLookup, Step, answer, send};
use super::*;
use crate::delivery::egress::Policy;
use crate::domain::{CappedBody, Cause, Fault, Phase};

/// Long enough for an exchange on loopback on a busy machine.
const SHORT: Duration = Duration::from_millis(700);

const CAP: usize = 1000;

pub(super) fn settings() -> TransportSettings {
    TransportSettings {
        connect_timeout: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        max_response_bytes: CAP,
        policy: Policy {
            allow_http: true,
            allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
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

pub(super) fn resolving(
    settings: TransportSettings,
    answers: impl IntoIterator<Item = Found>,
) -> Transport {
    Transport::with_lookup(settings, ScriptedLookup::new(answers)).expect("good settings")
}

async fn post_once(settings: TransportSettings, script: Vec<Step>) -> (PostReport, Merchant) {
    let merchant = Merchant::plain(vec![script]).await;
    let report = transport(settings)
        .post(&merchant.url(), b"{}".to_vec())
        .await;
    (report, merchant)
}

/// Lets a connection find its way back into the pool, which takes hyper's tasks a few turns.
pub(super) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(super) fn fault(report: &PostReport) -> &Fault {
    match &report.exchange {
        Exchange::Failed(fault) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_fault(report: &PostReport, phase: Phase, cause: Cause, detail: &str) {
    let fault = fault(report);
    assert_eq!((fault.phase, fault.cause), (phase, cause), "{fault:?}");
    assert!(fault.detail.contains(detail), "{fault:?}");
}

#[track_caller]
pub(super) fn assert_blocked(report: &PostReport, why: &str) {
    match &report.exchange {
        Exchange::Blocked { reason } => assert!(reason.contains(why), "{reason}"),
        other => panic!("not blocked: {other:?}"),
    }
}

pub(super) fn answered(address: SocketAddr, status: u16, body: &str) -> Exchange {
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
    let merchant = Merchant::plain(vec![vec![Step::Request, Step::Ack]]).await;
    let transport = transport(settings());
    let report = transport
        .post(&merchant.url(), br#"{"a":1}"#.to_vec())
        .await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(!report.resent);
    let version = env!("CARGO_PKG_VERSION");
    let mut lines: Vec<String> = merchant.requests()[0].lines().map(str::to_owned).collect();
    lines[1..].sort();
    assert_eq!(
        lines,
        [
            "POST /callback?order=1 HTTP/1.1",
            "",
            "accept: application/json",
            "content-length: 7",
            "content-type: application/json",
            &format!("host: {}", merchant.address),
            &format!("user-agent: callback-dispatcher/{version}"),
            r#"{"a":1}"#,
        ]
    );
    let times = report.phases;
    assert!(times.connect.is_some() && times.head.is_some() && times.body.is_some());
    assert!(times.dns.is_none() && times.tls.is_none());
}

#[tokio::test]
async fn a_connection_is_kept() {
    let script = vec![Step::Request, Step::Ack, Step::Request, Step::Ack];
    let merchant = Merchant::plain(vec![script]).await;
    let transport = transport(settings());
    transport.post(&merchant.url(), Vec::new()).await;
    settle().await;
    let report = transport.post(&merchant.url(), Vec::new()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert_eq!(report.phases.connect, None);
    assert!(report.phases.head.is_some());
    assert_eq!(merchant.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_costs_no_attempt() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    transport.post(&merchant.url(), b"1".to_vec()).await;
    settle().await;
    let report = transport.post(&merchant.url(), b"2".to_vec()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(report.resent);
    assert!(report.phases.connect.is_some());
    assert_eq!(merchant.connections(), 2);
    assert_eq!(merchant.requests()[1], merchant.requests()[2]);
}

#[tokio::test]
async fn nothing_is_sent_a_third_time() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    transport.post(&merchant.url(), Vec::new()).await;
    settle().await;
    let report = transport.post(&merchant.url(), Vec::new()).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "closed");
    assert!(report.resent);
    assert_eq!(merchant.connections(), 2);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_a_fault() {
    let (report, merchant) = post_once(settings(), vec![Step::Request]).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "closed");
    assert_eq!(fault(&report).remote_addr, Some(merchant.address));
    assert!(!report.resent);
    assert_eq!(merchant.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_with_a_bad_answer_is_a_fault() {
    let script = vec![
        Step::Request,
        Step::Ack,
        Step::Request,
        send("nonsense\r\n\r\n"),
    ];
    let merchant = Merchant::plain(vec![script]).await;
    let transport = transport(settings());
    transport.post(&merchant.url(), Vec::new()).await;
    settle().await;
    let report = transport.post(&merchant.url(), Vec::new()).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "HTTP");
    assert_eq!(fault(&report).remote_addr, Some(merchant.address));
    assert!(!report.resent);
}

/// An exchange begins a connection of its own, and takes another's when that comes free first.
async fn take_over(second_answer: Vec<Step>) -> (PostReport, Merchant) {
    let (asked, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut script = vec![
        Step::Request,
        Step::Tell(Arc::clone(&asked)),
        Step::Wait(Arc::clone(&may_answer)),
        Step::Ack,
        Step::Request,
    ];
    script.extend(second_answer);
    let merchant = Merchant::plain(vec![script, vec![Step::Request, Step::Ack]]).await;
    let here = Found::Addresses(vec![LOOPBACK]);
    let transport = resolving(impatient(), [here.clone(), Found::Hangs, here]);
    let url = merchant.named_url("http");
    let first = transport.post(&url, b"1".to_vec());
    let second = async {
        asked.notified().await;
        let second = transport.post(&url, b"2".to_vec());
        let release = async {
            settle().await;
            may_answer.notify_one();
        };
        tokio::join!(second, release).0
    };
    let (_, report) = tokio::join!(first, second);
    (report, merchant)
}

#[tokio::test]
async fn a_connection_taken_over_is_past_its_connector() {
    let (report, merchant) = take_over(vec![Step::Hang]).await;
    assert_fault(
        &report,
        Phase::Head,
        Cause::Deadline,
        "no answer within 700ms",
    );
    assert_eq!(merchant.connections(), 1);
}

#[tokio::test]
async fn a_connection_taken_over_is_a_kept_one() {
    let (report, merchant) = take_over(Vec::new()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(report.resent);
}

#[tokio::test]
async fn hanging_before_the_head_is_a_timeout_there() {
    let (report, _) = post_once(impatient(), vec![Step::Request, Step::Hang]).await;
    let detail = "no answer within 700ms while waiting for the head of the answer";
    assert_fault(&report, Phase::Head, Cause::Deadline, detail);
    assert!(fault(&report).remote_addr.is_some());
}

#[tokio::test]
async fn hanging_in_the_body_is_a_timeout_there() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{";
    let (report, merchant) =
        post_once(impatient(), vec![Step::Request, send(start), Step::Hang]).await;
    let detail = "no complete answer within 700ms while reading the body of the answer";
    assert_fault(&report, Phase::Body, Cause::Deadline, detail);
    assert_eq!(fault(&report).status, Some(200));
    assert_eq!(fault(&report).remote_addr, Some(merchant.address));
    assert!(report.phases.head.is_some() && report.phases.body.is_none());
}

#[tokio::test]
async fn a_connection_closed_in_the_body_breaks_there() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{";
    let (report, _) = post_once(settings(), vec![Step::Request, send(start)]).await;
    assert_fault(&report, Phase::Body, Cause::Remote, "");
    assert_eq!(fault(&report).status, Some(200));
}

#[tokio::test]
async fn a_refused_connection_breaks_at_connecting() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let report = transport(settings())
        .post(&format!("http://{address}/"), Vec::new())
        .await;
    assert_fault(&report, Phase::Connect, Cause::Remote, "connection refused");
    assert_eq!(fault(&report).remote_addr, Some(address));
    let here = [Found::Addresses(vec![LOOPBACK])];
    let report = resolving(settings(), here)
        .post(
            &format!("http://merchant.test:{}/", address.port()),
            Vec::new(),
        )
        .await;
    assert_fault(&report, Phase::Connect, Cause::Remote, "connection refused");
    assert_eq!(fault(&report).remote_addr, Some(address));
    assert!(report.phases.dns.is_some() && report.phases.connect.is_none());
}

#[tokio::test]
async fn a_full_backlog_is_a_timeout_at_connecting() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::new(LOOPBACK, 0))
        .expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("it is bound");
    // Linux holds one more than the backlog, and drops what comes then.
    let first = TcpStream::connect(address).await.expect("room for it");
    let second = TcpStream::connect(address).await.expect("room for it");
    let settings = TransportSettings {
        connect_timeout: Duration::from_millis(200),
        ..settings()
    };
    let report = transport(settings)
        .post(&format!("http://{address}/"), Vec::new())
        .await;
    let detail = "no connection within 200ms while connecting";
    assert_fault(&report, Phase::Connect, Cause::Deadline, detail);
    assert_eq!(fault(&report).remote_addr, Some(address));
    drop((first, second));
}

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
    assert!(!report.resent);
}
