//! A signed body as its receiver reads it: any flat JSON object, not only the document's two.
//!
//! The receiving side of [`super::wire`]: what the `verify` command and the mock merchant check a
//! signature with. It keeps every value as the text that the signature was made from, so that
//! `123.00` is not turned into `123` on the way.
//!
//! Deliberately absent: leniency. A signature over nested, doubled or null members has no agreed
//! meaning, so such an object is refused, and the error names the member.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use super::ambiguity::Ambiguity;
use super::signature::Convention;
use super::wire::{Member, Value};

/// The member that is not signed, because it is the signature.
const SIGN: &str = "sign";

/// A JSON object whose values are strings, numbers and booleans only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatObject {
    /// Names and texts, in the order received, every name once.
    members: Vec<(String, String)>,
}

/// Why a text is not a flat JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotFlat {
    /// Not one JSON object.
    #[error("not one JSON object ({0}); give the body exactly as it was sent")]
    NotAnObject(String),
    /// A member whose value is null, an array or an object.
    #[error("member {member:?} is {found}; a signed body has only strings, numbers and booleans")]
    NotText {
        /// Its name.
        member: String,
        /// What it is.
        found: &'static str,
    },
    /// A string that JSON allows and UTF-8 does not, such as half a surrogate pair.
    #[error("member {member:?} is no valid string ({fault}); write it in UTF-8")]
    InvalidString {
        /// Its name.
        member: String,
        /// What is wrong.
        fault: String,
    },
    /// Two members of one name: which of them was signed can't be known.
    #[error("member {member:?} stands there twice; send each once")]
    Doubled {
        /// Its name.
        member: String,
    },
}

impl FlatObject {
    /// Reads a whole body: one object, with nothing but white space (and a byte order mark)
    /// around it.
    ///
    /// # Errors
    ///
    /// [`NotFlat`], for the first fault in the order of the text.
    pub fn parse(json: &[u8]) -> Result<Self, NotFlat> {
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let raw = deserializer
            .deserialize_map(RawMembers)
            .and_then(|members| deserializer.end().map(|()| members))
            .map_err(|error| NotFlat::NotAnObject(error.to_string()))?;
        let mut names = HashSet::with_capacity(raw.len());
        for (name, _) in &raw {
            if !names.insert(name.as_ref()) {
                return Err(NotFlat::Doubled {
                    member: name.to_string(),
                });
            }
        }
        let members = raw
            .iter()
            .map(|(name, value)| Ok((name.to_string(), text_of(name, value)?)))
            .collect::<Result<_, NotFlat>>()?;
        Ok(Self { members })
    }

    /// The text that `sign` should be the signature of: every member but `sign`.
    pub fn canonical_form(&self, convention: &Convention) -> String {
        convention.canonical_form(&self.signed())
    }

    /// What makes another object have the same text.
    pub fn ambiguity(&self, convention: &Convention) -> Option<Ambiguity> {
        Ambiguity::find(&self.signed(), convention)
    }

    fn signed(&self) -> Vec<Member<'_>> {
        self.members()
            .filter(|(name, _)| *name != SIGN)
            .map(|(name, text)| Member {
                name,
                value: Value::Text(text),
            })
            .collect()
    }

    /// The signature that came with it.
    pub fn sign(&self) -> Option<&str> {
        self.text(SIGN)
    }

    /// A member's text: a string without its quotes and escapes, a number or boolean as it stood.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members()
            .find_map(|(found, text)| (found == name).then_some(text))
    }

    /// Every member, `sign` too, in the order received.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// The text that a value has in a canonical form.
fn text_of(name: &str, value: &RawValue) -> Result<String, NotFlat> {
    let json = value.get();
    let found = match json.as_bytes().first() {
        Some(b'"') => {
            return serde_json::from_str(json).map_err(|error| NotFlat::InvalidString {
                member: name.to_owned(),
                fault: error.to_string(),
            });
        }
        Some(b'n') => "null",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => return Ok(json.to_owned()),
    };
    Err(NotFlat::NotText {
        member: name.to_owned(),
        found,
    })
}

/// Collects an object's members in their order, values unread.
struct RawMembers;

impl<'de> Visitor<'de> for RawMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, _>()? {
            members.push((name, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::signature::{EmptyValues, Encoding, Secret, SigningKey};
    use super::*;

    fn parse(json: &str) -> Result<FlatObject, NotFlat> {
        FlatObject::parse(json.as_bytes())
    }

    fn holds(object: &FlatObject, secret: &str, convention: &Convention, sign: &str) -> bool {
        let key = SigningKey::hmac(Secret::new(secret.to_owned())).expect("not empty");
        key.verifies(convention, &object.canonical_form(convention), sign)
    }

    const PAYMENT: &str = r#"{"appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK",
        "newpayOrderNo":"202209210000006950","orderNo":"202209067002502223","subject":"1",
        "transStatus":0,"transInfo":"Transaction Success","settlementStatus":1,
        "timestamp":"1663738614280","extra":"",
        "sign":"ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0="}"#;

    const REFUND: &str = r#"{"appId":"6","payMethod":1,"refundOrderAmt":"123.00","currency":"LAK",
        "newpayOrderNo":"202209210000006950","newpayRefundOrderNo":"202209210000006951",
        "orderNo":"202209067002502223","refundOrderNo":"202209067002502232","tranStatus":1,
        "transInfo":"Transaction Success","timestamp":"1663738614280",
        "sign":"3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU="}"#;

    #[test]
    fn the_contract_vectors_hold() {
        for body in [PAYMENT, REFUND] {
            let object = parse(body).expect("flat");
            let sign = object.sign().expect("signed");
            let convention = Convention::default();
            assert!(holds(&object, "newpay-demo-secret", &convention, sign));
            assert!(!holds(&object, "another", &convention, sign));
        }
        let canonical_form = parse(PAYMENT)
            .expect("flat")
            .canonical_form(&Convention::default());
        assert_eq!(
            canonical_form,
            "appId=6&currency=LAK&extra=&newpayOrderNo=202209210000006950&orderAmt=123.00\
             &orderNo=202209067002502223&payMethod=1&settlementStatus=1&subject=1\
             &timestamp=1663738614280&transInfo=Transaction Success&transStatus=0"
        );
    }

    #[derive(Deserialize)]
    struct Vector {
        params: Box<RawValue>,
        secret: String,
        empty_values: EmptyValues,
        append_key: bool,
        encoding: Encoding,
        sign: String,
    }

    #[test]
    fn the_published_vectors_hold() {
        let file = include_str!("../../tests/vectors/sign.json");
        let vectors: Vec<Vector> = serde_json::from_str(file).expect("the file is well-formed");
        assert!(!vectors.is_empty());
        for vector in vectors {
            let convention = Convention {
                encoding: vector.encoding,
                empty_values: vector.empty_values,
                append_key: vector.append_key,
                ..Convention::default()
            };
            let object = parse(vector.params.get()).expect("flat");
            assert!(holds(&object, &vector.secret, &convention, &vector.sign));
        }
    }

    #[test]
    fn keeps_the_text_of_every_value() {
        let object = parse(
            "\u{feff} {\"b\":\"\\u0e81 \\\"q\\\"\\n\",\"n\":123.00,\"e\":1e5,\"t\":true,\"\\u0061\":\"\"} \n",
        )
        .expect("flat");
        assert_eq!(object.text("b"), Some("\u{e81} \"q\"\n"));
        assert_eq!(object.text("n"), Some("123.00"));
        assert_eq!(object.text("e"), Some("1e5"));
        assert_eq!(object.text("t"), Some("true"));
        assert_eq!(object.text("a"), Some(""));
        assert_eq!(object.text("x"), None);
        assert_eq!(object.sign(), None);
        let names: Vec<&str> = object.members().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "n", "e", "t", "a"]);
    }

    #[test]
    fn empty_values_follow_the_convention() {
        let object = parse(r#"{"b":"","a":"1"}"#).expect("flat");
        let mut convention = Convention::default();
        assert_eq!(object.canonical_form(&convention), "a=1&b=");
        convention.empty_values = EmptyValues::Skip;
        assert_eq!(object.canonical_form(&convention), "a=1");
    }

    #[test]
    fn names_the_member_at_fault() {
        for (json, found) in [
            (r#"{"a":"1","b":null}"#, "null"),
            (r#"{"b":[1]}"#, "an array"),
            (r#"{"b":{"c":"1"}}"#, "an object"),
        ] {
            let member = "b".to_owned();
            assert_eq!(parse(json), Err(NotFlat::NotText { member, found }));
        }
        let doubled = r#"{"b":"1","\u0062":"1"}"#;
        assert!(matches!(parse(doubled), Err(NotFlat::Doubled { member }) if member == "b"));
        let half = r#"{"b":"\ud800"}"#;
        assert!(
            matches!(parse(half), Err(NotFlat::InvalidString { member, .. }) if member == "b"),
            "{:?}",
            parse(half)
        );
    }

    #[test]
    fn takes_one_object_only() {
        for json in ["", "[]", "\"a\"", "{} {}", "{\"a\":1", "{\"a\":01}", "null"] {
            assert!(
                matches!(parse(json), Err(NotFlat::NotAnObject(_))),
                "{json} is {:?}",
                parse(json)
            );
        }
        assert!(FlatObject::parse(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(parse(&deep).is_err());
    }
}
