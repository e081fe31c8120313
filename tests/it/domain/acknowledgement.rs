//! What counts as delivered, and that nothing else does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::domain::{CappedBody, Exchange, Outcome, judge};
use callback_dispatcher::store::{RESPONSE_EXCERPT_BYTES_MAX, excerpt};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Members, properties};

#[derive(Deserialize)]
struct Vector {
    name: String,
    status: u16,
    body_base64: String,
    outcome: String,
}

fn outcome(status: u16, bytes: &[u8], oversized: bool) -> Outcome {
    let bytes = bytes.to_vec();
    let verdict = judge(&Exchange::Answered {
        status,
        body: CappedBody { bytes, oversized },
        remote_addr: None,
    });
    assert!(verdict.counted, "an answer is the merchant's: {verdict:?}");
    verdict.outcome
}

#[test]
fn every_vector_has_its_outcome() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/ack.json")).expect("vectors");
    assert!(vectors.len() >= 33, "{}", vectors.len());
    for vector in vectors {
        let body = BASE64.decode(&vector.body_base64).expect("Base64");
        let found = outcome(vector.status, &body, false);
        assert_eq!(found.as_str(), vector.outcome, "{}", vector.name);
    }
}

#[test]
fn no_part_of_an_acknowledgement_is_one() {
    let whole = "{ \"transResult\": \"SUCCESS\" }";
    for end in 0..whole.len() {
        let found = outcome(200, &whole.as_bytes()[..end], false);
        assert_eq!(found, Outcome::Unreadable, "{}", &whole[..end]);
    }
    // Cut by the cap just behind an object that looks complete.
    assert_eq!(outcome(200, whole.as_bytes(), true), Outcome::Unreadable);
}

#[test]
fn only_2xx_acknowledges() {
    let body = br#"{"transResult":"SUCCESS"}"#;
    for status in 100..1000 {
        let expected = if (200..300).contains(&status) {
            Outcome::Acknowledged
        } else {
            Outcome::HttpStatus
        };
        assert_eq!(outcome(status, body, false), expected, "{status}");
    }
}

/// The rule again, slowly: each member's text apart, doubled ones counted by hand.
fn oracle(body: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(body) else {
        return Outcome::Unreadable;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Ok(members) = serde_json::from_str::<Members<Box<RawValue>>>(text) else {
        return Outcome::Unreadable;
    };
    let named = members.0.iter().filter(|(name, _)| name == "transResult");
    let values: Vec<_> = named.map(|(_, value)| value.get()).collect();
    match values[..] {
        [] => Outcome::Refused,
        [value] => match serde_json::from_str(value) {
            Ok(serde_json::Value::String(text)) if text == "SUCCESS" => Outcome::Acknowledged,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Unreadable,
        },
        _ => Outcome::Unreadable,
    }
}

#[test]
fn the_oracle_agrees_with_the_vectors() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/ack.json")).expect("vectors");
    for vector in vectors.iter().filter(|vector| vector.status / 100 == 2) {
        let body = BASE64.decode(&vector.body_base64).expect("Base64");
        assert_eq!(oracle(&body).as_str(), vector.outcome, "{}", vector.name);
    }
}

fn one_of(choices: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop::sample::select(choices.to_vec())
}

/// White space, and what merely looks like it.
fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => one_of(&["", " ", "\n", "\r\n\t"]),
        1 => one_of(&["\u{a0}", "\u{b}", "\0", "\u{feff}", "/**/"]),
    ]
}

fn member() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => one_of(&["\"transResult\"", "\"trans\\u0052esult\""]),
        1 => one_of(&["\"TransResult\"", "\"transResult \"", "\"\"", "\"a\"", "'transResult'",
            "transResult", "1", "\"\\ud800\""]),
    ];
    let value = prop_oneof![
        3 => one_of(&["\"SUCCESS\"", "\"\\u0053UCCESS\""]),
        2 => one_of(&["\"success\"", "\" SUCCESS\"", "\"SUCCESS\\u0000\"", "\"FAIL\"", "\"\"",
            "SUCCESS", "'SUCCESS'", "true", "null", "0", "-1.5e3", "18446744073709551616", "01",
            "[\"SUCCESS\"]", "{\"transResult\":\"SUCCESS\"}", "[]", "{}", "\"\\ud83d\\ude00\"",
            "\"\\ud800\"", "{\"a\":}", "1e999"]),
    ];
    (gap(), name, gap(), gap(), value, gap())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"))
}

/// An answer, more or less.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let before = prop_oneof![6 => one_of(&["", "\u{feff}", " "]), 1 => one_of(&["[", "\u{feff}\u{feff}", ","])];
    let after = prop_oneof![6 => one_of(&["", "\n", " \t"]), 1 => one_of(&["}", "{}", ",", "\0", "ok", "\u{feff}"])];
    let members = prop::collection::vec(member(), 0..4);
    let separator = prop_oneof![9 => Just(","), 1 => one_of(&["", ",,", ";"])];
    (before, members, separator, after).prop_map(|(before, members, separator, after)| {
        format!("{before}{{{}}}{after}", members.join(separator)).into_bytes()
    })
}

/// One byte put in, taken out or changed.
fn edit() -> impl Strategy<Value = (prop::sample::Index, u8, u8)> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"{}[]\",:\\ suSUtrn0".to_vec())
    ];
    (any::<prop::sample::Index>(), 0..3_u8, byte)
}

fn edited(mut body: Vec<u8>, edits: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (place, kind, byte) in edits {
        let at = place.index(body.len() + 1);
        match kind {
            0 => body.insert(at, *byte),
            1 if at < body.len() => drop(body.remove(at)),
            2 if at < body.len() => body[at] = *byte,
            _ => {}
        }
    }
    body
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn an_answer_is_judged_by_the_rule(body in answer()) {
        prop_assert_eq!(outcome(200, &body, false), oracle(&body));
    }

    #[test]
    fn a_garbled_answer_is_judged_by_the_rule(
        body in answer(),
        edits in prop::collection::vec(edit(), 1..4),
    ) {
        let body = edited(body, &edits);
        prop_assert_eq!(outcome(200, &body, false), oracle(&body));
    }

    #[test]
    fn an_acknowledgement_with_a_fault_in_it(
        edits in prop::collection::vec(edit(), 1..3),
    ) {
        let body = edited(br#"{"transResult":"SUCCESS","orderNo":"1"}"#.to_vec(), &edits);
        prop_assert_eq!(outcome(200, &body, false), oracle(&body));
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert_eq!(outcome(200, &body, false), oracle(&body));
        prop_assert_eq!(outcome(200, &body, true), Outcome::Unreadable);
    }

    #[test]
    fn an_excerpt_is_the_beginning_of_the_body(
        text in prop::collection::vec(any::<char>(), 0..1200),
        garbage in prop::collection::vec(any::<u8>(), 0..4096),
    ) {
        let text: String = text.into_iter().filter(|c| *c != '\u{fffd}').collect();
        let cut = excerpt(text.as_bytes());
        prop_assert!(text.starts_with(&cut));
        prop_assert!(cut.len() <= RESPONSE_EXCERPT_BYTES_MAX);
        // All of it, or all but the character that would not fit.
        prop_assert!(cut.len() == text.len() || cut.len() > RESPONSE_EXCERPT_BYTES_MAX - 4);
        prop_assert!(excerpt(&garbage).len() <= RESPONSE_EXCERPT_BYTES_MAX);
    }
}
