//! One callback: its message, its attempts, and what to tell the merchant.

mod timeline;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::page::{ErrorPage, Page, Section};
use super::state::{Console, RequestContext};
use super::text::Untrusted;
use super::{paths, show};
use crate::domain::CallbackId;
use crate::explanation::CallbackReport;
use crate::store::{CallbackRow, ShownState};

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Path(id): Path<i64>,
) -> Result<Response, Response> {
    let id = CallbackId(id);
    let convention = (console.convention)();
    let (inspection, commands) = (&*console.inspection, &*console.commands);
    let report = CallbackReport::of(inspection, commands, id, &convention, context.now).await;
    let report = report.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let Some(report) = report else {
        let words =
            "No callback has this id. It was never queued, or it was removed after its retention.";
        return Err(ErrorPage::NotFound(words).answer(&context));
    };
    let row = &report.callback;
    let title = format!("Callback {id}");
    let page = Page {
        section: Section::Elsewhere,
        title: &title,
        searched: "",
        body: html! {
            p { (show::state(row.state)) " " (what(row)) }
            (paused(&report))
            (for_merchant(&report))
            (facts(row, &context))
            (actions(row))
            (timeline::show(&report, context.now))
        },
    };
    Ok(page.ok(&context))
}

fn what(row: &CallbackRow) -> Markup {
    html! {
        "The result of " (Untrusted(&row.kind)) " " strong { (show::order(row)) }
        ", " (Untrusted(&row.result)) ", for app " strong { (Untrusted(&row.app_id)) }
    }
}

/// Why nothing is sent, and how to change that.
fn paused(report: &CallbackReport) -> Markup {
    let Some(pause) = &report.paused else {
        return html! {};
    };
    let selector = show::selector(pause.scope);
    html! {
        p .notice {
            "Nothing is sent: " (selector) " " (Untrusted(&pause.name)) " is paused by " (Untrusted(&pause.actor))
            " (" (Untrusted(&pause.reason)) "). "
            a href=(paths::act("resume", &[(selector, &pause.name)])) { "Resume…" }
        }
    }
}

fn for_merchant(report: &CallbackReport) -> Markup {
    html! {
        section aria-labelledby="tell" {
            h2 #tell { "What to tell the merchant" }
            p .notice .say { (Untrusted(&report.tell_merchant)) }
        }
    }
}

fn facts(row: &CallbackRow, context: &RequestContext) -> Markup {
    let now = context.now;
    let or_none = |text: &Option<String>| text.as_deref().and_then(show::untrusted);
    let money = html! { (Untrusted(&row.amount)) " " (Untrusted(&row.currency)) };
    let attempts = html! { (row.attempts) };
    let waits = row.state == ShownState::Pending;
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "What it is" }
            dl .facts {
                (show::fact("Merchant's order", show::untrusted(&row.order_no)))
                (show::fact("NewPay's order", show::untrusted(&row.newpay_order_no)))
                (show::fact("Merchant's refund", or_none(&row.refund_order_no)))
                (show::fact("NewPay's refund", or_none(&row.newpay_refund_order_no)))
                (show::fact("Amount", Some(money)))
                (show::fact("Subject", show::untrusted(&row.subject)))
                (show::fact("Reason", show::untrusted(&row.trans_info)))
                (show::fact("Extra", show::untrusted(&row.extra)))
                (show::fact("Goes to", Some(show::url(row.url(), context))))
                (show::fact("Was queued for", row.to_url.is_some().then(|| show::url(&row.callback_url, context))))
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
                a .button href=(paths::act("resend", &one)) { "Resend…" }
                @if may_cancel { a .button .quiet href=(paths::act("cancel", &one)) { "Cancel…" } }
                a .button .quiet href=(paths::act("pause", &[("origin", &origin)])) {
                    "Pause all to " (Untrusted(&origin)) "…"
                }
            }
        }
    }
}
