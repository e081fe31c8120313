//! More than anyone wants to read: endless heads and bodies, bombs, and what is just within bounds.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::case::{Case, Ending, plain};
use super::run_both;
use super::server::{Act, flood, send};

/// `delivery.max_response_bytes` by default.
pub(super) const CAP: usize = 64 * 1024;

const ACK: &str = "{\"transResult\":\"SUCCESS\"}";
const TOO_LARGE: &str =
    "the body is larger than 65536 bytes; operator: delivery.max_response_bytes sets the limit";

/// How much one write of a flood is.
const WAVE: usize = 16 * 1024;

pub(super) fn endless_continue() -> Vec<Act> {
    let wave = "HTTP/1.1 100 Continue\r\n\r\n".repeat(WAVE / 25);
    vec![Act::Request, flood(wave)]
}

/// What never ends, with the name of it.
pub(super) fn endless_bodies() -> Vec<(&'static str, Vec<Act>)> {
    let chunk = format!("{WAVE:x}\r\n{}\r\n", " ".repeat(WAVE));
    let after = |head: &str, wave: String| vec![Act::Request, send(head), flood(wave)];
    vec![
        (
            "endless body of a great length",
            after(
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551000\r\n\r\n",
                " ".repeat(WAVE),
            ),
        ),
        (
            "endless body in chunks",
            after(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk,
            ),
        ),
        (
            "endless body without a length",
            after("HTTP/1.1 200 OK\r\n\r\n", " ".repeat(WAVE)),
        ),
        (
            "endless body after an acknowledgement",
            after(&format!("HTTP/1.1 200 OK\r\n\r\n{ACK}"), " ".repeat(WAVE)),
        ),
    ]
}

pub(super) fn megabyte_header() -> Vec<Act> {
    let header = "a".repeat(1 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nX-Long: {header}\r\nContent-Length: 25\r\n\r\n{ACK}");
    vec![Act::Request, send(answer)]
}

/// An answer of 48 MiB that is 48 KiB on the wire: an acknowledgement, and white space.
pub(super) fn gzip_bomb() -> Vec<Act> {
    let mut plain = vec![b' '; 48 << 20];
    plain[..ACK.len()].copy_from_slice(ACK.as_bytes());
    let packed = gzip(&plain);
    assert!(packed.len() < CAP, "{} bytes", packed.len());
    vec![Act::Request, send(gzipped(&packed))]
}

/// An answer with a gzip body that says so.
fn gzipped(packed: &[u8]) -> Vec<u8> {
    let length = packed.len();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), packed].concat()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is not there; install the package gzip");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(plain).expect("gzip reads it all"));
        let output = child.wait_with_output().expect("gzip ends");
        assert!(output.status.success());
        output.stdout
    })
}

fn with_headers(count: usize) -> String {
    // Content-Length is one of them.
    let headers = "X-Many: 1\r\n".repeat(count - 1);
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 25\r\n\r\n{ACK}")
}

fn cases() -> Vec<Case> {
    let lost = |words| Ending::of("protocol", words);
    let mut cases: Vec<Case> = endless_bodies()
        .into_iter()
        .map(|(name, acts)| plain(name, acts, Ending::answered("unreadable", TOO_LARGE)))
        .collect();
    let rest = vec![
        plain(
            "endless body of a 500",
            [
                Act::Request,
                send("HTTP/1.1 500 No\r\n\r\n"),
                flood(" ".repeat(WAVE)),
            ],
            Ending::of("http_status", "HTTP status 500").status(500),
        ),
        plain(
            "endless 100s",
            endless_continue(),
            lost("more than 100 interim answers"),
        ),
        plain(
            "endless 103s with a header",
            [
                Act::Request,
                flood("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(WAVE / 42)),
            ],
            lost("more than 100 interim answers"),
        ),
        plain(
            "endless status line",
            [Act::Request, send("HTTP/1.1 200 "), flood("a".repeat(WAVE))],
            lost("too large"),
        ),
        plain(
            "endless header",
            [
                Act::Request,
                send("HTTP/1.1 200 OK\r\nX: "),
                flood("a".repeat(WAVE)),
            ],
            lost("too large"),
        ),
        plain(
            "endless headers",
            [
                Act::Request,
                send("HTTP/1.1 200 OK\r\n"),
                flood("X-Many: 1\r\n".repeat(WAVE / 11)),
            ],
            lost("too large"),
        ),
        plain(
            "endless trailers",
            [
                Act::Request,
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
                flood("X-Many: 1\r\n".repeat(WAVE / 11)),
            ],
            lost("").status(200),
        ),
        plain(
            "endless extension of a chunk",
            [
                Act::Request,
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"),
                flood("a".repeat(WAVE)),
            ],
            lost("").status(200),
        ),
        plain(
            "a header of a megabyte",
            megabyte_header(),
            lost("too large"),
        ),
        plain(
            "150 headers",
            [Act::Request, send(with_headers(150))],
            lost("too large"),
        ),
        plain(
            "100 headers",
            [Act::Request, send(with_headers(100))],
            Ending::acknowledged(),
        ),
        plain(
            "a gzip bomb",
            gzip_bomb(),
            Ending::answered("unreadable", "not UTF-8"),
        ),
        plain(
            "an acknowledgement in gzip, which was not asked for",
            [Act::Request, send(gzipped(&gzip(ACK.as_bytes())))],
            Ending::answered("unreadable", "not UTF-8"),
        ),
    ];
    cases.extend(rest);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_cut_off() {
    run_both("floods", cases()).await;
}
