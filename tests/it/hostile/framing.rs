//! Heads, lengths and chunks that no server should send, and versions of HTTP other than 1.1.

use super::case::{Case, Ending, answers, plain};
use super::run_both;
use super::server::{Act, send};

const WHOLE: &str = r"
HTTP/0.9: a body and no head | ACK | protocol
HTTP/1.0 | HTTP/1.0 200 OK\r\n\r\nACK | ok
HTTP/1.0 with a wrong body | HTTP/1.0 200 OK\r\n\r\nOK | unreadable 200: not one JSON object
HTTP/2 | HTTP/2 200 OK\r\n\r\n\r\nACK | protocol
HTTP/9.9 | HTTP/9.9 200 OK\r\n\r\n\r\nACK | protocol
another protocol | SSH-2.0-OpenSSH_9.2\r\n | protocol
a request | GET / HTTP/1.1\r\nHost: a\r\n\r\n | protocol
status 20 | HTTP/1.1 20 OK\r\n\r\n | protocol
status 2000 | HTTP/1.1 2000 OK\r\n\r\n | protocol
status 999 | HTTP/1.1 999 OK\r\nContent-Length: 25\r\n\r\nACK | http_status 999: HTTP status 999
lines that end in LF | HTTP/1.1 200 OK\nContent-Length: 25\n\nACK | ok
both a length and chunks | HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n19\r\nACK\r\n0\r\n\r\n | ok
";

/// The headers of an answer of 25 bytes.
const HEADERS: &str = r"
a header without a colon | nonsense | protocol
a header with a zero | X: a\0b | protocol
a header folded | X: a\r\n b | protocol
space before a colon | Content-Length : 25 | protocol
two Content-Lengths | Content-Length: 25\r\nContent-Length: 26 | protocol
two Content-Lengths in one | Content-Length: 25, 26 | protocol
the same Content-Length twice | Content-Length: 25\r\nContent-Length: 25 | ok
a negative Content-Length | Content-Length: -1 | protocol
a signed Content-Length | Content-Length: +25 | protocol
a Content-Length in hex | Content-Length: 0x19 | protocol
a Content-Length above 64 bits | Content-Length: 18446744073709551641 | protocol
an empty Content-Length | Content-Length: | protocol
a Content-Length that is too short | Content-Length: 24 | unreadable 200: not one JSON object
a Content-Length of nothing | Content-Length: 0 | unreadable 200: empty
a plain body that is called gzip | Content-Encoding: gzip\r\nContent-Length: 25 | ok
a coding that nobody knows | Transfer-Encoding: rot13\r\nConnection: close | ok
";

const CHUNKS: &str = r#"
garbage for chunks | zz\r\n{}\r\n0\r\n\r\n | protocol 200
an unchunked body for chunks | ACK | protocol 200
an empty chunk size | \r\n\r\n | protocol 200
a negative chunk size | -1\r\n{\r\n | protocol 200
a chunk size above 64 bits | 10000000000000019\r\n{\r\n | protocol 200
a chunk size of 0x19 | 0x19\r\n{\r\n | protocol 200
a chunk longer than it says | 5\r\nACK\r\n0\r\n\r\n | protocol 200
a chunk without its end | 19\r\nACKXX0\r\n\r\n | protocol 200
in two chunks | a\r\n{"transRes\r\nf\r\nult":"SUCCESS"}\r\n0\r\n\r\n | ok
trailers | 19\r\nACK\r\n0\r\nX: 1\r\n\r\n | ok
an acknowledgement, then garbage for a chunk | 19\r\nACK\r\nzz\r\n | protocol 200
"#;

fn cases() -> Vec<Case> {
    let mut cases = answers(WHOLE, str::to_owned);
    cases.extend(answers(HEADERS, |headers| {
        let ack = "{\"transResult\":\"SUCCESS\"}";
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{ack}")
    }));
    cases.extend(answers(CHUNKS, |chunks| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    }));
    for (name, bytes) in [
        ("HTTP/2, its first frame", b"\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("zeros", vec![0; 4096]),
        ("all ones", vec![0xff; 4096]),
    ] {
        let acts = [Act::Request, send(bytes)];
        cases.push(plain(name, acts, Ending::of("protocol", "")));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_is_not_guessed_at() {
    run_both("framing", cases()).await;
}
