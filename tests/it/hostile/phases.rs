//! Hanging, dripping, closing and resetting at each phase. Those of TLS are in `handshakes`, those
//! of names in `names`.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::case::{Case, Door, Ending, and_over_tls, plain};
use super::certificates::Authority;
use super::server::{Act, drip, send};
use super::{CONNECT_LIMIT, LIMIT, run};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
const HALF: &str = "{\"transResult\"";

const WAITING: &str = "no answer within 3s while waiting for the head of the answer";
const READING: &str = "no complete answer within 3s while reading the body of the answer";

fn hanging() -> Vec<Case> {
    let in_head = || Ending::of("timeout", WAITING).after(LIMIT);
    let in_body = || Ending::answered("timeout", READING).after(LIMIT);
    let hang = |name: &str, said: &str, ending: Ending| {
        plain(name, [Act::Request, send(said), Act::Hang], ending)
    };
    vec![
        plain("never reads the request", [Act::Hang], in_head()),
        plain(
            "hangs after the request",
            [Act::Request, Act::Hang],
            in_head(),
        ),
        hang("hangs in the status line", "HTTP/1.", in_head()),
        hang(
            "hangs in a header",
            "HTTP/1.1 200 OK\r\nContent-Le",
            in_head(),
        ),
        hang(
            "hangs after a 100",
            "HTTP/1.1 100 Continue\r\n\r\n",
            in_head(),
        ),
        hang("hangs before the body", HEAD, in_body()),
        hang("hangs in the body", &format!("{HEAD}{HALF}"), in_body()),
        hang("hangs in a chunk's size", &format!("{CHUNKED}1"), in_body()),
        hang(
            "hangs before the last chunk",
            &format!("{CHUNKED}19\r\n{{\"transResult\":\"SUCCESS\"}}\r\n"),
            in_body(),
        ),
        hang(
            "never closes a body that ends with the connection",
            &format!("{UNTIL_CLOSED}{{\"transResult\":\"SUCCESS\"}}"),
            in_body(),
        ),
        hang(
            "hangs in the body of a 503",
            "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n",
            Ending::of("http_status", "HTTP status 503; then no complete answer")
                .status(503)
                .after(LIMIT),
        ),
    ]
}

fn dripping() -> Vec<Case> {
    let whole = format!("{HEAD}{{\"transResult\":\"SUCCESS\"}}");
    let in_head = || Ending::of("timeout", WAITING).after(LIMIT);
    let in_body = || Ending::answered("timeout", READING).after(LIMIT);
    vec![
        plain(
            "a byte a second of the head",
            [Act::Request, drip(&whole)],
            in_head(),
        ),
        plain(
            "a byte a second of a header",
            [
                Act::Request,
                send("HTTP/1.1 200 OK\r\nX: "),
                drip("a".repeat(60)),
            ],
            in_head(),
        ),
        plain(
            "a byte a second of 100s",
            [
                Act::Request,
                drip("HTTP/1.1 100 Continue\r\n\r\n".repeat(3)),
            ],
            in_head(),
        ),
        plain(
            "a byte a second of the body",
            [
                Act::Request,
                send(HEAD),
                drip("{\"transResult\":\"SUCCESS\"}"),
            ],
            in_body(),
        ),
        plain(
            "a byte a second of the chunks",
            [Act::Request, send(CHUNKED), drip("1\r\n{\r\n".repeat(9))],
            in_body(),
        ),
        plain(
            "a byte a second until closed",
            [Act::Request, send(UNTIL_CLOSED), drip(" ".repeat(60))],
            in_body(),
        ),
    ]
}

fn breaking() -> Vec<Case> {
    let lost = || Ending::of("protocol", "");
    let lost_in_body = || Ending::answered("protocol", "");
    let cut =
        |name: &str, said: &str, ending: Ending| plain(name, [Act::Request, send(said)], ending);
    vec![
        plain("closes at once", [], lost()),
        plain("resets at once", [Act::Reset], lost().or("connect")),
        plain("closes after the request", [Act::Request], lost()),
        cut("closes in the status line", "HTTP/1.1 2", lost()),
        cut(
            "closes in a header",
            "HTTP/1.1 200 OK\r\nContent-Le",
            lost(),
        ),
        cut(
            "closes after a 100",
            "HTTP/1.1 100 Continue\r\n\r\n",
            lost(),
        ),
        cut("closes before the body", HEAD, lost_in_body()),
        cut(
            "closes in the body",
            &format!("{HEAD}{HALF}"),
            lost_in_body(),
        ),
        cut(
            "closes in the body of a 503",
            "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n",
            Ending::of("http_status", "HTTP status 503").status(503),
        ),
        cut(
            "closes in a chunk",
            &format!("{CHUNKED}19\r\n{HALF}"),
            lost_in_body(),
        ),
        cut(
            "closes before the last chunk",
            &format!("{CHUNKED}19\r\n{{\"transResult\":\"SUCCESS\"}}\r\n"),
            lost_in_body(),
        ),
        cut(
            "closes early a body that ends with the connection",
            &format!("{UNTIL_CLOSED}{HALF}"),
            Ending::answered("unreadable", "not one JSON object"),
        ),
        plain(
            "resets after the request",
            [Act::Request, Act::Reset],
            lost(),
        ),
        plain(
            "resets in the head",
            [Act::Request, send("HTTP/1.1 2"), Act::Reset],
            lost(),
        ),
    ]
}

/// A listener whose backlog is full, so that no handshake of TCP is completed, and what fills it.
async fn full_backlog() -> (SocketAddr, (TcpListener, [TcpStream; 2])) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let anywhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    socket.bind(anywhere).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("it is bound");
    // Linux holds one more than the backlog, and drops what comes then.
    let first = TcpStream::connect(address).await.expect("room for it");
    let second = TcpStream::connect(address).await.expect("room for it");
    (address, (listener, [first, second]))
}

/// A port where nobody listens.
async fn nobody() -> SocketAddr {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = bound.expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_end_as_the_contract_says() {
    let authority = Authority::new("The Authority");
    let mut cases = hanging();
    cases.extend(dripping());
    cases.extend(breaking());
    let mut cases = and_over_tls(cases, &authority.identity().server());
    let (full, _held) = full_backlog().await;
    let elsewhere = |name: &str, address: SocketAddr, ending: Ending| Case {
        name: name.to_owned(),
        door: Door::Elsewhere(address),
        acts: Vec::new(),
        ending,
    };
    cases.push(elsewhere(
        "never accepts",
        full,
        Ending::of("timeout", "no connection within 2s while connecting").after(CONNECT_LIMIT),
    ));
    cases.push(elsewhere(
        "refuses the connection",
        nobody().await,
        Ending::of("connect", "connection refused"),
    ));
    run("phases", &authority.file(), cases).await;
}
