//! `show`: a callback's whole report.

use std::io::{self, Write};

use super::colour;
use super::exit::{CommandResult, Exit};
use super::given;
use super::json;
use super::queue::{self, no_callback};
use super::table;
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings};
use crate::domain::{Outcome, visible};
use crate::explanation::{AttemptReport, CallbackReport};
use crate::service;
use crate::store::{AttemptRow, CallbackRow, CommandNote};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A callback's id, or an order number or refund number of either side
    #[arg(value_parser = given::parse)]
    order: String,
    /// Describe every attempt, not only the last
    #[arg(long)]
    full: bool,
    /// Print JSON, with every attempt
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let order = &arguments.order;
    let settings = Settings::load(inputs)?;
    let (reports, near) = queue::block_on(async {
        let inspection = service::inspection(&settings.store.url).await?;
        let commands = service::commands(&settings.store.url).await?;
        let convention = &settings.signing.convention;
        let (inspection, commands) = (inspection.as_ref(), commands.as_ref());
        let now = SystemClock.now();
        let reports = CallbackReport::find(inspection, commands, order, convention, now).await?;
        queue::say_if_nothing_is_sent(&settings.store.url, inspection).await;
        // A shorter one is the beginning of too many.
        let near = match reports.is_empty() && order.len() >= PREFIX_BYTES_MIN {
            true => inspection.beginning(order).await?,
            false => Vec::new(),
        };
        Ok((reports, near))
    })?;
    if reports.is_empty() {
        for row in &near {
            let hint = format!("{} callback {}: {}", row.kind, row.id, numbers(row));
            writeln!(anstream::stderr(), "begins so: {}", visible(&hint))?;
        }
        return Err(no_callback(order));
    }
    if arguments.json {
        json::print(out, &reports)?;
    } else {
        for report in &reports {
            print(report, arguments.full, out)?;
        }
    }
    Ok(Exit::Done)
}

/// Of the beginning of a number.
const PREFIX_BYTES_MIN: usize = 4;

fn numbers(row: &CallbackRow) -> String {
    let refund = [&row.refund_order_no, &row.newpay_refund_order_no];
    let numbers = [&row.order_no, &row.newpay_order_no].into_iter();
    let numbers: Vec<&str> = numbers
        .chain(refund.into_iter().flatten())
        .map(String::as_str)
        .collect();
    numbers.join(", ")
}

fn print(report: &CallbackReport, is_full: bool, out: &mut dyn Write) -> io::Result<()> {
    let row = &report.callback;
    let state = colour::word(row.state.as_str());
    writeln!(out, "callback {}: {} {state}", row.id, row.kind)?;
    writeln!(out, "\ntell the merchant:")?;
    table::paragraph(out, &report.tell_merchant)?;
    writeln!(out, "\nwhat comes next:")?;
    table::paragraph(out, &report.next)?;
    writeln!(out)?;
    print_facts(row, out)?;
    match report.attempts.as_slice() {
        [] => writeln!(out, "\nno attempt yet")?,
        attempts => print_attempts(attempts, is_full, out)?,
    }
    for note in &report.commands {
        print_note(note, out)?;
    }
    writeln!(out)
}

fn print_facts(row: &CallbackRow, out: &mut dyn Write) -> io::Result<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let finished = row.finished_at.map(|at| at.to_string());
    for (name, value) in [
        ("app", row.app_id.clone()),
        ("order", row.order_no.clone()),
        ("NewPay order", row.newpay_order_no.clone()),
        ("refund", text(&row.refund_order_no)),
        ("NewPay refund", text(&row.newpay_refund_order_no)),
        ("amount", format!("{} {}", row.amount, row.currency)),
        ("result", row.result.clone()),
        ("reason", row.trans_info.clone()),
        ("callBackUrl", row.callback_url.clone()),
        ("sent to instead", text(&row.to_url)),
        ("queued", row.created_at.to_string()),
        ("counted attempts", row.attempts.to_string()),
        ("finished", text(&finished)),
    ] {
        print_field(out, name, &value)?;
    }
    Ok(())
}

fn print_field(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    match value {
        "" => Ok(()),
        value => writeln!(out, "  {name:<18} {}", visible(value)),
    }
}

/// A row for each attempt, then how it went. Unless all is asked for, attempts that ended alike
/// share a row, and only the last is described.
fn print_attempts(
    attempts: &[AttemptReport],
    is_full: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    let header = [
        "#", "started", "took", "outcome", "HTTP", "counted", "from", "key", "detail",
    ];
    let runs = attempts.chunk_by(|one, next| !is_full && ends_alike(&one.row, &next.row));
    table::print(out, header, runs.map(run_row))?;
    let described = match is_full {
        true => attempts,
        false => &attempts[attempts.len() - 1..],
    };
    for attempt in described {
        print_attempt(attempt, out)?;
    }
    if described.len() < attempts.len() {
        writeln!(out, "\n--full describes all {} attempts", attempts.len())?;
    }
    Ok(())
}

fn ends_alike(one: &AttemptRow, other: &AttemptRow) -> bool {
    let ending = |row: &AttemptRow| {
        (
            row.outcome.clone(),
            row.http_status,
            row.counted,
            row.remote_addr.clone(),
            row.key_id.clone(),
            row.detail.clone(),
            row.to_url.clone(),
        )
    };
    ending(one) == ending(other)
}

/// The row of attempts that ended alike.
fn run_row(run: &[AttemptReport]) -> [String; 9] {
    let (first, last) = (&run[0].row, &run[run.len() - 1].row);
    let (number, started) = match run.len() {
        1 => (last.seq.to_string(), last.started_at.to_string()),
        _ => (
            format!("{}-{}", first.seq, last.seq),
            format!("{} to {}", first.started_at, last.started_at),
        ),
    };
    let status = last.http_status.map(|status| status.to_string());
    [
        number,
        started,
        format!("{} ms", last.duration_ms),
        last.outcome.clone(),
        status.unwrap_or_default(),
        if last.counted { "yes" } else { "no" }.to_owned(),
        last.remote_addr.clone().unwrap_or_default(),
        last.key_id.clone().unwrap_or_default(),
        last.detail.clone(),
    ]
}

/// How it went, what was sent, and what came back instead of an acknowledgement.
fn print_attempt(attempt: &AttemptReport, out: &mut dyn Write) -> io::Result<()> {
    let row = &attempt.row;
    writeln!(out, "\nattempt {}", row.seq)?;
    print_field(out, "phases", &attempt.timeline)?;
    print_field(out, "went to", row.to_url.as_deref().unwrap_or_default())?;
    if let Some(sent) = &attempt.sent {
        let label = if attempt.was_sent { "sent" } else { "not sent" };
        print_field(out, label, &sent.body)?;
        print_field(out, "signed", &sent.canonical_form)?;
        print_field(out, "key", &sent.key_id)?;
        if !sent.is_proven {
            let warning = "the row or the log was changed past its triggers: this is not the \
                           message of the attempt";
            print_field(out, "beware", warning)?;
        }
    }
    let is_acknowledged = row.outcome == Outcome::Acknowledged.as_str();
    let answer = row.response_excerpt.as_deref().filter(|_| !is_acknowledged);
    print_field(out, "answer", answer.unwrap_or_default())
}

fn print_note(note: &CommandNote, out: &mut dyn Write) -> io::Result<()> {
    let why = match note.why.as_str() {
        "" => String::new(),
        why => format!(", {why}"),
    };
    writeln!(
        out,
        "\n{} on {} by {}, command {}{}: {}",
        note.what,
        note.at,
        visible(&note.actor),
        note.command_id,
        visible(&why),
        visible(&note.reason),
    )
}
