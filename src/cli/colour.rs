//! Colours for the words that matter.
//!
//! They are always written; `anstream` removes them if standard output is no terminal or `NO_COLOR`
//! is set.

use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default();
const QUIET: Style = AnsiColor::BrightBlack.on_default();

/// For `error:` on standard error.
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The style of a state or an outcome; none for other words.
fn style(word: &str) -> Option<Style> {
    Some(match word {
        "delivered" | "acknowledged" => GOOD,
        "exhausted" | "refused" | "unreadable" | "http_status" | "timeout" | "dns" | "connect"
        | "tls" | "protocol" | "blocked" | "unsignable" => BAD,
        "in_flight" => BUSY,
        "cancelled" | "interrupted" => QUIET,
        _ => return None,
    })
}

/// Colours a word that is a state or an outcome.
pub(super) fn word(word: &str) -> String {
    match style(word) {
        Some(style) => format!("{style}{word}{style:#}"),
        None => word.to_owned(),
    }
}

/// Colours the cells of a table's line that are a state or an outcome and nothing else. After the
/// layout, which counts characters.
pub(super) fn line(line: &str) -> String {
    line.split(GAP).map(cell).collect::<Vec<_>>().join(GAP)
}

/// Between two cells.
const GAP: &str = "  ";

fn cell(cell: &str) -> String {
    let bare = cell.trim();
    match style(bare) {
        Some(_) => cell.replacen(bare, &word(bare), 1),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_cells_are_coloured_and_nothing_moves() {
        let plain = " 2    payment   exhausted   6   the budget is exhausted   timeout";
        let coloured = line(plain);
        assert_eq!(
            coloured,
            " 2    payment   \u{1b}[31mexhausted\u{1b}[0m   6   the budget is exhausted   \u{1b}[31mtimeout\u{1b}[0m"
        );
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
}
