//! The queue as a whole: how deep it is, how attempts end, how late deliveries are.

mod ends;
mod plots;
mod tables;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Page, Section};
use super::paths::PATH;
use super::show;
use super::state::{Console, RequestContext};
use super::text::{Moment, count, duration, number, relative};
use crate::admin::History;
use crate::domain::Timestamp;
use crate::store::Stats;

/// What the plots look back on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Range {
    #[default]
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "24h")]
    Day,
}

impl Range {
    const ALL: [(Self, &str, &str); 3] = [
        (Self::Hour, "1h", "1 hour"),
        (Self::SixHours, "6h", "6 hours"),
        (Self::Day, "24h", "24 hours"),
    ];

    /// How long a period is, in minutes, and how many there are.
    const fn periods(self) -> (i64, i64) {
        match self {
            Self::Hour => (1, 60),
            Self::SixHours => (5, 72),
            Self::Day => (15, 96),
        }
    }
}

/// What is to be shown.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    range: Range,
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (minutes, periods) = wanted.range.periods();
    let periods = console.history.periods(minutes, periods, context.now);
    let page = Page {
        section: Section::Queue,
        title: "Queue",
        searched: "",
        body: html! {
            (pulse(&console))
            (depths(&console.history, context.now))
            h2 { "How it goes" }
            (ranges(wanted.range))
            p .soft {
                "Counted since this process started, on " (Moment(console.history.started_at()))
                ", and for 24 hours at most. Each step is " (count(minutes.unsigned_abs(), "minute", "minutes"))
                ". The attempt log in the database has all of it."
            }
            (plots::all(&periods))
            (tables::of_outcomes(&periods))
            (tables::of_periods(&periods))
        },
    };
    page.ok(&context)
}

/// Whether anything goes out at all.
fn pulse(console: &Console) -> Markup {
    match console.beat.fault() {
        Some(fault) => html! {
            p .notice .bad role="alert" { "The dispatcher delivers nothing: " (fault) "." }
        },
        None if console.history.has_own_outage() => html! {
            p .notice .bad role="alert" {
                "An outage of our own: hardly any merchant can be reached from this host. Failures are not \
                 charged to merchants meanwhile; the log says more."
            }
        },
        None => html! {
            p .notice .good { "The dispatcher is alive; "
                (count(console.history.attempts_in_flight() as u64, "attempt", "attempts")) " in flight." }
        },
    }
}

/// The newest count of the queue.
fn depths(history: &History, now: Timestamp) -> Markup {
    let Some((stats, counted_at)) = history.counted() else {
        return html! {
            p .notice { "The queue has not been counted yet; this takes up to a quarter of a minute after a start." }
        };
    };
    html! {
        dl .cards {
            @for (state, callbacks) in &stats.depth {
                div {
                    dt { (show::state(*state)) }
                    dd {
                        a href={ (PATH) "/callbacks?state=" (state.as_str()) } { (number(*callbacks)) }
                    }
                }
            }
            div {
                dt { "Oldest due" }
                dd { (overdue(&stats, now)) }
            }
        }
        p .soft { "Counted " (relative(counted_at, now)) "." }
    }
}

fn overdue(stats: &Stats, now: Timestamp) -> Markup {
    match stats.oldest_due {
        None => html! { "–" small { "nothing waits" } },
        Some(due) if due > now => html! {
            (duration(due.since(now))) small { "until the next is due" }
        },
        Some(due) => html! {
            (duration(now.since(due))) small { "beyond its time" }
        },
    }
}

fn ranges(chosen: Range) -> Markup {
    html! {
        nav aria-label="Time shown" {
            ul .range {
                @for (range, word, name) in Range::ALL {
                    li {
                        a href={ (PATH) "?range=" (word) }
                            aria-current=[(range == chosen).then_some("true")] { (name) }
                    }
                }
            }
        }
    }
}
