//! Tables, and what stands in them.

use comfy_table::{Table, presets};

/// Prints a table under a title.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    println!("\n{title}\n\n{table}");
}

/// Minimum, median and maximum.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            least: values[0],
            median: values[values.len() / 2],
            most: values[values.len() - 1],
        }
    }

    /// A row of a table, every value written by `form`.
    pub(crate) fn row(&self, name: &str, form: impl Fn(f64) -> String) -> Vec<String> {
        let values = [self.least, self.median, self.most].map(form);
        std::iter::once(name.to_owned()).chain(values).collect()
    }
}
