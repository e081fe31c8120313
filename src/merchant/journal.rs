//! The journal: one record per POST, as a line of JSON.
//!
//! | member | what |
//! |---|---|
//! | `arrived_at` | Unix milliseconds |
//! | `path` | path and query |
//! | `headers` | an object; values of a repeated header are joined by `, ` |
//! | `body` | a body that is a JSON object stands here as it came, doubled members and all, but for line breaks between members; any other body is a string |
//! | `sign_holds` | true, false, or null when the app has no key here |
//! | `answer` | as in `--answer` |
//!
//! Each record is appended by a single `write` to a file opened with `O_APPEND`, before the answer
//! begins. Nothing is buffered in the process: a kill loses no record, and merchants that share a
//! file don't mix theirs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::received::Received;

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

#[derive(Serialize)]
struct Record<'a> {
    arrived_at: i64,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    body: Body<'a>,
    sign_holds: Option<bool>,
    answer: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Object(Box<RawValue>),
    Text(Cow<'a, str>),
}

impl Journal {
    /// Opens `path` for appending; creates it if it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file })
    }

    /// Appends a record. Blocks for as long as the file system takes.
    pub(super) fn write(&self, received: &Received, answer: &Answer) -> io::Result<()> {
        let record = record(received, answer)?;
        let written = (&self.file).write(&record)?;
        if written == record.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

fn record(received: &Received, answer: &Answer) -> io::Result<Vec<u8>> {
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &received.headers {
        headers
            .entry(name)
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    let mut record = serde_json::to_vec(&Record {
        arrived_at: received.arrived_at.as_millis(),
        path: &received.path,
        headers,
        body: body(&received.body),
        sign_holds: received.sign_holds,
        answer: answer.to_string(),
    })?;
    record.push(b'\n');
    Ok(record)
}

fn body(bytes: &[u8]) -> Body<'_> {
    let text = String::from_utf8_lossy(bytes);
    if text.trim_ascii_start().starts_with('{') {
        // JSON has raw line breaks between its tokens only, where a space means the same.
        let one_line = text.trim_ascii().replace(['\r', '\n'], " ");
        if let Ok(object) = RawValue::from_string(one_line) {
            return Body::Object(object);
        }
    }
    Body::Text(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::Timestamp;

    fn received(body: &[u8]) -> Received {
        Received {
            arrived_at: Timestamp::from_millis(1_663_738_614_280),
            path: "/cb?a=1".to_owned(),
            headers: [("host", "a"), ("x", "1"), ("x", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body: body.to_vec(),
            object: None,
            sign_holds: None,
        }
    }

    #[test]
    fn record_holds_request_and_answer() {
        let line = record(&received(b"{\"n\":1.00}"), &Answer::Status(503)).expect("serialises");
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.contains("\"body\":{\"n\":1.00}"), "as it came: {line}");
        assert_eq!(
            serde_json::from_str::<Value>(&line).expect("JSON"),
            json!({
                "arrived_at": 1_663_738_614_280_i64,
                "path": "/cb?a=1",
                "headers": {"host": "a", "x": "1, 2"},
                "body": {"n": 1.00},
                "sign_holds": null,
                "answer": "status:503",
            })
        );
    }

    #[test]
    fn every_body_makes_one_line_of_json() {
        for (body, expected) in [
            ("{\r\n \"a\": \"b\\n\"\n}\n", json!({"a": "b\n"})),
            ("", json!("")),
            ("[1,\n2]", json!("[1,\n2]")),
            ("{\"a\":\n", json!("{\"a\":\n")),
            ("{}\n{}", json!("{}\n{}")),
        ] {
            let line = record(&received(body.as_bytes()), &Answer::Ack).expect("serialises");
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let line: Value = serde_json::from_slice(&line).expect("JSON");
            assert_eq!(line["body"], expected);
        }
        let line = record(&received(b"\xff"), &Answer::Ack).expect("serialises");
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["body"], "\u{fffd}");
    }
}
