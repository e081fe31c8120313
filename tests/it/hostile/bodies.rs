//! Well-framed bodies that are not what they seem, and every case of `vectors/ack.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::case::{Case, Ending, plain};
use super::floods::CAP;
use super::run_both;
use super::server::{Act, send};

/// How deep an object of exactly the cap can be.
pub(super) fn deepest(before: &str, after: &str) -> String {
    let room = CAP - before.len() - after.len();
    let (open, close) = ("[".repeat(room / 2), "]".repeat(room / 2));
    format!("{before}{open}{close}{after}")
}

/// A whole answer.
pub(super) fn answer(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    status: u16,
    content_type: String,
    body_base64: String,
    outcome: String,
}

fn vectors() -> Vec<Case> {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/ack.json")).expect("vectors");
    assert!(vectors.len() >= 33, "{}", vectors.len());
    let case = |vector: Vector| {
        let body = BASE64.decode(&vector.body_base64).expect("Base64");
        let head = format!(
            "HTTP/1.1 {} Any\r\nContent-Length: {}\r\n",
            vector.status,
            body.len()
        );
        let content_type = match vector.content_type.as_str() {
            "" => String::new(),
            named => format!("Content-Type: {named}\r\n"),
        };
        let answer = [head.as_bytes(), content_type.as_bytes(), b"\r\n", &body].concat();
        let ending = Ending::of(vector.outcome.leak(), "").status(vector.status.into());
        plain(&vector.name, [Act::Request, send(answer)], ending)
    };
    vectors.into_iter().map(case).collect()
}

fn cases() -> Vec<Case> {
    let unreadable = || Ending::answered("unreadable", "not one JSON object");
    let refused = |words| Ending::answered("refused", words);
    let ok = Ending::acknowledged;
    let ack = "\"transResult\":\"SUCCESS\"";
    let many: String = (0..4000).map(|n| format!("\"m{n}\":{n},")).collect();
    let digits = "9".repeat(60_000);
    let long = "a".repeat(60_000);
    let rows: Vec<(&str, String, Ending)> = vec![
        (
            "as large as the cap",
            format!("{{{ack}}}{}", " ".repeat(CAP - 25)),
            ok(),
        ),
        (
            "larger than the cap",
            format!("{{{ack}}}{}", " ".repeat(CAP - 24)),
            Ending::answered("unreadable", "larger than 65536 bytes"),
        ),
        (
            "deep JSON, closed",
            deepest("{\"a\":", "}"),
            refused("no transResult"),
        ),
        ("deep JSON, open", "[".repeat(CAP), unreadable()),
        (
            "deep objects, open",
            "{\"a\":".repeat(CAP / 5),
            unreadable(),
        ),
        (
            "deep transResult",
            deepest("{\"transResult\":", "}"),
            refused("an array"),
        ),
        (
            "deep JSON before an acknowledgement",
            deepest("{\"a\":", &format!(",{ack}}}")),
            ok(),
        ),
        (
            "deep JSON after an acknowledgement",
            deepest(&format!("{{{ack},\"a\":"), "}"),
            ok(),
        ),
        (
            "a doubled transResult",
            format!("{{{ack},{ack}}}"),
            unreadable(),
        ),
        (
            "a failure, then a success",
            format!("{{\"transResult\":\"FAIL\",{ack}}}"),
            unreadable(),
        ),
        (
            "a success, then a failure",
            format!("{{{ack},\"transResult\":\"FAIL\"}}"),
            unreadable(),
        ),
        (
            "a doubled transResult, once in escapes",
            format!("{{{ack},\"trans\\u0052esult\":\"SUCCESS\"}}"),
            unreadable(),
        ),
        (
            "a transResult at both ends of many",
            format!("{{{ack},{many}{ack}}}"),
            unreadable(),
        ),
        (
            "other members doubled",
            format!("{{\"a\":1,\"a\":2,{ack}}}"),
            ok(),
        ),
        ("four thousand members", format!("{{{many}{ack}}}"), ok()),
        (
            "a number of 60,000 digits",
            format!("{{\"a\":{digits},{ack}}}"),
            ok(),
        ),
        (
            "a transResult of 60,000 digits",
            format!("{{\"transResult\":{digits}}}"),
            unreadable(),
        ),
        (
            "a transResult of 60,000 letters",
            format!("{{\"transResult\":\"{long}\"}}"),
            refused("not \"SUCCESS\""),
        ),
        (
            "a name of 60,000 letters",
            format!("{{\"{long}\":1,{ack}}}"),
            ok(),
        ),
        (
            "half a surrogate pair, which JSON's grammar has room for",
            format!("{{\"a\":\"\\ud800\",{ack}}}"),
            ok(),
        ),
        (
            "a zero after the object",
            format!("{{{ack}}}\0"),
            unreadable(),
        ),
        (
            "a zero in SUCCESS",
            "{\"transResult\":\"SUCCESS\\u0000\"}".to_owned(),
            refused("SUCCESS"),
        ),
        (
            "two byte order marks",
            format!("\u{feff}\u{feff}{{{ack}}}"),
            unreadable(),
        ),
        (
            "a comma after the last member",
            format!("{{{ack},}}"),
            unreadable(),
        ),
        ("a comment", format!("{{/**/{ack}}}"), unreadable()),
        (
            "an infinite number",
            format!("{{\"a\":Infinity,{ack}}}"),
            unreadable(),
        ),
        (
            "two lines of JSON",
            format!("{{{ack}}}\n{{{ack}}}"),
            unreadable(),
        ),
    ];
    let mut cases = vectors();
    let rows = rows
        .into_iter()
        .map(|(name, body, ending)| plain(name, [Act::Request, send(answer(body))], ending));
    cases.extend(rows);
    let utf16: Vec<u8> = format!("\u{feff}{{{ack}}}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    cases.push(plain(
        "UTF-16",
        [Act::Request, send(answer(utf16))],
        Ending::answered("unreadable", "not UTF-8"),
    ));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_strictly() {
    run_both("bodies", cases()).await;
}
