//! What operators have asked for, and what became of it.

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::page::{ErrorPage, Page, Section};
use super::state::{Console, RequestContext};
use super::text::{Untrusted, number};
use super::{paths, show};
use crate::domain::Timestamp;
use crate::store::{Command, CommandId, CommandStatus, Pause, Progress};

/// As many as somebody reads.
const ROWS_MAX: usize = 100;

pub(super) async fn show_newest(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Response> {
    let commands = console.commands.commands(ROWS_MAX).await;
    let commands = commands.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let pauses = console.commands.pauses().await;
    let pauses = pauses.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let page = Page {
        section: Section::Commands,
        title: "Commands",
        searched: "",
        body: html! {
            @if !pauses.is_empty() { (paused(&pauses, context.now)) }
            p { "What operators have asked for, by SQL, on the command line or here; the newest first." }
            @if commands.is_empty() {
                p .notice role="status" { "Nobody has asked for anything yet." }
            } @else {
                (table(&commands, context.now))
            }
        },
    };
    Ok(page.ok(&context))
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Path(id): Path<i64>,
) -> Result<Response, Response> {
    let command = console.commands.command(CommandId(id)).await;
    let command = command.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let Some(command) = command else {
        return Err(ErrorPage::NotFound("There is no command with this id.").answer(&context));
    };
    let progress = console.commands.progress(command.id).await;
    let progress = progress.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let title = format!("Command {id}: {}", command.request.action);
    let page = Page {
        section: Section::Commands,
        title: &title,
        searched: "",
        body: html! {
            (answer(&command))
            @if progress != Progress::default() { (since_then(&command, &progress)) }
            (facts(&command, &context))
        },
    };
    let goes_on = !command.is_answered() || progress.to_come > 0;
    Ok(show::asked_again(page.ok(&context), goes_on.then_some(5)))
}

/// The pauses, and how to end them.
fn paused(pauses: &[Pause], now: Timestamp) -> Markup {
    let caption = "Paused: nothing is sent there until it is resumed";
    let rows = html! {
        @for pause in pauses {
            @let selector = show::selector(pause.scope);
            tr {
                th scope="row" { (selector) " " (Untrusted(&pause.name)) }
                td .nowrap { (show::away(pause.since, now)) }
                td { (Untrusted(&pause.actor)) }
                td { (Untrusted(&pause.reason)) }
                td { a href=(paths::act("resume", &[(selector, &pause.name)])) {
                    "Resume…" span .hidden { " " (Untrusted(&pause.name)) }
                } }
            }
        }
    };
    let headings = ["Origin or app", "Since", "By", "Reason", "Action"];
    show::table(caption, &headings, &rows)
}

/// What became of it, first of all.
fn answer(command: &Command) -> Markup {
    let class = match command.status {
        CommandStatus::Done => "notice good",
        CommandStatus::Refused => "notice bad",
        CommandStatus::Waiting | CommandStatus::Running => "notice",
    };
    let is_open = matches!(
        command.status,
        CommandStatus::Waiting | CommandStatus::Running
    );
    html! {
        p class=(class) role="status" {
            (status(command.status)) " "
            @if !command.answer.is_empty() { (Untrusted(&command.answer)) }
            @else if command.status == CommandStatus::Waiting { "The dispatcher has not taken it up yet." }
        }
        @if is_open { p .actions { a .button .quiet href=(paths::command(command.id)) { "Look again" } } }
    }
}

/// How the callbacks fare that were resent.
fn since_then(command: &Command, progress: &Progress) -> Markup {
    let counts = [
        ("Acknowledged", progress.acknowledged),
        ("Given up again", progress.exhausted),
        ("Failed again, retrying", progress.retrying),
        ("Still to come", progress.to_come),
        ("Cancelled", progress.cancelled),
    ];
    html! {
        section aria-labelledby="since" {
            h2 #since { "What became of those that were resent" }
            dl .cards {
                @for (name, count) in counts { div { dt { (name) } dd { (number(count)) } } }
            }
            @if progress.to_come > 0 {
                p .actions {
                    a .button .quiet href=(paths::act("cancel", &[("command", &command.id.to_string())])) {
                        "Stop: cancel what is still to come…"
                    }
                }
            }
        }
    }
}

fn facts(command: &Command, context: &RequestContext) -> Markup {
    let (request, now) = (&command.request, context.now);
    let is_selection = request.selectors.callback_id.is_none();
    html! {
        section aria-labelledby="asked" {
            h2 #asked { "What was asked for" }
            (show::chosen(&request.selectors))
            dl .facts {
                (show::fact("By", show::untrusted(&request.actor)))
                (show::fact("Reason", show::untrusted(&request.reason)))
                (show::fact("Asked", show::moment(Some(command.created_at), now)))
                (show::fact("Begun", show::moment(command.started_at, now)))
                (show::fact("Answered", show::moment(command.finished_at, now)))
                (show::fact("Goes to", request.to_url.as_deref().map(|url| show::url(url, context))))
                (show::fact("Dry run", request.dry_run.then(|| html! { "yes: nothing was changed" })))
                (show::fact("Acknowledged ones too", request.include_acknowledged.then(|| html! { "yes" })))
                (show::fact("Callbacks per second", request.rate.filter(|_| is_selection).map(|rate| html! { (rate) })))
            }
        }
        section aria-labelledby="became" {
            h2 #became { "What became of it" }
            dl .cards {
                @for (name, count) in [("Selected", command.selected), ("Done", command.done), ("Left as they are", command.skipped)] {
                    div { dt { (name) } dd { (number(count)) } }
                }
            }
            @if !command.skipped_why.is_empty() { (skipped(command)) }
        }
    }
}

fn skipped(command: &Command) -> Markup {
    let rows = html! {
        @for (why, count) in &command.skipped_why {
            tr { th scope="row" { (Untrusted(why)) } td .number { (number(*count)) } }
        }
    };
    show::table(
        "Why some were left as they are",
        &["Reason", "#Callbacks"],
        &rows,
    )
}

fn table(commands: &[Command], now: Timestamp) -> Markup {
    let rows = html! { @for command in commands { (row(command, now)) } };
    let headings = [
        "Id", "Action", "By", "Reason", "Asked", "Status", "#Done", "Answer",
    ];
    show::table("The newest commands and their answers", &headings, &rows)
}

fn row(command: &Command, now: Timestamp) -> Markup {
    let request = &command.request;
    html! {
        tr {
            th scope="row" .nowrap { a href=(paths::command(command.id)) { (command.id.0) } }
            td { (request.action.as_str()) @if request.dry_run { " (dry run)" } }
            td { (Untrusted(&request.actor)) }
            td { (Untrusted(&request.reason)) }
            td .nowrap { (show::away(command.created_at, now)) }
            td { (status(command.status)) }
            td .number { (number(command.done)) }
            td { (Untrusted(&command.answer)) }
        }
    }
}

fn status(status: CommandStatus) -> Markup {
    let class = match status {
        CommandStatus::Waiting | CommandStatus::Running => "badge wait",
        CommandStatus::Done => "badge good",
        CommandStatus::Refused => "badge bad",
    };
    html! { span class=(class) { (status.as_str()) } }
}
