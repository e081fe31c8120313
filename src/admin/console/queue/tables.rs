//! What the plots show, in numbers.

use maud::{Markup, html};

use super::ends::ENDS;
use crate::admin::console::show;
use crate::admin::console::text::{Moment, count, duration, number};
use crate::admin::history::{Period, depth_of, ends_in};
use crate::domain::Outcome;
use crate::store::ShownState;

/// Attempts by each outcome that there was.
pub(super) fn of_outcomes(periods: &[Period]) -> Markup {
    let total = |outcome: Outcome| -> u64 {
        let counts = periods.iter().map(|period| ends_in(&period.ends, outcome));
        counts.sum()
    };
    let all: u64 = Outcome::ALL.into_iter().map(total).sum();
    let rows = html! {
        @for outcome in Outcome::ALL.into_iter().filter(|outcome| total(*outcome) > 0) {
            tr {
                th scope="row" { (show::outcome(outcome.as_str())) }
                td .number { (number(total(outcome))) }
                td .number { (format!("{:.2}", 100.0 * total(outcome) as f64 / all as f64)) " %" }
            }
        }
    };
    let caption = format!(
        "{} in the time shown above",
        count(all, "attempt", "attempts")
    );
    html! {
        h2 { "Attempts by outcome" }
        @if all == 0 {
            p .notice role="status" { "There were no attempts in this time." }
        } @else {
            (show::table(&caption, &["Outcome", "#Attempts", "#Share"], &rows))
        }
    }
}

/// What the plots show, for those who don't see them or want the numbers.
pub(super) fn of_periods(periods: &[Period]) -> Markup {
    let numbers = [
        "#Half faster than",
        "#95 % faster than",
        "#Pending",
        "#In flight",
        "#Exhausted",
    ];
    let ends = ENDS.map(|ends| format!("#{}", ends.name));
    let mut headings = vec!["From"];
    headings.extend(ends.iter().map(String::as_str));
    headings.extend(numbers);
    let rows = html! { @for period in periods.iter().rev() { (row_of_period(period)) } };
    html! {
        details {
            summary { "The plots in numbers" }
            (show::table("What the plots show, the newest first", &headings, &rows))
        }
    }
}

fn row_of_period(period: &Period) -> Markup {
    let states = [
        ShownState::Pending,
        ShownState::InFlight,
        ShownState::Exhausted,
    ];
    html! {
        tr {
            th scope="row" { (Moment(period.from)) }
            @for ends in &ENDS { td .number { (number(ends.count(period))) } }
            @for percent in [50, 95] {
                td .number { (period.lag.percentile(percent).map_or_else(|| "–".to_owned(), duration)) }
            }
            @for state in states {
                td .number { (period.depth.map_or_else(|| "–".to_owned(), |depth| number(depth_of(&depth, state)))) }
            }
        }
    }
}
