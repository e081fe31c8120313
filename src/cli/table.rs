//! Tables and paragraphs that fit the terminal. Where output goes to a file or a program, nothing is
//! wrapped.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::colour;
use crate::domain::visible;

/// Prints rows under a header.
pub(super) fn print<const N: usize>(
    out: &mut dyn Write,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    if let Some(width) = width() {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for line in table.lines() {
        writeln!(out, "{}", colour::line(&line))?;
    }
    Ok(())
}

/// Prints `text`, indented by two, in lines that fit the terminal.
pub(super) fn paragraph(out: &mut dyn Write, text: &str) -> io::Result<()> {
    const INDENT: &str = "  ";
    let text = visible(text);
    match width() {
        Some(width) => {
            let options = textwrap::Options::new(usize::from(width))
                .initial_indent(INDENT)
                .subsequent_indent(INDENT)
                .break_words(false);
            writeln!(out, "{}", textwrap::fill(&text, options))
        }
        None => writeln!(out, "{INDENT}{text}"),
    }
}

/// The rows of the terminal that standard output is; `None` if it is none.
pub(super) fn height() -> Option<usize> {
    let (_, height) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(height.0))
}

/// The columns of the terminal that standard output is; `None` if it is none.
fn width() -> Option<u16> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.0)
}
