//! `show`: a callback's whole story.

use std::io::Write;

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::queue::inspect;
use super::table::{self, visible};
use crate::config::Inputs;
use crate::domain::{Outcome, Timestamp};
use crate::explanation;
use crate::store::{AttemptRow, CallbackRow, Inspection};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A callback's id, or an order number or refund number of either side
    order: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Story {
    callback: CallbackRow,
    attempts: Vec<AttemptRow>,
    /// What to tell the merchant.
    tell_merchant: String,
}

pub(super) fn run(
    arguments: &Arguments,
    inputs: &Inputs,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let order = &arguments.order;
    let stories = inspect(inputs, |queue| tell(queue, order))?;
    if stories.is_empty() {
        return Err(anyhow!(
            "no callback with id, order number or refund number {order:?}; it was never queued, \
             or it was pruned after its retention"
        )
        .into());
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &stories)?;
        writeln!(out)?;
    } else {
        for story in &stories {
            print(story, out)?;
        }
    }
    Ok(Exit::Done)
}

async fn tell(queue: Box<dyn Inspection>, order: &str) -> Result<Vec<Story>, Failure> {
    let mut stories = Vec::new();
    for callback in queue.find(order).await? {
        let attempts = queue.attempts(callback.id).await?;
        stories.push(Story {
            tell_merchant: explanation::for_merchant(&callback, &attempts),
            callback,
            attempts,
        });
    }
    Ok(stories)
}

fn print(story: &Story, out: &mut dyn Write) -> std::io::Result<()> {
    let row = &story.callback;
    writeln!(out, "callback {}: {} {}", row.id, row.kind, row.state)?;
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
    field("next attempt", &moment(row.next_attempt_at))?;
    field("finished", &moment(row.finished_at))?;
    if story.attempts.is_empty() {
        writeln!(out, "\nno attempt yet")?;
    } else {
        writeln!(out)?;
        let header = [
            "#", "started", "took", "outcome", "HTTP", "counted", "from", "key", "detail",
        ];
        table::print(out, header, story.attempts.iter().map(attempt_row))?;
    }
    for attempt in &story.attempts {
        print_answer(attempt, out)?;
    }
    writeln!(
        out,
        "\ntell the merchant:\n  {}\n",
        visible(&story.tell_merchant)
    )
}

/// What the merchant said instead of an acknowledgement, if it said anything.
fn print_answer(attempt: &AttemptRow, out: &mut dyn Write) -> std::io::Result<()> {
    let said = attempt.response_excerpt.as_deref().unwrap_or_default();
    if said.is_empty() || attempt.outcome == Outcome::Acknowledged.as_str() {
        return Ok(());
    }
    writeln!(out, "answer to attempt {}: {}", attempt.seq, visible(said))
}

fn attempt_row(attempt: &AttemptRow) -> [String; 9] {
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
