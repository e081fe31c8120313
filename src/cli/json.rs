//! JSON for scripts, which also people look at in a terminal.

use std::io::{self, Write};

use serde::Serialize;

use crate::domain::is_visible;

/// Prints `value` over several lines.
pub(super) fn print(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", pretty(value)?)
}

/// `value` over several lines.
pub(super) fn pretty(value: &impl Serialize) -> io::Result<String> {
    Ok(escaped(&serde_json::to_string_pretty(value)?))
}

/// `value` in one line.
pub(super) fn line(value: &impl Serialize) -> io::Result<String> {
    Ok(escaped(&serde_json::to_string(value)?))
}

/// Escapes what can't be seen. That changes no value: such characters stand in texts only.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_visible(c) {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_keep_their_value() {
        let text = "a\u{202e}\u{9b}\u{e0041}\n\"ສ\"";
        let mut printed = Vec::new();
        print(&mut printed, &[text]).expect("a Vec takes every write");
        let printed = String::from_utf8(printed).expect("JSON is UTF-8");
        let expected = "[\n  \"a\\u202e\\u009b\\udb40\\udc41\\n\\\"ສ\\\"\"\n]\n";
        assert_eq!(printed, expected);
        let read: [String; 1] = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(read, [text]);
    }
}
