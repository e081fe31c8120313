//! Hanging, dripping, closing and resetting at each phase. Those of TLS are in `handshakes`, those
//! of names in `names`.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::case::{Case, Ending, Target, and_over_tls, answers, plain, spelled_out};
use super::certificates::Authority;
use super::server::{Act, drip, send};
use super::{CONNECT_LIMIT, LIMIT, run};
use crate::support::table::rows;

const HANGS_IN_HEAD: &str = r"
hangs in the status line | HTTP/1.
hangs in a header | HTTP/1.1 200 OK\r\nContent-Le
hangs after a 100 | HTTP/1.1 100 Continue\r\n\r\n
";

const HANGS_IN_BODY: &str = r"
hangs before the body | LENGTH
hangs in the body | LENGTHHALF
hangs in a chunk's size | CHUNKED1
hangs before the last chunk | CHUNKED19\r\nACK\r\n
never closes a body that ends with the connection | UNTIL_CLOSEDHALF
";

/// Sent whole before the colon, then a byte a second.
const DRIPS: &str = r"
a byte a second of the head | | LENGTHACK | head
a byte a second of a header | HTTP/1.1 200 OK\r\nX: a | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head
a byte a second of 100s | | HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n | head
a byte a second of the body | LENGTH | ACK | body
a byte a second of the chunks | CHUNKED | 1\r\n{\r\n1\r\n{\r\n1\r\n{\r\n1\r\n{\r\n1\r\n{\r\n | body
a byte a second until closed | UNTIL_CLOSED{ | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | body
";

const CLOSES: &str = r"
closes in the status line | HTTP/1.1 2 | protocol
closes in a header | HTTP/1.1 200 OK\r\nContent-Le | protocol
closes after a 100 | HTTP/1.1 100 Continue\r\n\r\n | protocol
closes before the body | LENGTH | protocol 200
closes in the body | LENGTHHALF | protocol 200
closes in the body of a 503 | HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n | http_status 503: HTTP status 503
closes in a chunk | CHUNKED19\r\nHALF | protocol 200
closes before the last chunk | CHUNKED19\r\nACK\r\n | protocol 200
closes early a body that ends with the connection | UNTIL_CLOSEDHALF | unreadable 200: not one JSON object
";

const WAITING: &str = "no answer within 3s while waiting for the head of the answer";
const READING: &str = "no complete answer within 3s while reading the body of the answer";

/// `LENGTH`, `CHUNKED` and `UNTIL_CLOSED` are heads, `HALF` is half of the acknowledgement.
fn with_heads(said: &str) -> String {
    said.replace("LENGTH", "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n")
        .replace(
            "CHUNKED",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .replace(
            "UNTIL_CLOSED",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        )
        .replace("HALF", "{\"transResult\"")
}

fn in_head() -> Ending {
    Ending::of("timeout", WAITING).after(LIMIT)
}

fn in_body() -> Ending {
    Ending::answered("timeout", READING).after(LIMIT)
}

fn hanging() -> Vec<Case> {
    let hang = |name: &str, said: &str, ending: Ending| {
        let said = send(with_heads(&spelled_out(said)));
        plain(name, [Act::Request, said, Act::Hang], ending)
    };
    let in_heads = rows(HANGS_IN_HEAD).into_iter();
    let in_bodies = rows(HANGS_IN_BODY).into_iter();
    let mut cases: Vec<Case> = in_heads
        .map(|[name, said]| hang(name, said, in_head()))
        .chain(in_bodies.map(|[name, said]| hang(name, said, in_body())))
        .collect();
    let late = Ending::of("http_status", "HTTP status 503; then no complete answer");
    let head = r"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n";
    cases.extend([
        plain("never reads the request", [Act::Hang], in_head()),
        plain(
            "hangs after the request",
            [Act::Request, Act::Hang],
            in_head(),
        ),
        hang(
            "acknowledges on a connection that it leaves open",
            "UNTIL_CLOSEDACK",
            Ending::acknowledged(),
        ),
        hang(
            "hangs in the body of a 503",
            head,
            late.status(503).after(LIMIT),
        ),
    ]);
    cases
}

fn dripping() -> Vec<Case> {
    let case = |[name, whole, slowly, phase]: [&str; 4]| {
        let said = |text: &str| with_heads(&spelled_out(text));
        let ending = if phase == "head" {
            in_head()
        } else {
            in_body()
        };
        let acts = [Act::Request, send(said(whole)), drip(said(slowly))];
        plain(name, acts, ending)
    };
    rows(DRIPS).into_iter().map(case).collect()
}

fn breaking() -> Vec<Case> {
    let lost = || Ending::of("protocol", "");
    let head = [Act::Request, send("HTTP/1.1 2"), Act::Reset];
    let mut cases = answers(CLOSES, with_heads);
    cases.extend([
        plain("closes at once", [], lost()),
        plain("resets at once", [Act::Reset], lost().or("connect")),
        plain("closes after the request", [Act::Request], lost()),
        plain(
            "resets after the request",
            [Act::Request, Act::Reset],
            lost(),
        ),
        plain("resets in the head", head, lost()),
        plain(
            "resets after a whole object without a length",
            [
                Act::Request,
                send("HTTP/1.0 200 OK\r\n\r\n{\"transResult\":\"SUCCESS\"}"),
                Act::Reset,
            ],
            Ending::acknowledged(),
        ),
    ]);
    cases
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
        target: Target::Elsewhere(address),
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
