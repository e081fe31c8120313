//! What must be refused, and leave no trace.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callback_dispatcher::domain::{Message, Outcome, SigningKey, TransactionResult};
use serde_json::{Value, json};

use super::message::{
    SECRET, edited, genuine, hmac_key, now, payment, refund, signed_at, tampered,
};
use super::receiver::{Language, Shop};

/// Longer ago than a receiver lets pass.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A kind of forgery, the body, and the status that it must be refused with.
type Forgery = (&'static str, Vec<u8>, u16);

/// By somebody who has seen true messages, and knows neither secret.
fn tampered_with() -> Vec<Forgery> {
    let mut failed = payment("N1");
    failed.result = TransactionResult::Failure;
    let failed = genuine(&Message::Payment(failed));
    let paid = genuine(&Message::Payment(payment("N1")));
    let other = genuine(&Message::Payment(payment("N2")));
    let other: Value = serde_json::from_slice(&other).expect("JSON");
    let refunded = genuine(&Message::Refund(refund("N1")));
    let moment = now().to_wire();
    let text = String::from_utf8(failed.clone()).expect("UTF-8");
    vec![
        (
            "another amount",
            tampered(&paid, "orderAmt", json!("9999.00")),
            403,
        ),
        (
            "another currency",
            tampered(&paid, "currency", json!("USD")),
            403,
        ),
        (
            "failure made success",
            tampered(&failed, "transStatus", json!(0)),
            403,
        ),
        (
            "a refund's failure made success",
            tampered(&refunded, "tranStatus", json!(0)),
            403,
        ),
        (
            "another order",
            tampered(&paid, "newpayOrderNo", json!("N3")),
            403,
        ),
        (
            "the sign of another message",
            tampered(&paid, "sign", other["sign"].clone()),
            403,
        ),
        (
            "a newer timestamp",
            edited(&paid, &timestamp_of(&paid), &format!("{moment}0")),
            403,
        ),
        ("an empty sign", tampered(&paid, "sign", json!("")), 403),
        (
            "a sign that is no Base64",
            tampered(&paid, "sign", json!("ສ!")),
            403,
        ),
        ("no sign", tampered(&paid, "sign", Value::Null), 400),
        ("no currency", tampered(&paid, "currency", Value::Null), 400),
        ("one more member", tampered(&paid, "more", json!("1")), 400),
        (
            "the status as text",
            tampered(&failed, "transStatus", json!("1")),
            400,
        ),
        (
            "the status as a fraction",
            edited(&failed, r#""transStatus":1"#, r#""transStatus":1.0"#),
            400,
        ),
        (
            "the status as true",
            tampered(&failed, "transStatus", json!(true)),
            400,
        ),
        (
            "an object in a member",
            tampered(&paid, "extra", json!({"a": 1})),
            400,
        ),
        (
            "the status twice, the true one last",
            edited(
                &failed,
                r#""transStatus":1"#,
                r#""transStatus":0,"transStatus":1"#,
            ),
            400,
        ),
        (
            "the status twice, the true one first",
            edited(
                &failed,
                r#""transStatus":1"#,
                r#""transStatus":1,"transStatus":0"#,
            ),
            400,
        ),
        // The text that is signed stays the same.
        (
            "a member that has moved into another's text",
            swallowed(&failed, "transStatus", "transInfo", "Transaction Success"),
            400,
        ),
        (
            "a member that may be empty, moved into another's text",
            swallowed(&paid, "extra", "currency", "LAK"),
            400,
        ),
        (
            "a body that is cut off",
            failed[..failed.len() - 1].to_vec(),
            400,
        ),
        (
            "text after the object",
            format!("{text}x").into_bytes(),
            400,
        ),
        ("two objects", format!("{text}{text}").into_bytes(), 400),
        ("an array", format!("[{text}]").into_bytes(), 400),
        ("nothing but a space", b" ".to_vec(), 400),
        ("no UTF-8", b"{\"appId\":\"\xff\"}".to_vec(), 400),
        ("deep nesting", b"[".repeat(60_000), 400),
        (
            "more than 64 KiB",
            [vec![b' '; 65_536], paid.clone()].concat(),
            413,
        ),
    ]
}

/// The `timestamp` of a body.
fn timestamp_of(body: &[u8]) -> String {
    let message: Value = serde_json::from_slice(body).expect("JSON");
    message["timestamp"].as_str().expect("text").to_owned()
}

/// Without the member `dropped`, which stands at the end of the text of `into` instead.
fn swallowed(body: &[u8], dropped: &str, into: &str, text: &str) -> Vec<u8> {
    let message: Value = serde_json::from_slice(body).expect("JSON");
    let value = match &message[dropped] {
        Value::String(value) => value.clone(),
        value => value.to_string(),
    };
    let body = tampered(body, dropped, Value::Null);
    tampered(&body, into, json!(format!("{text}&{dropped}={value}")))
}

/// Signed with a secret, true or false, and all the same not to be taken.
fn signed() -> Vec<Forgery> {
    let secret = hmac_key(SECRET);
    let paid = Message::Payment(payment("N1"));
    let mut of_other_app = payment("N1");
    of_other_app.app_id = "7".to_owned();
    let mut ambiguous = payment("N1");
    ambiguous.extra = "&newpayOrderNo=N3&orderAmt=9999.00".to_owned();
    let mut question = payment("N1");
    question.subject = "?".to_owned();
    let question = genuine(&Message::Payment(question));
    let mut replacement = payment("N1");
    replacement.subject = "\u{fffd}".to_owned();
    let replacement = genuine(&Message::Payment(replacement));
    vec![
        (
            "the wrong secret",
            signed_at(now(), &hmac_key("guessed"), &paid),
            403,
        ),
        (
            "a replay of an hour ago",
            signed_at(now().before(HOUR), &secret, &paid),
            403,
        ),
        (
            "an hour ahead",
            signed_at(now().after(HOUR), &secret, &paid),
            403,
        ),
        (
            "another app's",
            genuine(&Message::Payment(of_other_app)),
            403,
        ),
        (
            "a text with another member in it",
            genuine(&Message::Payment(ambiguous)),
            400,
        ),
        // What some programs write for it when they make bytes of it.
        (
            "half a character for ?",
            edited(&question, r#""?""#, r#""\ud800""#),
            0,
        ),
        (
            "half a character for \u{fffd}",
            edited(&replacement, "\u{fffd}", r"\ud800"),
            0,
        ),
    ]
}

/// Each alone; then the true one is taken, and is all that is recorded.
pub(super) async fn forgeries_are_refused(language: &'static Language) {
    let shop = Shop::new(language);
    let receiver = shop.open();
    let forgeries = [tampered_with(), signed()].concat();
    assert!(forgeries.len() > 30);
    let mut wrong = Vec::new();
    for (kind, body, status) in &forgeries {
        let refused = receiver.refuse(body).await;
        // Where it is found out depends on the language; that it is must not.
        let is_right = match status {
            0 => matches!(refused, Ok(400 | 403)),
            status => refused == Ok(*status),
        };
        if !is_right {
            wrong.push(format!("{kind}: {refused:?} and not {status}"));
        }
    }
    assert!(wrong.is_empty(), "{language:?}\n{}", wrong.join("\n"));
    assert_eq!(shop.recorded(), Vec::<String>::new());
    let paid = genuine(&Message::Payment(payment("N1")));
    assert_eq!(receiver.take(&paid).await, Outcome::Acknowledged);
    receiver.kill();
    assert_eq!(shop.recorded(), ["payment N1 success 123.00 LAK"]);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// By RSA-SHA256. Python's standard library has no RSA; there the key must be refused at the start,
/// and not be taken for a secret.
pub(super) async fn the_platforms_public_key_is_enough(language: &'static Language) {
    let public_key = fixture("rsa-test-only.public.pem");
    let shop = Shop::with_public_key(language, &public_key);
    if !language.knows_rsa {
        shop.assert_does_not_start("RSA");
        return;
    }
    let receiver = shop.open();
    let private_key = fs::read(fixture("rsa-test-only.pkcs8.pem")).expect("a fixture");
    let private_key = SigningKey::rsa_from_pem(&private_key).expect("a key");
    let paid = Message::Payment(payment("N1"));
    let true_one = signed_at(now(), &private_key, &paid);
    let public_text = fs::read_to_string(&public_key).expect("a fixture");
    let forgeries = [
        (
            "another amount",
            tampered(&true_one, "orderAmt", json!("9999.00")),
        ),
        ("no sign at all", tampered(&true_one, "sign", json!(""))),
        (
            "a sign too short",
            tampered(&true_one, "sign", json!("AAAA")),
        ),
        ("no Base64", tampered(&true_one, "sign", json!("!"))),
        ("an HMAC of a secret", genuine(&paid)),
        (
            "an HMAC of the public key",
            signed_at(now(), &hmac_key(&public_text), &paid),
        ),
    ];
    for (kind, body) in forgeries {
        assert_eq!(receiver.refuse(&body).await, Ok(403), "{kind}");
    }
    assert_eq!(receiver.take(&true_one).await, Outcome::Acknowledged);
    receiver.kill();
    assert_eq!(shop.recorded(), ["payment N1 success 123.00 LAK"]);
}
