//! Hanging and breaking in each stage; those of TLS and of names stand with these.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::scripted::{Found, LOOPBACK, Step, send};
use super::*;

#[tokio::test]
async fn hanging_before_the_head_is_a_timeout_there() {
    let (report, _) = post_once(impatient(), vec![Step::Request, Step::Hang]).await;
    let detail = "no answer within 700ms while waiting for the head of the answer";
    assert_fault(&report, Phase::Head, Cause::Deadline, detail);
    assert!(fault_of(&report).remote_addr.is_some());
}

#[tokio::test]
async fn hanging_in_the_body_is_a_timeout_there() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{";
    let (report, merchant) =
        post_once(impatient(), vec![Step::Request, send(start), Step::Hang]).await;
    let detail = "no complete answer within 700ms while reading the body of the answer";
    assert_fault(&report, Phase::Body, Cause::Deadline, detail);
    assert_eq!(fault_of(&report).status, Some(200));
    assert_eq!(fault_of(&report).remote_addr, Some(merchant.address));
    assert!(report.phases.head.is_some() && report.phases.body.is_none());
}

#[tokio::test]
async fn a_connection_closed_in_the_body_breaks_there() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{";
    let (report, _) = post_once(settings(), vec![Step::Request, send(start)]).await;
    assert_fault(&report, Phase::Body, Cause::Remote, "");
    assert_eq!(fault_of(&report).status, Some(200));
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
    assert_eq!(fault_of(&report).remote_addr, Some(address));
    let here = [Found::Addresses(vec![LOOPBACK])];
    let report = resolving(settings(), here)
        .post(
            &format!("http://merchant.test:{}/", address.port()),
            Vec::new(),
        )
        .await;
    assert_fault(&report, Phase::Connect, Cause::Remote, "connection refused");
    assert_eq!(fault_of(&report).remote_addr, Some(address));
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
    assert_eq!(fault_of(&report).remote_addr, Some(address));
    drop((first, second));
}

#[tokio::test]
async fn a_literal_ipv6_address_is_dialled_as_it_stands() {
    // Port 1 is nobody's; where there is no IPv6 at all, that is this host's fault.
    let settings = TransportSettings {
        policy: Policy {
            allow_http: true,
            allow_networks: vec!["::1/128".parse().expect("a network")],
            ..Policy::default()
        },
        ..settings()
    };
    let report = transport(settings)
        .post("http://[::1]:1/", Vec::new())
        .await;
    let fault = fault_of(&report);
    assert_eq!(fault.phase, Phase::Connect, "{fault:?}");
    assert_eq!(fault.remote_addr, "[::1]:1".parse().ok());
}
