//! Several addresses of one name, tried in turn.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::scripted::{ACK, Found, Merchant, Step, answer, send};
use super::*;
use crate::clock::Stopwatch;

/// An address at which connections hang: its backlog is full.
struct Full {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Full {
    async fn at(address: IpAddr, port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let address = SocketAddr::new(address, port);
        socket.bind(address).expect("free at this address");
        let listener = socket.listen(1).expect("a listener");
        let mut waiting = Vec::new();
        // Linux holds one more than the backlog, and drops what comes then.
        for _ in 0..2 {
            waiting.push(TcpStream::connect(address).await.expect("room for it"));
        }
        Self {
            _listener: listener,
            _waiting: waiting,
        }
    }
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

#[tokio::test]
async fn one_live_address_among_silent_ones_is_reached_and_then_preferred() {
    let merchant = Merchant::acks(1).await;
    let port = merchant.address.port();
    let mut silent = Vec::new();
    for last in 2..9 {
        silent.push(Full::at(loopback(last), port).await);
    }
    let mut addresses: Vec<_> = (2..9).map(loopback).collect();
    addresses.push(loopback(1));
    let settings = TransportSettings {
        // Shorter than seven staggers: the last address has its second all the same.
        connect_timeout: Duration::from_millis(1500),
        ..settings()
    };
    let transport = resolving(settings, [Found::Addresses(addresses)]);
    let url = merchant.named_url("http");
    let report = transport.post(&url, b"1".to_vec()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    let watch = Stopwatch::start();
    let report = transport.post(&url, b"2".to_vec()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(watch.elapsed() < Duration::from_secs(1));
    assert_eq!(merchant.requests().len(), 2);
}

#[tokio::test]
async fn an_address_that_refuses_makes_way_at_once() {
    let merchant = Merchant::acks(1).await;
    let found = Found::Addresses(vec![loopback(2), loopback(3), loopback(1)]);
    let watch = Stopwatch::start();
    let report = resolving(settings(), [found])
        .post(&merchant.named_url("http"), Vec::new())
        .await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(watch.elapsed() < Duration::from_millis(250));
}

#[tokio::test]
async fn all_addresses_silent_is_a_deadline_while_connecting() {
    let first = Merchant::acks(1).await;
    let port = first.address.port();
    let _silent = [
        Full::at(loopback(2), port).await,
        Full::at(loopback(3), port).await,
    ];
    let settings = TransportSettings {
        connect_timeout: Duration::from_millis(300),
        ..settings()
    };
    let found = Found::Addresses(vec![loopback(2), loopback(3)]);
    let report = resolving(settings, [found])
        .post(&first.named_url("http"), Vec::new())
        .await;
    let detail = "no connection within 300ms while connecting";
    assert_fault(&report, Phase::Connect, Cause::Deadline, detail);
}

/// On a host without IPv6 the one family has no route; what counts is what the other says.
#[tokio::test]
async fn a_family_without_a_route_does_not_speak_for_the_other() {
    let settings = TransportSettings {
        connect_timeout: Duration::from_millis(500),
        policy: Policy {
            allow_http: true,
            allow_networks: vec![
                "127.0.0.0/8".parse().expect("a network"),
                "2001:db8::/32".parse().expect("a network"),
            ],
            ..Policy::default()
        },
        ..settings()
    };
    let nowhere: IpAddr = "2001:db8::1".parse().expect("an address");
    for addresses in [vec![nowhere, loopback(1)], vec![loopback(1), nowhere]] {
        let transport = resolving(settings.clone(), [Found::Addresses(addresses)]);
        // Port 1 is nobody's.
        let report = transport.post("http://merchant.test:1/", Vec::new()).await;
        assert_fault(&report, Phase::Connect, Cause::Remote, "connection refused");
    }
}

#[tokio::test]
async fn a_name_that_has_moved_is_looked_up_again_when_the_old_address_refuses() {
    let old = Merchant::plain(vec![vec![
        Step::Request,
        send(format!(
            "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{ACK}",
            ACK.len()
        )),
    ]])
    .await;
    let port = old.address.port();
    let found = [loopback(1), loopback(2)].map(|address| Found::Addresses(vec![address]));
    let transport = resolving(settings(), found);
    let url = old.named_url("http");
    let report = transport.post(&url, Vec::new()).await;
    assert_eq!(report.exchange, answered(old.address, 200, ACK));
    old.stop().await;
    let new = Merchant::at(
        SocketAddr::new(loopback(2), port),
        vec![vec![Step::Request, send(answer(200, ACK))]],
    )
    .await;
    let report = transport.post(&url, Vec::new()).await;
    assert_eq!(report.exchange, answered(new.address, 200, ACK));
}
