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

/// Prints spreads under a title.
pub(crate) fn spreads(title: &str, rows: &[Vec<String>]) {
    table(title, &["", "minimum", "median", "maximum"], rows);
}

/// Prints pairs of runs with so many decimals; returns how the second compares with the first.
pub(crate) fn paired(title: &str, names: [&str; 2], digits: usize, pairs: &[[f64; 2]]) -> Spread {
    let form = |value: f64| format!("{value:.digits$}");
    let side = |n: usize| Spread::of(pairs.iter().map(|pair| pair[n])).row(names[n], form);
    let ratio = Spread::of(pairs.iter().map(|[first, second]| second / first));
    let last = ratio.row("ratio", |value| format!("{value:.3}"));
    let title = format!("{title}, {} paired rounds", pairs.len());
    spreads(&title, &[side(0), side(1), last]);
    ratio
}

/// Minimum, median and maximum.
#[derive(Clone, Copy)]
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

/// The value below which `percent` of the values lie; of at least one value.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// What is wanted of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// The figures of a run against what is wanted of them.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

struct Figure {
    name: String,
    value: f64,
    unit: String,
    goal: Goal,
}

/// Prints how the first of each pair of runs compares with the second, figure by figure.
pub(crate) fn ratios(pairs: &[(Figures, Figures)]) {
    let Some((first, _)) = pairs.first() else {
        return;
    };
    let rows: Vec<Vec<String>> = (0..first.0.len())
        .map(|n| {
            let of = |pair: &(Figures, Figures)| pair.0.0[n].value / pair.1.0[n].value;
            let ratio = Spread::of(pairs.iter().map(of));
            let Figure { name, goal, .. } = &first.0[n];
            let better = match goal {
                Goal::AtLeast(_) => "more",
                Goal::AtMost(_) => "less",
            };
            let name = format!("{name} (better: {better})");
            ratio.row(&name, |value| format!("{value:.3}"))
        })
        .collect();
    let head = ["this build over the other", "minimum", "median", "maximum"];
    table("Ratios, turn by turn", &head, &rows);
}

impl Figures {
    /// Adds a figure; `unit` follows its number.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &str, goal: Goal) {
        self.0.push(Figure {
            name: name.into(),
            value,
            unit: unit.to_owned(),
            goal,
        });
    }

    /// Prints them all.
    pub(crate) fn print(&self) {
        if !self.0.is_empty() {
            let head = ["figure", "measured", "wanted", ""];
            let rows: Vec<Vec<String>> = self.0.iter().map(Figure::row).collect();
            table("Figures (medians where there are rounds)", &head, &rows);
        }
    }
}

impl Figure {
    fn row(&self) -> Vec<String> {
        let Self {
            name,
            value,
            unit,
            goal,
        } = self;
        let (wanted, is_met) = match goal {
            Goal::AtLeast(least) => (format!("at least {least}{unit}"), value >= least),
            Goal::AtMost(most) => (format!("at most {most}{unit}"), value <= most),
        };
        let digits = if *value < 0.1 { 4 } else { 2 };
        vec![
            name.clone(),
            format!("{value:.digits$}{unit}"),
            wanted,
            if is_met { "met" } else { "MISSED" }.to_owned(),
        ]
    }
}
