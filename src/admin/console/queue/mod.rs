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
use super::paths::{self, PATH};
use super::show;
use super::state::{Console, RequestContext};
use super::text::{Moment, Untrusted, count, duration, number, relative};
use crate::admin::History;
use crate::domain::Timestamp;
use crate::health::{Trouble, TroubleKind};
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
    /// Whether the browser is to ask again by itself.
    #[serde(default)]
    every: Option<u16>,
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
            (pulse(&console, context.now))
            (depths(&console.history, context.now))
            h2 { "How it goes" }
            (ranges(wanted.range, wanted.every))
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
    show::asked_again(page.ok(&context), wanted.every.map(|_| EVERY_SECONDS))
}

/// As often as the counts are made.
const EVERY_SECONDS: u16 = 15;

/// Everything that needs a person, or that nothing does.
fn pulse(console: &Console, now: Timestamp) -> Markup {
    let troubles = console.history.troubles(&console.beat, now);
    if troubles.is_empty() {
        return html! {
            p .notice .good { "Nothing needs you. The dispatcher is alive; "
                (count(console.history.attempts_in_flight() as u64, "attempt", "attempts")) " in flight." }
        };
    }
    let is_bad = troubles.iter().any(|trouble| trouble.kind.is_bad());
    let more = troubles.len().saturating_sub(TROUBLES_MAX);
    html! {
        div .notice .bad[is_bad] .wait[!is_bad] role="alert" {
            p { strong { (count(troubles.len() as u64, "thing needs", "things need")) " a person" } }
            ul {
                @for trouble in troubles.iter().take(TROUBLES_MAX) {
                    li { (Untrusted(&trouble.text)) "." (link(trouble)) }
                }
            }
            @if more > 0 { p { "And " (number(more as u64)) " more." } }
        }
    }
}

/// As many as fit the first screen.
const TROUBLES_MAX: usize = 20;

/// Where the callbacks of it are listed.
fn link(trouble: &Trouble) -> Markup {
    let mut fields = match trouble.kind {
        TroubleKind::Exhausted => vec![("state", "exhausted")],
        TroubleKind::Unsignable => vec![("state", "pending"), ("outcome", "unsignable")],
        TroubleKind::NotCharged | TroubleKind::Stuck | TroubleKind::Late | TroubleKind::Paused => {
            vec![("state", "pending")]
        }
        _ => return html! {},
    };
    fields.extend(trouble.app_id.as_deref().map(|app| ("app", app)));
    fields.extend(trouble.origin.as_deref().map(|origin| ("origin", origin)));
    html! { " " a href=(paths::list(&fields)) { "See them" } }
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

fn ranges(chosen: Range, every: Option<u16>) -> Markup {
    let again = every.map_or("", |_| "&every=15");
    html! {
        nav aria-label="Time shown" {
            ul .range {
                @for (range, word, name) in Range::ALL {
                    li {
                        a href={ (PATH) "?range=" (word) (again) }
                            aria-current=[(range == chosen).then_some("true")] { (name) }
                    }
                }
                @for (range, word, _) in Range::ALL {
                    @if range == chosen {
                        li { @if every.is_some() {
                            a href={ (PATH) "?range=" (word) } { "Stand still" }
                        } @else {
                            a href={ (PATH) "?range=" (word) "&every=15" } { "Every 15 seconds" }
                        } }
                    }
                }
            }
        }
    }
}
