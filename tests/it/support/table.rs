//! Tables of cases as text: a line for each case, its columns apart by `|`. A line that
//! begins with `# ` is a comment.

/// The rows of a table.
#[track_caller]
pub(crate) fn rows<const COLUMNS: usize>(table: &str) -> Vec<[&str; COLUMNS]> {
    let lines = table.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("# "));
    let rows = lines.map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        columns
            .try_into()
            .unwrap_or_else(|columns| panic!("not {COLUMNS} columns: {columns:?}"))
    });
    rows.collect()
}
