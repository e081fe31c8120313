//! The plots.

use std::time::Duration;

use maud::{Markup, html};

use super::ends::ENDS;
use crate::admin::console::plot::{Plot, Series};
use crate::admin::console::text::{count, duration, number};
use crate::admin::history::{Lag, Period, depth_of};
use crate::domain::Timestamp;
use crate::store::ShownState;

/// All of them.
pub(super) fn all(periods: &[Period]) -> Markup {
    let moments: Vec<Timestamp> = periods.iter().map(|period| period.from).collect();
    html! {
        div .plots {
            (plot_of_ends(periods, &moments))
            (plot_of_lag(periods, &moments))
            (plot_of_waiting(periods, &moments))
            (plot_of_exhausted(periods, &moments))
        }
    }
}

fn plot_of_ends(periods: &[Period], moments: &[Timestamp]) -> Markup {
    let series = ENDS.map(|ends| Series {
        name: ends.name,
        class: ends.class,
        values: periods
            .iter()
            .map(|period| Some(ends.count(period) as f64))
            .collect(),
    });
    let totals = ENDS.map(|ends| format!("{} {}", number(ends.total(periods)), ends.name));
    let plot = Plot {
        id: "ends",
        title: "Attempts by how they ended",
        description: format!("In all: {}.", totals.join(", ")),
        periods: moments,
        series: &series,
        label: whole,
    };
    plot.stacked()
}

fn plot_of_lag(periods: &[Period], moments: &[Timestamp]) -> Markup {
    let percentile = |percent| {
        let lags = periods
            .iter()
            .map(move |period| period.lag.percentile(percent));
        lags.map(|lag| lag.map(|lag| lag.as_secs_f64())).collect()
    };
    let series = [
        Series {
            name: "half are faster",
            class: "first-line",
            values: percentile(50),
        },
        Series {
            name: "95 of 100 are faster",
            class: "second-line",
            values: percentile(95),
        },
    ];
    let mut whole = Lag::default();
    for period in periods {
        whole.merge(&period.lag);
    }
    let description = match (whole.percentile(50), whole.percentile(95)) {
        (Some(half), Some(most)) => format!(
            "{}: half within {}, 95 of 100 within {}.",
            count(whole.count(), "delivery", "deliveries"),
            duration(half),
            duration(most)
        ),
        _ => "Nothing was delivered.".to_owned(),
    };
    let plot = Plot {
        id: "lag",
        title: "From queued to acknowledged",
        description,
        periods: moments,
        series: &series,
        label: seconds,
    };
    plot.logarithmic_lines()
}

fn plot_of_waiting(periods: &[Period], moments: &[Timestamp]) -> Markup {
    let series = [
        depth_series("pending", "first-line", ShownState::Pending, periods),
        depth_series("in flight", "second-line", ShownState::InFlight, periods),
    ];
    let plot = Plot {
        id: "waiting",
        title: "Callbacks that wait or are in flight",
        description: from_to(&series[0]),
        periods: moments,
        series: &series,
        label: whole,
    };
    plot.linear_lines()
}

fn plot_of_exhausted(periods: &[Period], moments: &[Timestamp]) -> Markup {
    let series = [depth_series(
        "exhausted",
        "silent-ends",
        ShownState::Exhausted,
        periods,
    )];
    let plot = Plot {
        id: "exhausted",
        title: "Callbacks given up",
        description: from_to(&series[0]),
        periods: moments,
        series: &series,
        label: whole,
    };
    plot.linear_lines()
}

fn depth_series(
    name: &'static str,
    class: &'static str,
    state: ShownState,
    periods: &[Period],
) -> Series {
    let depths = periods.iter().map(|period| period.depth);
    Series {
        name,
        class,
        values: depths
            .map(|depth| depth.map(|depth| depth_of(&depth, state) as f64))
            .collect(),
    }
}

/// The first and the last known value of a series, in words.
fn from_to(series: &Series) -> String {
    let mut known = series.values.iter().flatten();
    match (known.next(), known.next_back()) {
        (None, _) => "Not counted yet.".to_owned(),
        (Some(only), None) => format!("{} {}.", whole(*only), series.name),
        (Some(first), Some(last)) => {
            format!(
                "From {} to {} {}.",
                whole(*first),
                whole(*last),
                series.name
            )
        }
    }
}

fn whole(value: f64) -> String {
    number(value as u64)
}

/// A power of ten on the axis, short enough to stand beside it.
fn seconds(value: f64) -> String {
    if value < 1.0 {
        duration(Duration::from_secs_f64(value))
    } else {
        format!("{} s", whole(value))
    }
}
