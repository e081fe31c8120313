//! What several pages show in the same way: states, outcomes, callbacks in a table.

use axum::http::header::REFRESH;
use axum::response::Response;
use maud::{Markup, html};

use super::paths::PATH;
use super::state::RequestContext;
use super::text::{Moment, Untrusted, relative};
use crate::domain::{CallbackId, Outcome, Timestamp};
use crate::store::{CallbackRow, ListedCallback, PauseScope, Selectors, ShownState};

/// Has the browser ask for the page again after so many seconds, without a script.
pub(super) fn asked_again(mut answer: Response, seconds: Option<u16>) -> Response {
    if let Some(seconds) = seconds {
        answer.headers_mut().insert(REFRESH, seconds.into());
    }
    answer
}

/// A state in the colour of what it means.
pub(super) fn state(state: ShownState) -> Markup {
    let (class, word) = match state {
        ShownState::Pending => ("badge wait", "pending"),
        ShownState::InFlight => ("badge", "in flight"),
        ShownState::Delivered => ("badge good", "delivered"),
        ShownState::Exhausted => ("badge bad", "exhausted"),
        ShownState::Cancelled => ("badge", "cancelled"),
    };
    html! { span class=(class) { (word) } }
}

/// What an outcome means for the merchant: a class of the style sheet.
pub(super) fn outcome_class(outcome: &str) -> &'static str {
    match outcome.parse() {
        Ok(Outcome::Acknowledged) => "good",
        Ok(Outcome::Interrupted | Outcome::Unsignable) => "wait",
        _ => "bad",
    }
}

/// An outcome in the colour of what it means.
pub(super) fn outcome(outcome: &str) -> Markup {
    html! { span class={ "badge " (outcome_class(outcome)) } { (Untrusted(outcome.replace('_', " "))) } }
}

/// A link to a callback's page.
pub(super) fn callback_link(id: CallbackId) -> Markup {
    html! { a href={ (PATH) "/callbacks/" (id.0) } { (id.0) } }
}

/// A table that can be scrolled where it is too wide. A heading that begins with `#` is that of a
/// column of numbers.
pub(super) fn table(caption: &str, headings: &[&str], rows: &Markup) -> Markup {
    html! {
        div .wide role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { @for heading in headings {
                    @match heading.strip_prefix('#') {
                        Some(heading) => { th scope="col" .number { (heading) } }
                        None => { th scope="col" { (heading) } }
                    }
                } } }
                tbody { (rows) }
            }
        }
    }
}

/// A table of callbacks, with `extra` in a last column of its own, and with their states where these
/// differ.
pub(super) fn callback_table(
    caption: &str,
    rows: &[ListedCallback],
    now: Timestamp,
    extra: impl Fn(&CallbackRow) -> Option<Markup>,
) -> Markup {
    let state_of = |listed: &ListedCallback| listed.callback.state;
    let has_states = rows
        .windows(2)
        .any(|pair| state_of(&pair[0]) != state_of(&pair[1]));
    let has_extra = rows.iter().any(|row| extra(&row.callback).is_some());
    let mut headings = vec!["Id", "Kind", "App", "Order", "#Amount"];
    headings.extend(has_states.then_some("State"));
    headings.extend(["Newest attempt", "When", "Goes to"]);
    headings.extend(has_extra.then_some("Action"));
    let rows = html! {
        @for listed in rows {
            @let row = &listed.callback;
            tr {
                th scope="row" .nowrap { (callback_link(row.id)) }
                td { (Untrusted(&row.kind)) }
                td { (Untrusted(&row.app_id)) }
                td .order { (order(row)) }
                td .number { (Untrusted(&row.amount)) " " (Untrusted(&row.currency)) }
                @if has_states { td { (state(row.state)) } }
                td { (newest_attempt(listed)) }
                td .nowrap { (when(row, now)) }
                td {
                    (Untrusted(row.origin.as_text()))
                    @if let Some(address) = &listed.last_remote_addr {
                        " " small { (Untrusted(address)) }
                    }
                }
                @if has_extra { td { @if let Some(extra) = extra(row) { (extra) } } }
            }
        }
    };
    table(caption, &headings, &rows)
}

/// How it ended, and in which words.
fn newest_attempt(listed: &ListedCallback) -> Markup {
    let detail = listed.last_detail.as_deref().unwrap_or_default();
    let cut: String = detail.chars().take(DETAIL_CHARACTERS_MAX).collect();
    html! {
        @if let Some(last) = &listed.callback.last_outcome { (outcome(last)) } @else { "none yet" }
        @if let Some(status) = listed.last_http_status { " " (status) }
        @if !cut.is_empty() {
            " " small { (Untrusted(&cut)) @if cut.len() < detail.len() { "…" } }
        }
    }
}

/// As much as tells attempts apart; the callback's page has all of it.
const DETAIL_CHARACTERS_MAX: usize = 80;

/// The merchant's number of what a callback is about: the refund's if it is one.
pub(super) fn order(row: &CallbackRow) -> Markup {
    html! {
        (Untrusted(row.refund_order_no.as_deref().unwrap_or(&row.order_no)))
    }
}

/// The moment that matters in a row's state.
fn when(row: &CallbackRow, now: Timestamp) -> Markup {
    let (words, moment) = match (row.finished_at, row.leased_until, row.next_attempt_at) {
        (Some(finished), _, _) => ("", finished),
        (None, Some(until), _) => ("to end by ", until),
        (None, None, Some(due)) => ("due ", due),
        (None, None, None) => ("queued ", row.created_at),
    };
    html! { (words) (away(moment, now)) }
}

/// How far a moment is away; the moment itself is its title.
pub(super) fn away(moment: Timestamp, now: Timestamp) -> Markup {
    html! { span title=(moment.to_string()) { (relative(moment, now)) } }
}

/// The word of a selector for what is paused.
pub(super) const fn selector(scope: PauseScope) -> &'static str {
    match scope {
        PauseScope::Origin => "origin",
        PauseScope::App => "app",
    }
}

/// A fact of a list: a name and what it is, left out if that is empty.
pub(super) fn fact(name: &str, value: Option<Markup>) -> Markup {
    html! {
        @if let Some(value) = value {
            dt { (name) }
            dd { (value) }
        }
    }
}

/// Untrusted text as the value of a [`fact`].
pub(super) fn untrusted(text: &str) -> Option<Markup> {
    (!text.is_empty()).then(|| html! { (Untrusted(text)) })
}

/// A URL; its query, where some merchants keep a secret, is only for who has shown the token.
pub(super) fn url(url: &str, context: &RequestContext) -> Markup {
    match url.split_once('?') {
        Some((address, _)) if context.operator.is_none() => html! {
            (Untrusted(address)) span .soft { " (what follows the ? is shown to who has signed in)" }
        },
        _ => html! { (Untrusted(url)) },
    }
}

/// A moment as the value of a [`fact`], with how far it is away.
pub(super) fn moment(moment: Option<Timestamp>, now: Timestamp) -> Option<Markup> {
    moment.map(|moment| html! { (Moment(moment)) " (" (relative(moment, now)) ")" })
}

/// What a command is about.
pub(super) fn chosen(selectors: &Selectors) -> Markup {
    let text = |text: &Option<String>| text.as_deref().and_then(untrusted);
    let moment = |moment: Option<Timestamp>| moment.map(|moment| html! { (Moment(moment)) });
    html! {
        dl .facts {
            (fact("Callback", selectors.callback_id.map(callback_link)))
            (fact("Order or refund", text(&selectors.order_number)))
            (fact("App", text(&selectors.app_id)))
            (fact("All that go to", text(&selectors.origin)))
            (fact("State", selectors.state.map(|state| html! { (state.as_str()) })))
            (fact("Queued since", moment(selectors.since)))
            (fact("Queued before", moment(selectors.until)))
            (fact("Queued by command", selectors.command_id.map(|id| html! { (id.0) })))
        }
    }
}
