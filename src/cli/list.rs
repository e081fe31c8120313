//! `list`: callbacks by filter, newest first.

use std::io::Write;

use super::exit::{CommandResult, Failure};
use super::json;
use super::moment;
use super::queue::inspect;
use super::table;
use super::watch::WatchArguments;
use crate::config::Inputs;
use crate::domain::{Outcome, Timestamp};
use crate::store::{CallbackRow, Filter, ShownState};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// pending, in_flight, delivered, exhausted or cancelled
    #[arg(long)]
    state: Option<ShownState>,
    /// Only this app's
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// Queued since then: a date, a moment (2026-11-01T00:00:00Z) or an age (2h, 3d)
    #[arg(long, value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Whose newest attempt ended so, for instance timeout
    #[arg(long)]
    outcome: Option<Outcome>,
    /// At most this many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: WatchArguments,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    arguments
        .watch
        .run(out, |out| print(arguments, inputs, out))
}

fn print(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> Result<(), Failure> {
    let filter = Filter {
        state: arguments.state,
        app_id: arguments.app.clone(),
        since: arguments.since,
        outcome: arguments.outcome.map(|outcome| outcome.as_str().to_owned()),
        limit: arguments.limit,
    };
    let rows = inspect(inputs, async move |queue| Ok(queue.list(filter).await?))?;
    if arguments.json {
        json::print(out, &rows)?;
        return Ok(());
    }
    let header = [
        "id",
        "kind",
        "state",
        "app",
        "order",
        "attempts",
        "last outcome",
        "next or finished",
        "origin",
    ];
    table::print(out, header, rows.iter().map(row))?;
    if rows.len() == arguments.limit {
        writeln!(out, "perhaps more: raise --limit")?;
    }
    Ok(())
}

fn row(row: &CallbackRow) -> [String; 9] {
    let order = row.refund_order_no.as_ref().unwrap_or(&row.order_no);
    let moment = row.next_attempt_at.or(row.finished_at);
    [
        row.id.to_string(),
        row.kind.clone(),
        row.state.to_string(),
        row.app_id.clone(),
        order.clone(),
        row.attempts.to_string(),
        row.last_outcome.clone().unwrap_or_default(),
        moment.map_or_else(String::new, |moment| moment.to_string()),
        row.origin.to_string(),
    ]
}
