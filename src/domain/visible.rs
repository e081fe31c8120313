//! Text that somebody else wrote, made safe to show: to a terminal, in a page or in a log.
//!
//! Such text may carry characters that move the cursor, end a line, reorder what is read or show
//! nothing at all. Each is replaced by a sign that can be seen, and nothing else is changed.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// `text` with a sign in the place of each character that can't be seen: ␊ for a line feed, ␛ for
/// an escape, `<U+202E>` for those that have no sign of their own.
///
/// ```
/// use callback_dispatcher::domain::visible;
///
/// assert_eq!(visible("a\u{1b}[2J\u{202e}b"), "a␛[2J<U+202E>b");
/// assert_eq!(visible("ສະບາຍດີ"), "ສະບາຍດີ");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, is_visible)
}

/// As [`visible`], but line feeds and tabs stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t') || is_visible(c))
}

/// Whether `c` is seen where it stands and changes nothing around it.
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let is_seen = !matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
    );
    is_seen && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn replaced(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match u32::from(c) {
            _ if stays(c) => shown.push(c),
            // Unicode's pictures of the control characters stand in their order.
            code @ ..0x20 => shown.extend(char::from_u32(0x2400 + code)),
            0x7f => shown.push('\u{2421}'),
            code => shown.push_str(&format!("<U+{code:04X}>")),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_or_hides_is_replaced() {
        let table = [
            ("a line feed", "\n", "␊"),
            ("an escape", "\u{1b}", "␛"),
            ("delete", "\u{7f}", "␡"),
            ("C1: control sequence introducer", "\u{9b}", "<U+009B>"),
            ("soft hyphen", "\u{ad}", "<U+00AD>"),
            ("combining grapheme joiner", "\u{34f}", "<U+034F>"),
            ("Arabic letter mark", "\u{61c}", "<U+061C>"),
            ("zero width space", "\u{200b}", "<U+200B>"),
            ("right-to-left mark", "\u{200f}", "<U+200F>"),
            ("line separator", "\u{2028}", "<U+2028>"),
            ("paragraph separator", "\u{2029}", "<U+2029>"),
            ("right-to-left override", "\u{202e}", "<U+202E>"),
            ("isolate", "\u{2066}", "<U+2066>"),
            ("Hangul filler", "\u{3164}", "<U+3164>"),
            ("private use", "\u{e004}", "<U+E004>"),
            ("variation selector", "\u{fe0f}", "<U+FE0F>"),
            ("byte order mark", "\u{feff}", "<U+FEFF>"),
            ("a tag letter", "\u{e0041}", "<U+E0041>"),
            ("unassigned", "\u{10ffff}", "<U+10FFFF>"),
        ];
        for (name, hidden, shown) in table {
            let text = format!("a{hidden}b");
            assert_eq!(visible(&text), format!("a{shown}b"), "{name}");
        }
        assert_eq!(visible_lines("a\n\tb\r\u{202e}"), "a\n\tb␍<U+202E>");
    }

    #[test]
    fn writing_stays_as_it_is() {
        for text in [
            "",
            "order 7",
            "ສະບາຍດີ ທຸກຄົນ",
            "ภาษาไทย",
            "中文",
            "Ünïcödé",
            "naïve",
            "🛒",
            "السلام",
        ] {
            assert!(
                matches!(visible(text), Cow::Borrowed(shown) if shown == text),
                "{text}"
            );
        }
    }

    /// Nothing of these classes passes, whatever Unicode adds to them.
    #[test]
    fn no_control_or_format_character_passes() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = c.to_string();
            let shown = visible(&text);
            assert!(shown.chars().all(is_visible), "{:04x}", u32::from(c));
            assert!(!c.is_control() || shown != text, "{:04x}", u32::from(c));
        }
    }
}
