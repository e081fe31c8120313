//! The JSON body of a callback, and the members that it and the signature are made from.

use std::io;

use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};

/// One member of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The document's name for it.
    pub name: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// A member's value: the document knows only strings and ints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A JSON string.
    Text(&'a str),
    /// A JSON number.
    Number(i64),
}

impl<'a> Member<'a> {
    pub(super) const fn text(name: &'static str, value: &'a str) -> Self {
        Self {
            name,
            value: Value::Text(value),
        }
    }

    pub(super) const fn number(name: &'static str, value: i64) -> Self {
        Self {
            name,
            value: Value::Number(value),
        }
    }
}

/// A member's name as it stands in the text that is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedName {
    pub(super) name: &'static str,
    /// Whether its text may be empty, and the member so be skipped.
    pub(super) may_be_empty: bool,
}

impl SignedName {
    pub(super) const fn filled(name: &'static str) -> Self {
        Self {
            name,
            may_be_empty: false,
        }
    }

    pub(super) const fn optional(name: &'static str) -> Self {
        Self {
            name,
            may_be_empty: true,
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
        }
    }
}

/// The body to POST: one compact UTF-8 JSON object, `members` in their order, then `sign`.
pub fn body(members: &[Member<'_>], sign: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    write_object(&mut bytes, members, sign)
        .expect("strings and integers under string names serialise into memory without fail");
    bytes
}

/// The SHA-256 of a body, in lower-case hex.
pub fn body_sha256(body: &[u8]) -> String {
    let mut digits = vec![0; 64];
    hex::encode_to_slice(Sha256::digest(body), &mut digits).expect("32 bytes make 64 digits");
    String::from_utf8(digits).expect("hexadecimal digits are ASCII")
}

fn write_object(
    into: impl io::Write,
    members: &[Member<'_>],
    sign: &str,
) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::new(into);
    let mut object = serializer.serialize_map(Some(members.len() + 1))?;
    for member in members {
        object.serialize_entry(member.name, &member.value)?;
    }
    object.serialize_entry("sign", sign)?;
    object.end()
}
