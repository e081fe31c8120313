//! Callbacks in one state: the exhausted ones first of all, and how to send them again.

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
use crate::domain::{Outcome, visible_lines};
use crate::store::{CallbackRow, NEWEST_WINDOW, NewestOfState, ShownState, StoredState};

/// As many as somebody reads.
const ROWS_MAX: usize = 100;

/// Which callbacks. What is empty does not matter.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    outcome: String,
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Response> {
    let selection = selection(&wanted).map_err(|error_page| error_page.answer(&context))?;
    let rows = console.inspection.newest_of_state(selection.clone()).await;
    let rows = rows.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let title = title(selection.state);
    let page = Page {
        section: match selection.state {
            ShownState::Exhausted => Section::Exhausted,
            _ => Section::Elsewhere,
        },
        title,
        searched: "",
        body: html! {
            (filter(&selection))
            @if rows.is_empty() {
                p .notice role="status" { "There are none." }
            } @else {
                (act_on_all(&selection))
                (show::callback_table(&caption(&selection, rows.len()), &rows, context.now, act_on_one))
            }
            @if selection.app_id.is_some() || selection.outcome.is_some() {
                p .soft { "Looked for among the first " (count(NEWEST_WINDOW as u64, "callback", "callbacks")) " in this state." }
            }
        },
    };
    Ok(page.ok(&context))
}

fn selection(wanted: &Wanted) -> Result<NewestOfState, ErrorPage> {
    let nonsense = |error: &dyn std::fmt::Display| ErrorPage::Nonsense(error.to_string());
    let state = match wanted.state.as_str() {
        "" => ShownState::Exhausted,
        word => word.parse().map_err(|error| nonsense(&error))?,
    };
    let outcome = match wanted.outcome.as_str() {
        "" => None,
        word => Some(word.parse::<Outcome>().map_err(|error| nonsense(&error))?),
    };
    Ok(NewestOfState {
        state,
        app_id: Some(wanted.app.trim().to_owned()).filter(|app| !app.is_empty()),
        outcome: outcome.map(|outcome| outcome.to_string()),
        limit: ROWS_MAX,
    })
}

const fn title(state: ShownState) -> &'static str {
    match state {
        ShownState::Pending => "Pending callbacks",
        ShownState::InFlight => "Callbacks in flight",
        ShownState::Delivered => "Delivered callbacks",
        ShownState::Exhausted => "Exhausted callbacks",
        ShownState::Cancelled => "Cancelled callbacks",
    }
}

fn caption(selection: &NewestOfState, rows: usize) -> String {
    let order = match selection.state {
        ShownState::Pending => "by merchant, the earliest due first",
        ShownState::InFlight => "the longest under way first",
        _ => "the newest first",
    };
    let all = if rows < ROWS_MAX {
        "all "
    } else {
        "the first "
    };
    format!(
        "{all}{}, {order}",
        count(rows as u64, "callback", "callbacks")
    )
}

fn filter(selection: &NewestOfState) -> Markup {
    html! {
        form .filter method="get" action={ (PATH) "/callbacks" } {
            div .field {
                label for="state" { "State" }
                select #state name="state" {
                    @for state in ShownState::ALL {
                        option value=(state.as_str()) selected[state == selection.state] {
                            (state.as_str().replace('_', " "))
                        }
                    }
                }
            }
            div .field {
                label for="app" { "App" }
                input #app name="app" autocomplete="off" size="12" value=[selection.app_id.as_deref().map(visible_lines)];
            }
            div .field {
                label for="outcome" { "Newest attempt" }
                select #outcome name="outcome" {
                    option value="" { "any" }
                    @for outcome in Outcome::ALL {
                        @let word = outcome.as_str();
                        option value=(word) selected[selection.outcome.as_deref() == Some(word)] {
                            (word.replace('_', " "))
                        }
                    }
                }
            }
            button .quiet { "Show" }
        }
    }
}

/// Actions on everything that was asked for. A command can't choose by outcome.
fn act_on_all(selection: &NewestOfState) -> Markup {
    let (action, words, state) = match selection.state {
        ShownState::Exhausted => ("resend", "Resend all of them…", StoredState::Exhausted),
        ShownState::Cancelled => ("resend", "Resend all of them…", StoredState::Cancelled),
        ShownState::Pending => ("cancel", "Cancel all of them…", StoredState::Pending),
        ShownState::InFlight | ShownState::Delivered => return html! {},
    };
    let mut selectors = vec![("state", state.as_str())];
    selectors.extend(selection.app_id.as_deref().map(|app| ("app", app)));
    html! {
        @if selection.outcome.is_none() {
            p .actions { a .button .quiet href=(paths::act(action, &selectors)) { (words) } }
        }
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
