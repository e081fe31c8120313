//! What happened to a callback, from the moment it was queued.

use std::time::Duration;

use maud::{Markup, html};

use crate::admin::console::text::{Moment, Untrusted, duration, relative};
use crate::admin::console::{paths, show};
use crate::domain::{Outcome, Timestamp, visible_lines};
use crate::explanation::{AttemptReport, CallbackReport, SentMessage};
use crate::store::{AttemptRow, CallbackRow, CommandNote, Origin, ShownState};

/// Attempts shown on the page; a merchant that was resent to for weeks has more.
const ATTEMPTS_MAX: usize = 200;

/// What stands in the timeline.
#[derive(Clone, Copy)]
enum Event<'a> {
    Attempt(&'a AttemptReport),
    Note(&'a CommandNote),
}

impl Event<'_> {
    const fn at(self) -> Timestamp {
        match self {
            Self::Attempt(attempt) => attempt.row.started_at,
            Self::Note(note) => note.at,
        }
    }
}

/// The timeline of a callback.
pub(super) fn show(report: &CallbackReport, now: Timestamp) -> Markup {
    let row = &report.callback;
    let left_out = report.attempts.len().saturating_sub(ATTEMPTS_MAX);
    let attempts = report.attempts[left_out..].iter().map(Event::Attempt);
    let notes = report.commands.iter().map(Event::Note);
    let mut events: Vec<Event<'_>> = attempts.chain(notes).collect();
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
    html! {
        li {
            div .head {
                h3 { (note.what.describe()) }
                (Moment(note.at))
                span .soft { "by " (Untrusted(&note.actor)) ", "
                    a href=(paths::command(note.command_id)) { "command " (note.command_id.0) } }
            }
            p { (Untrusted(&note.reason)) @if !note.why.is_empty() { " (" (Untrusted(&note.why)) ")" } }
        }
    }
}

fn attempt_item(report: &AttemptReport) -> Markup {
    let attempt = &report.row;
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
            @if let Some(origin) = attempt.to_url.as_deref().and_then(Origin::of_url) {
                p .soft { "Went to " (Untrusted(origin.as_text())) " instead of the URL that was queued." }
            }
            @if !attempt.detail.is_empty() { p { (Untrusted(&attempt.detail)) } }
            @if !report.timeline.is_empty() { p .soft { (Untrusted(&report.timeline)) } }
            (answer(attempt))
            (sent(report))
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
                @if let Some(from) = &attempt.remote_addr { " from " (Untrusted(from)) }
                @if excerpt.is_empty() { ", without a body." } @else { ":" }
            }
        } @else if let Some(from) = &attempt.remote_addr {
            p { "Dialled " (Untrusted(from)) "; no answer." }
        }
        @if !excerpt.is_empty() {
            pre tabindex="0" aria-label={ "Answer to attempt " (attempt.seq) } { bdi { (visible_lines(excerpt)) } }
        }
    }
}

/// The message of the attempt, made again from the row.
fn sent(report: &AttemptReport) -> Markup {
    let attempt = &report.row;
    let Some(sent) = &report.sent else {
        let is_unknown = attempt.outcome == Outcome::Interrupted.as_str();
        let words = if is_unknown {
            "It is not known whether it was sent."
        } else {
            "Nothing was sent."
        };
        return html! { p .soft { (words) } };
    };
    let title = if report.was_sent {
        "What was sent"
    } else {
        "What would have been sent"
    };
    html! {
        details {
            summary { (title) span .hidden { " in attempt " (attempt.seq) } }
            (message(sent))
            dl .facts {
                (show::fact("Signed with key", show::untrusted(&sent.key_id)))
                (show::fact("Signature", attempt.sign.as_deref().and_then(show::untrusted)))
            }
        }
    }
}

fn message(sent: &SentMessage) -> Markup {
    html! {
        p { "The body"
            @if !sent.is_proven {
                strong { " as the row has it now; its SHA-256 is not the one in the log" }
            }
            ":"
        }
        pre tabindex="0" aria-label="Body" { bdi { (visible_lines(&sent.body)) } }
        p { "The text that was signed:" }
        pre tabindex="0" aria-label="Signed text" { bdi { (visible_lines(&sent.canonical_form)) } }
    }
}

/// The end of the report so far.
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
