//! Well-framed bodies that are not what they seem, and every case of `vectors/ack.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::case::{Case, Ending, answers, plain};
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

/// `MEMBER` is the member that acknowledges; `MANY` are four thousand others, `DIGITS` and `LONG` 60,000
/// characters.
const BODIES: &str = r#"
a doubled transResult | {MEMBER,MEMBER} | unreadable 200: not one JSON object
a failure, then a success | {"transResult":"FAIL",MEMBER} | unreadable 200: not one JSON object
a success, then a failure | {MEMBER,"transResult":"FAIL"} | unreadable 200: not one JSON object
a doubled transResult, once in escapes | {MEMBER,"trans\u0052esult":"SUCCESS"} | unreadable 200: not one JSON object
a transResult at both ends of many | {MEMBER,MANYMEMBER} | unreadable 200: not one JSON object
other members doubled | {"a":1,"a":2,MEMBER} | ok
four thousand members | {MANYMEMBER} | ok
a number of 60,000 digits | {"a":DIGITS,MEMBER} | ok
a transResult of 60,000 digits | {"transResult":DIGITS} | unreadable 200: not one JSON object
a transResult of 60,000 letters | {"transResult":"LONG"} | refused 200: not "SUCCESS"
a name of 60,000 letters | {"LONG":1,MEMBER} | ok
half a surrogate pair, which JSON's grammar has room for | {"a":"\ud800",MEMBER} | ok
a zero after the object | ACK\0 | unreadable 200: not one JSON object
a zero in SUCCESS | {"transResult":"SUCCESS\u0000"} | refused 200: SUCCESS
two byte order marks | BOMBOMACK | unreadable 200: not one JSON object
a comma after the last member | {MEMBER,} | unreadable 200: not one JSON object
a comment | {/**/MEMBER} | unreadable 200: not one JSON object
an infinite number | {"a":Infinity,MEMBER} | unreadable 200: not one JSON object
two lines of JSON | ACK\nACK | unreadable 200: not one JSON object
"#;

fn cases() -> Vec<Case> {
    let many: String = (0..4000).map(|n| format!("\"m{n}\":{n},")).collect();
    let mut cases = vectors();
    cases.extend(answers(BODIES, |body| {
        let body = body
            .replace("MEMBER", "\"transResult\":\"SUCCESS\"")
            .replace("MANY", &many)
            .replace("DIGITS", &"9".repeat(60_000))
            .replace("LONG", &"a".repeat(60_000))
            .replace("BOM", "\u{feff}");
        String::from_utf8(answer(body)).expect("UTF-8")
    }));
    let unreadable = || Ending::answered("unreadable", "not one JSON object");
    let refused = |words| Ending::answered("refused", words);
    let ok = Ending::acknowledged;
    let ack = "\"transResult\":\"SUCCESS\"";
    let padded = |bytes: usize| format!("{{{ack}}}{}", " ".repeat(bytes - 25));
    let before = deepest("{\"a\":", &format!(",{ack}}}"));
    let after = deepest(&format!("{{{ack},\"a\":"), "}");
    let within = deepest("{\"transResult\":", "}");
    let too_large = Ending::answered("unreadable", "larger than 65536 bytes");
    let rows = [
        ("as large as the cap", padded(CAP), ok()),
        ("larger than the cap", padded(CAP + 1), too_large),
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
        ("deep transResult", within, refused("an array")),
        ("deep JSON before an acknowledgement", before, ok()),
        ("deep JSON after an acknowledgement", after, ok()),
    ];
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
