//! What counts as delivered, and that nothing else does. The fuzz target `acknowledgement` compares the
//! rule with one written independently.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::domain::Outcome;
use callback_dispatcher::store::{RESPONSE_EXCERPT_BYTES_MAX, excerpt};
use proptest::prelude::*;
use serde::Deserialize;

use super::properties;
use crate::fuzz::targets::acknowledgement::outcome;

#[derive(Deserialize)]
struct Vector {
    name: String,
    status: u16,
    body_base64: String,
    outcome: String,
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

proptest! {
    #![proptest_config(properties())]

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
