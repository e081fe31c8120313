//! Lists of callbacks: the exhausted ones first of all, and how to send them again.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{ErrorPage, Page, Section};
use super::paths::{self, PATH};
use super::show;
use super::state::{Console, RequestContext};
use super::text::count;
use crate::domain::{Outcome, Timestamp, read_moment, visible_lines};
use crate::store::{CallbackRow, Cursor, Filter, ListPage, ShownState, StoredState};

/// As many as somebody reads.
const ROWS_MAX: usize = 100;

/// Which callbacks, as the form's fields have it. What is empty does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Empty: exhausted. `any`: whatever state.
    state: String,
    app: String,
    origin: String,
    since: String,
    until: String,
    outcome: String,
    status: String,
    detail: String,
    after: String,
}

impl Wanted {
    /// The form's fields that are not empty.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("state", &self.state),
            ("app", &self.app),
            ("origin", &self.origin),
            ("since", &self.since),
            ("until", &self.until),
            ("outcome", &self.outcome),
            ("status", &self.status),
            ("detail", &self.detail),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name, value.trim()));
        fields.filter(|(_, value)| !value.is_empty())
    }

    fn read(&self, now: Timestamp) -> Result<Filter, String> {
        let state = match self.state.trim() {
            "" => Some(ShownState::Exhausted),
            ANY => None,
            word => Some(read(word)?),
        };
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let moment = |text: &str| match text.trim() {
            "" => Ok(None),
            text => read_moment(text, now).map(Some),
        };
        let outcome: Option<Outcome> = optional(&self.outcome)?;
        let status = optional(&self.status);
        let after: Option<Cursor> = optional(&self.after)?;
        Ok(Filter {
            state,
            app_id: text(&self.app),
            origin: text(&self.origin),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            outcome: outcome.map(|outcome| outcome.to_string()),
            http_status: status
                .map_err(|_| format!("{:?} is no HTTP status; write it like 503", self.status))?,
            detail: text(&self.detail),
            after,
            limit: ROWS_MAX,
        })
    }
}

/// The word for all states.
const ANY: &str = "any";

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
    match text.trim() {
        "" => Ok(None),
        text => read(text).map(Some),
    }
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Response> {
    let filter = wanted.read(context.now);
    let filter = filter.map_err(|fault| ErrorPage::Nonsense(fault).answer(&context))?;
    let list = console.inspection.list(filter.clone()).await;
    let list = list.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let rows = &list.rows;
    let page = Page {
        section: match filter.state {
            Some(ShownState::Exhausted) => Section::Exhausted,
            _ => Section::Elsewhere,
        },
        title: title(filter.state),
        searched: "",
        body: html! {
            (form(&wanted, filter.state))
            @if rows.is_empty() && list.next.is_none() {
                p .notice role="status" {
                    @if filter.after.is_some() { "There are no more." } @else { "There are none." }
                }
            } @else {
                (act_on_all(&wanted, &filter))
                @if rows.is_empty() {
                    p .notice role="status" { "None were found so far; there is more to look through." }
                } @else {
                    (show::callback_table(&caption(&filter, &list), rows, context.now, act_on_one))
                }
            }
            (next(&wanted, &list))
        },
    };
    Ok(page.ok(&context))
}

/// The link to the page after this one.
fn next(wanted: &Wanted, list: &ListPage) -> Markup {
    let Some(cursor) = list.next else {
        return html! {};
    };
    let cursor = cursor.to_string();
    let fields: Vec<_> = wanted
        .fields()
        .chain([("after", cursor.as_str())])
        .collect();
    html! {
        p .actions { a .button .quiet href=(paths::list(&fields)) rel="next" {
            @if list.rows.len() < ROWS_MAX { "Look further" } @else { "The next ones" }
        } }
    }
}

const fn title(state: Option<ShownState>) -> &'static str {
    match state {
        None => "Callbacks",
        Some(ShownState::Pending) => "Pending callbacks",
        Some(ShownState::InFlight) => "Callbacks in flight",
        Some(ShownState::Delivered) => "Delivered callbacks",
        Some(ShownState::Exhausted) => "Exhausted callbacks",
        Some(ShownState::Cancelled) => "Cancelled callbacks",
    }
}

fn caption(filter: &Filter, list: &ListPage) -> String {
    let order = match filter.state {
        Some(ShownState::Pending) => "by merchant, the earliest due first",
        Some(ShownState::InFlight) => "the longest under way first",
        _ => "the newest first",
    };
    let part = match (filter.after, list.next) {
        (None, None) => "all ",
        (None, Some(_)) => "the first ",
        (Some(_), None) => "the last ",
        (Some(_), Some(_)) => "the next ",
    };
    let callbacks = count(list.rows.len() as u64, "callback", "callbacks");
    format!("{part}{callbacks}, {order}")
}

fn form(wanted: &Wanted, state: Option<ShownState>) -> Markup {
    let text = |name: &str, label: &str, value: &str, hint: &str| {
        html! {
            div .field {
                label for=(name) { (label) }
                input id=(name) name=(name) autocomplete="off" size="12" placeholder=(hint)
                    value=[(!value.is_empty()).then(|| visible_lines(value))];
            }
        }
    };
    html! {
        form .filter method="get" action={ (PATH) "/callbacks" } {
            div .field {
                label for="state" { "State" }
                select #state name="state" {
                    option value=(ANY) selected[state.is_none()] { "any" }
                    @for each in ShownState::ALL {
                        option value=(each.as_str()) selected[state == Some(each)] {
                            (each.as_str().replace('_', " "))
                        }
                    }
                }
            }
            (text("app", "App", &wanted.app, ""))
            (text("origin", "Goes to", &wanted.origin, "https://…"))
            (text("since", "Queued since", &wanted.since, "2h, 14:30, a date"))
            (text("until", "Queued before", &wanted.until, "2h, 14:30, a date"))
            div .field {
                label for="outcome" { "Newest attempt" }
                select #outcome name="outcome" {
                    option value="" { "any" }
                    @for outcome in Outcome::ALL {
                        @let word = outcome.as_str();
                        option value=(word) selected[wanted.outcome.trim() == word] {
                            (word.replace('_', " "))
                        }
                    }
                }
            }
            (text("status", "HTTP status", &wanted.status, "503"))
            (text("detail", "Text in its detail", &wanted.detail, ""))
            button .quiet { "Show" }
        }
    }
}

/// Actions on everything that was asked for. A command can't choose by the newest attempt.
fn act_on_all(wanted: &Wanted, filter: &Filter) -> Markup {
    let (action, words, state) = match filter.state {
        Some(ShownState::Exhausted) => ("resend", "Resend all of them…", StoredState::Exhausted),
        Some(ShownState::Cancelled) => ("resend", "Resend all of them…", StoredState::Cancelled),
        Some(ShownState::Pending) => ("cancel", "Cancel all of them…", StoredState::Pending),
        None | Some(ShownState::InFlight | ShownState::Delivered) => return html! {},
    };
    let by_attempt = ["outcome", "status", "detail"];
    if wanted.fields().any(|(name, _)| by_attempt.contains(&name)) {
        return html! {};
    }
    let moments = [("since", filter.since), ("until", filter.until)];
    let moments: Vec<(&str, String)> = moments
        .into_iter()
        .filter_map(|(name, moment)| Some((name, moment?.to_string())))
        .collect();
    let mut selectors = vec![("state", state.as_str())];
    let is_text = |(name, _): &(&str, &str)| matches!(*name, "app" | "origin");
    selectors.extend(wanted.fields().filter(is_text));
    selectors.extend(
        moments
            .iter()
            .map(|(name, moment)| (*name, moment.as_str())),
    );
    html! {
        p .actions { a .button .quiet href=(paths::act(action, &selectors)) { (words) } }
    }
}

fn act_on_one(row: &CallbackRow) -> Option<Markup> {
    let (action, word) = match row.state {
        ShownState::Exhausted | ShownState::Cancelled => ("resend", "Resend…"),
        ShownState::Pending => ("cancel", "Cancel…"),
        ShownState::InFlight | ShownState::Delivered => return None,
    };
    let id = row.id.to_string();
    Some(html! {
        a href=(paths::act(action, &[("callback", &id)])) {
            (word) span .hidden { " callback " (id) }
        }
    })
}
