//! One callback: what it says, what became of it, and what to tell the merchant.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::page::{Page, Section, Trouble};
use super::text::{Foreign, Moment, duration, relative, visible};
use super::{Console, Visit, act, command, show};
use crate::domain::{CallbackId, Timestamp};
use crate::explanation;
use crate::store::{AttemptRow, CallbackRow, CommandNote, ShownState, Touch};

/// Attempts shown on the page; a merchant that was resent to for weeks has more.
const ATTEMPTS_MAX: usize = 200;

pub(super) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<i64>,
) -> Result<Response, Response> {
    let trouble = |error| Trouble::Store(error).answer(&visit);
    let id = CallbackId(id);
    let row = console.inspection.callback(id).await.map_err(trouble)?;
    let Some(row) = row else {
        let words =
            "No callback has this id. It was never queued, or it was removed after its retention.";
        return Err(Trouble::NotFound(words).answer(&visit));
    };
    let attempts = console.inspection.attempts(id).await.map_err(trouble)?;
    let notes = console.commands.notes(id).await.map_err(trouble)?;
    let title = format!("Callback {id}");
    let page = Page {
        section: Section::Elsewhere,
        title: &title,
        searched: "",
        body: html! {
            p { (show::state(row.state)) " " (what(&row)) }
            (for_merchant(&row, &attempts))
            (facts(&row, visit.now))
            (actions(&row))
            (timeline(&row, &attempts, &notes, visit.now))
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

fn for_merchant(row: &CallbackRow, attempts: &[AttemptRow]) -> Markup {
    html! {
        section aria-labelledby="tell" {
            h2 #tell { "What to tell the merchant" }
            p .notice .say { (Foreign(explanation::for_merchant(row, attempts))) }
        }
    }
}

fn facts(row: &CallbackRow, now: Timestamp) -> Markup {
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
                (show::fact("Goes to", show::foreign(&row.callback_url)))
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

/// What stands in the timeline.
#[derive(Clone, Copy)]
enum Event<'a> {
    Attempt(&'a AttemptRow),
    Note(&'a CommandNote),
}

impl Event<'_> {
    const fn at(self) -> Timestamp {
        match self {
            Self::Attempt(attempt) => attempt.started_at,
            Self::Note(note) => note.at,
        }
    }
}

fn timeline(
    row: &CallbackRow,
    attempts: &[AttemptRow],
    notes: &[CommandNote],
    now: Timestamp,
) -> Markup {
    let left_out = attempts.len().saturating_sub(ATTEMPTS_MAX);
    let attempts = attempts[left_out..].iter().map(Event::Attempt);
    let mut events: Vec<Event<'_>> = attempts.chain(notes.iter().map(Event::Note)).collect();
    events.sort_by_key(|event| event.at());
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { "What happened" }
            @if left_out > 0 {
                p .soft { "The first " (left_out) " attempts are left out; "
                    code { "callback-dispatcher show " (row.id.0) } " has them all." }
            }
            ol .timeline {
                li {
                    div .head { h3 { "Queued" } (Moment(row.created_at)) }
                }
                @for event in events {
                    @match event {
                        Event::Attempt(attempt) => (attempt_item(attempt)),
                        Event::Note(note) => (note_item(note)),
                    }
                }
                (what_follows(row, now))
            }
        }
    }
}

/// What an operator did with it.
fn note_item(note: &CommandNote) -> Markup {
    let words = match note.what {
        Touch::Awaited => "To be acted on once its attempt has ended",
        Touch::Resent => "Resent: a new round",
        Touch::Cancelled => "Cancelled",
        Touch::Skipped => "Left as it was",
    };
    html! {
        li {
            div .head {
                h3 { (words) }
                (Moment(note.at))
                span .soft { "by " (Foreign(&note.actor)) ", "
                    a href=(command::path(note.command_id)) { "command " (note.command_id.0) } }
            }
            p { (Foreign(&note.reason)) @if !note.why.is_empty() { " (" (Foreign(&note.why)) ")" } }
        }
    }
}

fn attempt_item(attempt: &AttemptRow) -> Markup {
    let took = Duration::from_millis(attempt.duration_ms.max(0).unsigned_abs());
    html! {
        li class=(show::outcome_class(&attempt.outcome)) {
            div .head {
                h3 { "Attempt " (attempt.seq) }
                (show::outcome(&attempt.outcome))
                (Moment(attempt.started_at))
                span .soft {
                    "took " (duration(took))
                    @if !attempt.counted { ", does not count" }
                }
            }
            @if !attempt.detail.is_empty() { p { (Foreign(&attempt.detail)) } }
            (answer(attempt))
            (sent(attempt))
        }
    }
}

/// What came back.
fn answer(attempt: &AttemptRow) -> Markup {
    let excerpt = attempt.response_excerpt.as_deref().unwrap_or_default();
    html! {
        @if let Some(status) = attempt.http_status {
            p {
                "Answered HTTP " strong { (status) }
                @if let Some(from) = &attempt.remote_addr { " from " (Foreign(from)) }
                @if excerpt.is_empty() { ", without a body." } @else { ":" }
            }
        } @else if let Some(from) = &attempt.remote_addr {
            p { "Dialled " (Foreign(from)) "; no answer." }
        }
        @if !excerpt.is_empty() {
            pre tabindex="0" aria-label={ "Answer to attempt " (attempt.seq) } { bdi { (visible(excerpt)) } }
        }
    }
}

/// What was sent, as far as the log has it.
fn sent(attempt: &AttemptRow) -> Markup {
    let Some(timestamp) = attempt.sent_timestamp else {
        return html! { p .soft { "Nothing was sent." } };
    };
    let text = |text: &Option<String>| {
        text.as_deref()
            .map(|text| html! { code { (Foreign(text)) } })
    };
    html! {
        details {
            summary { "What was sent" span .hidden { " in attempt " (attempt.seq) } }
            dl .facts {
                (show::fact("timestamp", Some(html! { code { (timestamp) } })))
                (show::fact("sign", text(&attempt.sign)))
                (show::fact("Key", text(&attempt.key_id)))
                (show::fact("SHA-256 of the body", text(&attempt.body_sha256)))
            }
        }
    }
}

/// The end of the story so far.
fn what_follows(row: &CallbackRow, now: Timestamp) -> Markup {
    let (class, heading, moment) = match row.state {
        ShownState::Pending => ("wait", "Next attempt is due", row.next_attempt_at),
        ShownState::InFlight => ("", "In flight, to end by", row.leased_until),
        ShownState::Delivered => ("good", "Delivered", row.finished_at),
        ShownState::Exhausted => ("bad", "Given up", row.finished_at),
        ShownState::Cancelled => ("", "Cancelled", row.finished_at),
    };
    html! {
        li class=(class) {
            div .head {
                h3 { (heading) }
                @if let Some(moment) = moment {
                    (Moment(moment)) span .soft { (relative(moment, now)) }
                }
            }
        }
    }
}
