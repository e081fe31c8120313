//! JSON as RFC 8259 defines it, read by hand: what the oracle of acknowledgements rests on.
//!
//! Slow, recursive, and of use for short texts only.

/// A value, as far as anybody here asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// `None` if it has half of a surrogate pair in it: the RFC leaves open what that means.
    Text(Option<String>),
    Object(Vec<(Option<String>, Json)>),
    /// A number whose size exceeds what a double holds; the RFC leaves open whether it is one.
    Huge,
    Other,
}

impl Json {
    /// Whether readers may differ about it.
    pub(crate) fn is_doubtful(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Object(members) => members
                .iter()
                .any(|(name, value)| name.is_none() || value.is_doubtful()),
            Self::Huge => true,
            Self::Other => false,
        }
    }
}

/// The one value that `text` is.
pub(crate) fn parse(text: &str) -> Option<Json> {
    let mut reader = Reader {
        rest: text,
        doubtful: false,
    };
    let value = reader.value()?;
    reader.gap();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    /// Something doubtful stands in an array, which is not kept.
    doubtful: bool,
}

impl Reader<'_> {
    fn gap(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eats(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        if let Some(rest) = rest {
            self.rest = rest;
        }
        rest.is_some()
    }

    fn value(&mut self) -> Option<Json> {
        self.gap();
        match self.rest.as_bytes().first()? {
            b'"' => self.text().map(Json::Text),
            b'{' => self.object(),
            b'[' => self.array(),
            b't' => self.eats("true").then_some(Json::Other),
            b'f' => self.eats("false").then_some(Json::Other),
            b'n' => self.eats("null").then_some(Json::Other),
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Option<Json> {
        let mut members = Vec::new();
        self.eats("{");
        self.gap();
        if self.eats("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.gap();
            let name = self.text()?;
            self.gap();
            if !self.eats(":") {
                return None;
            }
            members.push((name, self.value()?));
            self.gap();
            if self.eats("}") {
                return Some(Json::Object(members));
            }
            if !self.eats(",") {
                return None;
            }
        }
    }

    fn array(&mut self) -> Option<Json> {
        self.eats("[");
        self.gap();
        if !self.eats("]") {
            loop {
                self.doubtful |= self.value()?.is_doubtful();
                self.gap();
                if self.eats("]") {
                    break;
                }
                if !self.eats(",") {
                    return None;
                }
            }
        }
        Some(if self.doubtful {
            Json::Huge
        } else {
            Json::Other
        })
    }

    fn digits(&mut self) -> usize {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let count = self.rest.len() - rest.len();
        self.rest = rest;
        count
    }

    fn number(&mut self) -> Option<Json> {
        let begin = self.rest;
        self.eats("-");
        if !self.eats("0") && self.digits() == 0 {
            return None;
        }
        if self.eats(".") && self.digits() == 0 {
            return None;
        }
        if self.eats("e") || self.eats("E") {
            let _ = self.eats("+") || self.eats("-");
            if self.digits() == 0 {
                return None;
            }
        }
        let written = &begin[..begin.len() - self.rest.len()];
        let number: f64 = written.parse().ok()?;
        Some(if number.is_finite() {
            Json::Other
        } else {
            Json::Huge
        })
    }

    fn character(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn text(&mut self) -> Option<Option<String>> {
        if !self.eats("\"") {
            return None;
        }
        let mut units: Vec<u16> = Vec::new();
        loop {
            match self.character()? {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => units.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let plain = match self.character()? {
            letter @ ('"' | '\\' | '/') => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest.get(..4)?;
                self.rest = &self.rest[4..];
                let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                return u16::from_str_radix(digits, 16).ok().filter(|_| all);
            }
            _ => return None,
        };
        u16::try_from(u32::from(plain)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_of_the_rfc() {
        for good in [
            "{}",
            " [ ] ",
            "0",
            "-0",
            "1.5e+3",
            "\"\\u0041\\n\"",
            "[1,{\"a\":[null,true]}]",
            "\"é\"",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{a:1}",
            "'a'",
            "\"\t\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "nul",
            "{}{}",
            "\u{a0}1",
            "NaN",
            "\"",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("[\"\\ud800\"]").is_some_and(|json| json.is_doubtful()));
        assert!(parse("{\"a\":1e999}").is_some_and(|json| json.is_doubtful()));
    }
}
