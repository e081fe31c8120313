//! One callback: what it says, what became of it, and what to tell the merchant.

mod timeline;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::page::{Page, Section, Trouble};
use super::text::Foreign;
use super::{Console, Visit, act, show};
use crate::domain::CallbackId;
use crate::explanation::Story;
use crate::store::{CallbackRow, PauseScope, ShownState};

pub(super) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
) -> Result<Response, Response> {
    let id = CallbackId(id);
    let convention = (console.convention)();
    let story = Story::of(&*console.inspection, &*console.commands, id, &convention).await;
    let story = story.map_err(|error| Trouble::from(error).answer(&visit))?;
    let Some(story) = story else {
        let words =
            "No callback has this id. It was never queued, or it was removed after its retention.";
        return Err(Trouble::NotFound(words).answer(&visit));
    };
    let row = &story.callback;
    let title = format!("Callback {id}");
    let page = Page {
        section: Section::Elsewhere,
        title: &title,
        searched: "",
        body: html! {
            p { (show::state(row.state)) " " (what(row)) }
            (paused(&story))
            (for_merchant(&story))
            (facts(row, &visit))
            (actions(row))
            (timeline::show(&story, visit.now))
        },
    };
    Ok(page.ok(&visit))
}

fn what(row: &CallbackRow) -> Markup {
    html! {
        "The result of " (Foreign(&row.kind)) " " strong { (show::order(row)) }
        ", " (Foreign(&row.result)) ", for app " strong { (Foreign(&row.app_id)) }
    }
}

/// Why nothing is sent, and how to change that.
fn paused(story: &Story) -> Markup {
    let Some(pause) = &story.paused else {
        return html! {};
    };
    let selector = match pause.scope {
        PauseScope::Origin => "origin",
        PauseScope::App => "app",
    };
    html! {
        p .notice {
            "Nothing is sent: " (selector) " " (Foreign(&pause.name)) " is paused by " (Foreign(&pause.actor))
            " (" (Foreign(&pause.reason)) "). "
            a href=(act::path("resume", &[(selector, &pause.name)])) { "Resume…" }
        }
    }
}

fn for_merchant(story: &Story) -> Markup {
    html! {
        section aria-labelledby="tell" {
            h2 #tell { "What to tell the merchant" }
            p .notice .say { (Foreign(&story.tell_merchant)) }
        }
    }
}

/// The URL; its query, where some merchants keep a secret, is only for who has shown the token.
fn destination(row: &CallbackRow, visit: &Visit) -> Markup {
    let url = row.callback_url.as_str();
    match url.split_once('?') {
        Some((address, _)) if visit.operator.is_none() => html! {
            (Foreign(address)) span .soft { " (what follows the ? is shown to who has signed in)" }
        },
        _ => html! { (Foreign(url)) },
    }
}

fn facts(row: &CallbackRow, visit: &Visit) -> Markup {
    let now = visit.now;
    let or_none = |text: &Option<String>| text.as_deref().and_then(show::foreign);
    let money = html! { (Foreign(&row.amount)) " " (Foreign(&row.currency)) };
    let attempts = html! { (row.attempts) };
    let waits = row.state == ShownState::Pending;
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "What it is" }
            dl .facts {
                (show::fact("Merchant's order", show::foreign(&row.order_no)))
                (show::fact("NewPay's order", show::foreign(&row.newpay_order_no)))
                (show::fact("Merchant's refund", or_none(&row.refund_order_no)))
                (show::fact("NewPay's refund", or_none(&row.newpay_refund_order_no)))
                (show::fact("Amount", Some(money)))
                (show::fact("Subject", show::foreign(&row.subject)))
                (show::fact("Reason", show::foreign(&row.trans_info)))
                (show::fact("Extra", show::foreign(&row.extra)))
                (show::fact("Goes to", Some(destination(row, visit))))
                (show::fact("Queued", show::moment(Some(row.created_at), now)))
                (show::fact("Attempts that count", Some(attempts)))
                (show::fact("Next attempt", show::moment(row.next_attempt_at.filter(|_| waits), now)))
                (show::fact("In flight, to end by", show::moment(row.leased_until, now)))
                (show::fact("Finished", show::moment(row.finished_at, now)))
            }
        }
    }
}

/// What can be done about it, by its state.
fn actions(row: &CallbackRow) -> Markup {
    let id = row.id.to_string();
    let one = [("callback", id.as_str())];
    let origin = row.origin.as_text();
    let may_cancel = matches!(row.state, ShownState::Pending | ShownState::InFlight);
    html! {
        section aria-labelledby="actions" {
            h2 #actions { "What can be done" }
            p .actions {
                a .button href=(act::path("resend", &one)) { "Resend…" }
                @if may_cancel { a .button .quiet href=(act::path("cancel", &one)) { "Cancel…" } }
                a .button .quiet href=(act::path("pause", &[("origin", &origin)])) {
                    "Pause all to " (Foreign(&origin)) "…"
                }
            }
        }
    }
}
