//! The merchant's answer: `{ "transResult": "SUCCESS" }` and nothing less
//! (document, section 4.4, 1.1 and 2.1).
//!
//! serde's derive would also take `["SUCCESS"]`, and a `serde_json::Value` would take a doubled
//! member; hence a visitor of its own that accepts maps only and counts.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::error::Category;

/// What the body of a 2xx answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One JSON object with `transResult: "SUCCESS"`.
    Acknowledged,
    /// One JSON object without it; the text says what stood there.
    Refused(String),
    /// No single JSON object; the text says why.
    Unreadable(String),
}

/// How much of a foreign `transResult` is quoted.
const QUOTE_CHARS_MAX: usize = 64;

/// Reads the whole body of a 2xx answer.
///
/// ```
/// use callback_dispatcher::domain::{Answer, read_answer};
///
/// assert_eq!(read_answer(br#"{ "transResult": "SUCCESS" }"#), Answer::Acknowledged);
/// assert!(matches!(read_answer(br#"{"transResult":"success"}"#), Answer::Refused(_)));
/// assert!(matches!(read_answer(b"SUCCESS"), Answer::Unreadable(_)));
/// ```
pub fn read_answer(body: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(body) else {
        return Answer::Unreadable("the body is not UTF-8".to_owned());
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Answer::Unreadable("the body is empty".to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let member = match json.deserialize_map(ObjectVisitor) {
        Ok(member) => member,
        Err(error) => return unreadable(fault(&error), &error),
    };
    if let Err(error) = json.end() {
        return unreadable("something follows the object", &error);
    }
    match member {
        Some(TransResult::Success) => Answer::Acknowledged,
        Some(TransResult::Other(found)) => {
            Answer::Refused(format!("transResult is {found}, not \"SUCCESS\""))
        }
        Some(TransResult::Twice) => {
            Answer::Unreadable("not one JSON object: transResult stands in it twice".to_owned())
        }
        None => Answer::Refused("the object has no transResult".to_owned()),
    }
}

fn unreadable(why: &str, error: &serde_json::Error) -> Answer {
    let (line, column) = (error.line(), error.column());
    Answer::Unreadable(format!(
        "not one JSON object: {why} (line {line}, column {column})"
    ))
}

/// Why a body is no JSON object, in our words instead of the parser's.
fn fault(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Eof => "the text breaks off",
        Category::Syntax | Category::Io => "the text is not JSON",
        Category::Data => "the text is JSON of another kind",
    }
}

/// The value of the member `transResult`.
enum TransResult {
    Success,
    Other(String),
    /// The member stands there more than once.
    Twice,
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Option<TransResult>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_trans_result) = map.next_key_seed(NameSeed)? {
            if !is_trans_result {
                map.next_value::<IgnoredAny>()?;
            } else {
                let value = map.next_value()?;
                found = match found {
                    None => Some(value),
                    Some(_) => Some(TransResult::Twice),
                };
            }
        }
        Ok(found)
    }
}

/// Reads a member's name; true for `transResult`.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == "transResult")
    }
}

impl<'de> Deserialize<'de> for TransResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Takes any JSON value, and walks it to its end so that what follows is read in its place.
struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = TransResult;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TransResult, E> {
        if text == "SUCCESS" {
            return Ok(TransResult::Success);
        }
        let quote: String = text.chars().take(QUOTE_CHARS_MAX).collect();
        Ok(TransResult::Other(
            serde_json::Value::from(quote).to_string(),
        ))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<TransResult, E> {
        Ok(TransResult::Other(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<TransResult, E> {
        Ok(TransResult::Other(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<TransResult, E> {
        Ok(TransResult::Other(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<TransResult, E> {
        Ok(TransResult::Other(value.to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<TransResult, E> {
        Ok(TransResult::Other("null".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TransResult, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(TransResult::Other("an array".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TransResult, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(TransResult::Other("an object".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_name_is_the_same_name() {
        let body = br#"{"trans\u0052esult":"SUCCESS"}"#;
        assert_eq!(read_answer(body), Answer::Acknowledged);
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(matches!(read_answer(deep.as_bytes()), Answer::Refused(_)));
        let deep = format!(
            "{{\"transResult\":{}1{}}}",
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        assert!(matches!(read_answer(deep.as_bytes()), Answer::Refused(_)));
    }

    #[test]
    fn every_other_value_is_named() {
        for (value, found) in [
            ("\"FAIL\"", "\"FAIL\""),
            ("true", "true"),
            ("null", "null"),
            ("-1", "-1"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.5", "1.5"),
            ("[\"SUCCESS\"]", "an array"),
            ("{\"transResult\":\"SUCCESS\"}", "an object"),
        ] {
            let body = format!("{{\"a\":1,\"transResult\":{value},\"b\":[]}}");
            let refused = format!("transResult is {found}, not \"SUCCESS\"");
            assert_eq!(read_answer(body.as_bytes()), Answer::Refused(refused));
        }
        let long = format!(
            "{{\"transResult\":\"{}\"}}",
            "x".repeat(QUOTE_CHARS_MAX + 1)
        );
        let quoted = "x".repeat(QUOTE_CHARS_MAX);
        let refused = format!("transResult is {quoted:?}, not \"SUCCESS\"");
        assert_eq!(read_answer(long.as_bytes()), Answer::Refused(refused));
    }

    #[test]
    fn success_under_another_name_is_no_acknowledgement() {
        let refused = Answer::Refused("the object has no transResult".to_owned());
        for body in ["{}", r#"{"transresult":"SUCCESS"}"#, r#"{"":"SUCCESS"}"#] {
            assert_eq!(read_answer(body.as_bytes()), refused, "{body}");
        }
    }

    #[test]
    fn unreadable_bodies_say_why() {
        for (body, why) in [
            (&b"\xff"[..], "not UTF-8"),
            (b" \n", "empty"),
            (b"[]", "JSON of another kind (line 1, column 0)"),
            (b"{} {}", "something follows the object (line 1, column 4)"),
            (b"<html>", "not JSON (line 1, column 1)"),
            (b"{\n\"transResult\":", "breaks off (line 2, column 14)"),
            (
                br#"{"transResult":"SUCCESS","transResult":"SUCCESS"}"#,
                "twice",
            ),
        ] {
            let answer = read_answer(body);
            assert!(
                matches!(&answer, Answer::Unreadable(said) if said.contains(why)),
                "{answer:?}"
            );
        }
    }
}
