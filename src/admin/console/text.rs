//! Words, moments and durations as a page shows them.
//!
//! What gateways and merchants wrote is shown only through [`Untrusted`]. Markup is escaped by maud,
//! in everything that a page splices in.

use std::time::Duration;

use maud::{Markup, Render, html};

use crate::domain::{Timestamp, visible_lines};

/// Text that a gateway, merchant or operator wrote: see [`visible_lines`].
pub(super) struct Untrusted<T>(pub(super) T);

impl<T: AsRef<str>> Render for Untrusted<T> {
    fn render(&self) -> Markup {
        let shown = visible_lines(self.0.as_ref());
        html! { bdi { (shown) } }
    }
}

/// A moment, for people and for programs.
pub(super) struct Moment(pub(super) Timestamp);

impl Render for Moment {
    fn render(&self) -> Markup {
        let text = self.0.to_string();
        let (day, time) = text.split_once('T').unwrap_or((&text, ""));
        html! { time datetime=(text) { (day) " " (time.trim_end_matches('Z')) " UTC" } }
    }
}

/// How far `moment` is from `now`, in words.
pub(super) fn relative(moment: Timestamp, now: Timestamp) -> String {
    let (ahead, ago) = (moment.since(now), now.since(moment));
    if ahead > Duration::ZERO {
        format!("in {}", duration(ahead))
    } else if ago < Duration::from_secs(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", duration(ago))
    }
}

/// A duration in its two largest units.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..10 if duration.subsec_millis() > 0 => return short(duration),
        0..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        (count, unit) => format!("{} {} {count} {unit}", large.0, large.1),
    }
}

/// A duration below ten seconds.
fn short(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push('\u{a0}');
        }
        shown.push(digit);
    }
    shown
}

/// `one` of something, or any other number of `many`.
pub(super) fn count(of: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(of), if of == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_commands_nothing() {
        let hostile = "<script>alert(1)</script>\" onload='x' &amp; \u{202e}gnp.exe\u{7}\u{1b}[2J";
        let shown =
            html! { p title=(visible_lines(hostile)) { (Untrusted(hostile)) } }.into_string();
        for markup in ["<script", "\" onload", "\u{202e}", "\u{7}", "\u{1b}"] {
            assert!(!shown.contains(markup), "{markup:?} in {shown}");
        }
        assert!(shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(shown.contains("&lt;U+202E&gt;gnp.exe␇␛[2J"), "{shown}");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (millis, expected) in [
            (0, "0 s"),
            (7, "7 ms"),
            (1500, "1.5 s"),
            (9999, "9.9 s"),
            (59_000, "59 s"),
            (60_000, "1 min"),
            (299_000, "4 min 59 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
        let noon = Timestamp::from_millis(1_700_049_600_000);
        let five = Duration::from_secs(300);
        assert_eq!(relative(noon.after(five), noon), "in 5 min");
        assert_eq!(relative(noon.before(five), noon), "5 min ago");
        assert_eq!(relative(noon, noon), "just now");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(number(999), "999");
        assert_eq!(number(1000), "1\u{a0}000");
        assert_eq!(number(12_345_678), "12\u{a0}345\u{a0}678");
        assert_eq!(count(1, "callback", "callbacks"), "1 callback");
        assert_eq!(count(0, "callback", "callbacks"), "0 callbacks");
    }
}
