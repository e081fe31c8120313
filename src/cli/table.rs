//! Tables for the terminal.

use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;

use super::colour;

/// Prints rows under a header.
pub(super) fn print<const N: usize>(
    out: &mut dyn Write,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for line in table.lines() {
        writeln!(out, "{}", colour::line(&line))?;
    }
    Ok(())
}

/// Replaces control characters: text of merchants and gateways must not control the terminal.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
