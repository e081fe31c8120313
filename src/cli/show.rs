//! `show`: a callback's whole report.

use std::io::Write;

use super::colour;
use super::exit::{CommandResult, Exit};
use super::queue::{self, no_callback};
use super::table::{self, visible};
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings};
use crate::domain::{Outcome, Timestamp};
use crate::explanation::{AttemptReport, CallbackReport};
use crate::service;
use crate::store::CommandNote;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A callback's id, or an order number or refund number of either side
    order: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let order = &arguments.order;
    let settings = Settings::load(inputs)?;
    let reports = queue::block_on(async {
        let inspection = service::inspection(&settings.store.url).await?;
        let commands = service::commands(&settings.store.url).await?;
        let convention = &settings.signing.convention;
        let (inspection, commands) = (inspection.as_ref(), commands.as_ref());
        let now = SystemClock.now();
        Ok(CallbackReport::find(inspection, commands, order, convention, now).await?)
    })?;
    if reports.is_empty() {
        return Err(no_callback(order));
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &reports)?;
        writeln!(out)?;
    } else {
        for report in &reports {
            print(report, out)?;
        }
    }
    Ok(Exit::Done)
}

fn print(report: &CallbackReport, out: &mut dyn Write) -> std::io::Result<()> {
    let row = &report.callback;
    let state = colour::word(row.state.as_str());
    writeln!(out, "callback {}: {} {state}", row.id, row.kind)?;
    let mut field = |name: &str, value: &str| {
        if value.is_empty() {
            Ok(())
        } else {
            writeln!(out, "  {name:<22} {}", visible(value))
        }
    };
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    field("app", &row.app_id)?;
    field("order", &row.order_no)?;
    field("NewPay order", &row.newpay_order_no)?;
    field("refund", row.refund_order_no.as_deref().unwrap_or_default())?;
    field(
        "NewPay refund",
        row.newpay_refund_order_no.as_deref().unwrap_or_default(),
    )?;
    field("amount", &format!("{} {}", row.amount, row.currency))?;
    field("result", &row.result)?;
    field("reason", &row.trans_info)?;
    field("callBackUrl", &row.callback_url)?;
    field("queued", &row.created_at.to_string())?;
    field("counted attempts", &row.attempts.to_string())?;
    field("finished", &moment(row.finished_at))?;
    field("what comes next", &report.next)?;
    if report.attempts.is_empty() {
        writeln!(out, "\nno attempt yet")?;
    } else {
        writeln!(out)?;
        let header = [
            "#", "started", "took", "outcome", "HTTP", "counted", "from", "key", "detail",
        ];
        table::print(out, header, report.attempts.iter().map(attempt_row))?;
    }
    for attempt in &report.attempts {
        print_attempt(attempt, out)?;
    }
    for note in &report.commands {
        print_note(note, out)?;
    }
    writeln!(
        out,
        "\ntell the merchant:\n  {}\n",
        visible(&report.tell_merchant)
    )
}

/// How it went, what was sent, and what came back instead of an acknowledgement.
fn print_attempt(attempt: &AttemptReport, out: &mut dyn Write) -> std::io::Result<()> {
    let row = &attempt.row;
    writeln!(out, "\nattempt {}", row.seq)?;
    let mut field = |name: &str, value: &str| {
        if value.is_empty() {
            Ok(())
        } else {
            writeln!(out, "  {name:<10} {}", visible(value))
        }
    };
    field("phases", &attempt.timeline)?;
    if let Some(sent) = &attempt.sent {
        let label = if attempt.was_sent { "sent" } else { "not sent" };
        field(label, &sent.body)?;
        field("signed", &sent.canonical_form)?;
        field("key", &sent.key_id)?;
        if !sent.is_proven {
            field(
                "beware",
                "the row or the log was changed past its triggers: this is not the message of the attempt",
            )?;
        }
    }
    let said = row.response_excerpt.as_deref().unwrap_or_default();
    if row.outcome != Outcome::Acknowledged.as_str() {
        field("answer", said)?;
    }
    Ok(())
}

fn print_note(note: &CommandNote, out: &mut dyn Write) -> std::io::Result<()> {
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

fn attempt_row(attempt: &AttemptReport) -> [String; 9] {
    let attempt = &attempt.row;
    [
        attempt.seq.to_string(),
        attempt.started_at.to_string(),
        format!("{} ms", attempt.duration_ms),
        attempt.outcome.clone(),
        attempt
            .http_status
            .map_or_else(String::new, |status| status.to_string()),
        if attempt.counted { "yes" } else { "no" }.to_owned(),
        attempt.remote_addr.clone().unwrap_or_default(),
        attempt.key_id.clone().unwrap_or_default(),
        attempt.detail.clone(),
    ]
}
