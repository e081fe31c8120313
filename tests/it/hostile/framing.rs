//! Heads, lengths and chunks that no server should send, and versions of HTTP other than 1.1.

use super::case::{Case, Ending, plain};
use super::run_both;
use super::server::{Act, send};

const ACK: &str = "{\"transResult\":\"SUCCESS\"}";

/// A whole answer of 25 bytes under these headers.
fn headed(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{ACK}")
}

fn chunked(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

fn heads() -> Vec<(&'static str, Vec<u8>, Ending)> {
    let garbled = || Ending::of("protocol", "");
    let ok = Ending::acknowledged;
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("HTTP/0.9: a body and no head", text(ACK), garbled()),
        (
            "HTTP/1.0",
            text(&format!("HTTP/1.0 200 OK\r\n\r\n{ACK}")),
            ok(),
        ),
        (
            "HTTP/1.0 with a wrong body",
            text("HTTP/1.0 200 OK\r\n\r\nOK"),
            Ending::answered("unreadable", "not one JSON object"),
        ),
        ("HTTP/2", text(&headed("").replace("/1.1", "/2")), garbled()),
        (
            "HTTP/2, its first frame",
            b"\0\0\0\x04\0\0\0\0\0".to_vec(),
            garbled(),
        ),
        (
            "HTTP/9.9",
            text(&headed("").replace("1.1", "9.9")),
            garbled(),
        ),
        (
            "another protocol",
            text("SSH-2.0-OpenSSH_9.2\r\n"),
            garbled(),
        ),
        ("zeros", vec![0; 4096], garbled()),
        ("all ones", vec![0xff; 4096], garbled()),
        (
            "a request",
            text("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            garbled(),
        ),
        ("status 20", text("HTTP/1.1 20 OK\r\n\r\n"), garbled()),
        ("status 2000", text("HTTP/1.1 2000 OK\r\n\r\n"), garbled()),
        (
            "status 999",
            text(&headed("Content-Length: 25").replace("200", "999")),
            Ending::of("http_status", "HTTP status 999").status(999),
        ),
        (
            "a header without a colon",
            text(&headed("nonsense")),
            garbled(),
        ),
        ("a header with a zero", text(&headed("X: a\0b")), garbled()),
        ("a header folded", text(&headed("X: a\r\n b")), garbled()),
        (
            "space before a colon",
            text(&headed("Content-Length : 25")),
            garbled(),
        ),
        (
            "lines that end in LF",
            text(&headed("Content-Length: 25").replace('\r', "")),
            ok(),
        ),
    ]
}

fn lengths() -> Vec<(&'static str, Vec<u8>, Ending)> {
    let garbled = || Ending::of("protocol", "");
    let ok = Ending::acknowledged;
    let row = |name, headers: &str, ending| (name, headed(headers).into_bytes(), ending);
    vec![
        row(
            "two Content-Lengths",
            "Content-Length: 25\r\nContent-Length: 26",
            garbled(),
        ),
        row(
            "two Content-Lengths in one",
            "Content-Length: 25, 26",
            garbled(),
        ),
        row(
            "the same Content-Length twice",
            "Content-Length: 25\r\nContent-Length: 25",
            ok(),
        ),
        row("a negative Content-Length", "Content-Length: -1", garbled()),
        row("a signed Content-Length", "Content-Length: +25", garbled()),
        row("a Content-Length in hex", "Content-Length: 0x19", garbled()),
        row(
            "a Content-Length above 64 bits",
            "Content-Length: 18446744073709551641",
            garbled(),
        ),
        row("an empty Content-Length", "Content-Length:", garbled()),
        row(
            "a Content-Length that is too short",
            "Content-Length: 24",
            Ending::answered("unreadable", "not one JSON object"),
        ),
        row(
            "a Content-Length of nothing",
            "Content-Length: 0",
            Ending::answered("unreadable", "empty"),
        ),
        row(
            "a plain body that is called gzip",
            "Content-Encoding: gzip\r\nContent-Length: 25",
            ok(),
        ),
        row(
            "a coding that nobody knows",
            "Transfer-Encoding: rot13\r\nConnection: close",
            ok(),
        ),
    ]
}

fn chunks() -> Vec<(&'static str, Vec<u8>, Ending)> {
    let garbled = || Ending::answered("protocol", "");
    let ok = Ending::acknowledged;
    let row = |name, body: &str, ending| (name, chunked(body).into_bytes(), ending);
    let whole = format!("19\r\n{ACK}\r\n0\r\n\r\n");
    vec![
        row("garbage for chunks", "zz\r\n{}\r\n0\r\n\r\n", garbled()),
        row("an unchunked body for chunks", ACK, garbled()),
        row("an empty chunk size", "\r\n\r\n", garbled()),
        row("a negative chunk size", "-1\r\n{\r\n", garbled()),
        row(
            "a chunk size above 64 bits",
            "10000000000000019\r\n{\r\n",
            garbled(),
        ),
        row("a chunk size of 0x19", "0x19\r\n{\r\n", garbled()),
        row(
            "a chunk longer than it says",
            "5\r\n{\"transResult\":\"SUCCESS\"}\r\n0\r\n\r\n",
            garbled(),
        ),
        row(
            "a chunk without its end",
            &format!("19\r\n{ACK}XX0\r\n\r\n"),
            garbled(),
        ),
        row(
            "trailers",
            &whole.replace("0\r\n\r\n", "0\r\nX: 1\r\n\r\n"),
            ok(),
        ),
        row(
            "an acknowledgement, then garbage for a chunk",
            &format!("19\r\n{ACK}\r\nzz\r\n"),
            garbled(),
        ),
        (
            "both a length and chunks",
            chunked(&whole)
                .replace("\r\nTransfer", "\r\nContent-Length: 3\r\nTransfer")
                .into(),
            ok(),
        ),
    ]
}

fn cases() -> Vec<Case> {
    let rows = [heads(), lengths(), chunks()].into_iter().flatten();
    rows.map(|(name, answer, ending)| plain(name, [Act::Request, send(answer)], ending))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_is_not_guessed_at() {
    run_both("framing", cases()).await;
}
