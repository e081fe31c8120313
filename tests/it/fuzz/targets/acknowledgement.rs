//! An answer's body: acknowledged if and only if the contract says so.

use callback_dispatcher::domain::{CappedBody, Exchange, Outcome, judge};

use super::json::{self, Json};

/// The oracle calls itself for each level; that depth is no danger to the program, `hostile` tests.
const BRACKETS_MAX: usize = 300;

/// `data` is the body.
pub(crate) fn check(data: &[u8]) {
    let brackets = data.iter().filter(|byte| matches!(byte, b'[' | b'{'));
    if brackets.count() > BRACKETS_MAX {
        return;
    }
    let found = outcome(200, data, false);
    match expected(data) {
        Expected::Exactly(outcome) => assert_eq!(found, outcome, "{:?}", shown(data)),
        Expected::NotAcknowledged => {
            assert_ne!(found, Outcome::Acknowledged, "{:?}", shown(data));
        }
    }
    assert_eq!(outcome(299, data, false), found);
    for status in [100, 199, 300, 302, 404, 500, 999] {
        assert_eq!(outcome(status, data, false), Outcome::HttpStatus);
    }
    // Cut by the cap: what was not read may take back what was.
    assert_eq!(outcome(200, data, true), Outcome::Unreadable);
}

pub(crate) fn outcome(status: u16, bytes: &[u8], oversized: bool) -> Outcome {
    let verdict = judge(&Exchange::Answered {
        status,
        body: CappedBody {
            bytes: bytes.to_vec(),
            oversized,
        },
        remote_addr: None,
    });
    assert!(verdict.counted, "an answer is the merchant's: {verdict:?}");
    verdict.outcome
}

fn shown(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

#[derive(Debug)]
enum Expected {
    Exactly(Outcome),
    /// Readers may differ on whether it is JSON at all.
    NotAcknowledged,
}

/// The contract's third section, once more.
fn expected(body: &[u8]) -> Expected {
    let Ok(text) = std::str::from_utf8(body) else {
        return Expected::Exactly(Outcome::Unreadable);
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(Json::Object(members)) = json::parse(text) else {
        return Expected::Exactly(Outcome::Unreadable);
    };
    let mut named = members
        .iter()
        .filter(|(name, _)| name.as_deref() == Some("transResult"));
    let outcome = match (named.next(), named.next()) {
        (Some((_, Json::Text(Some(text)))), None) if text == "SUCCESS" => Outcome::Acknowledged,
        (Some(_), Some(_)) => Outcome::Unreadable,
        _ => Outcome::Refused,
    };
    let is_doubtful = members
        .iter()
        .any(|(name, value)| name.is_none() || value.is_doubtful());
    match outcome {
        Outcome::Unreadable => Expected::Exactly(outcome),
        Outcome::Refused if is_doubtful => Expected::NotAcknowledged,
        // Beside the acknowledgement something that a reader may choke on: it may say so, and a
        // reader who does not is right too. Neither is a fault.
        Outcome::Acknowledged if is_doubtful => either(body),
        outcome => Expected::Exactly(outcome),
    }
}

fn either(body: &[u8]) -> Expected {
    let found = outcome(200, body, false);
    assert_ne!(found, Outcome::Refused, "{:?}", shown(body));
    Expected::Exactly(found)
}
