//! `stats`: the queue in numbers.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::exit::{CommandResult, Failure};
use super::json;
use super::queue::inspect;
use super::table;
use super::watch::WatchArguments;
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings, StoreUrl};
use crate::domain::{Timestamp, visible};
use crate::health::{Trouble, TroubleKind, troubles};
use crate::service;
use crate::store::{HeldSnapshot, Inspection, LoweredLimit, MerchantRow, Pause, ShownState};

/// Origins whose lowered limits are printed; `--json` has more.
const LOWERED_SHOWN_MAX: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: WatchArguments,
}

/// A snapshot that is held for as long is worth a line.
const SNAPSHOT_TOLD_S: u64 = 10;

#[derive(Serialize)]
struct Numbers {
    /// The queue that was asked.
    queue: String,
    /// What needs a person, the most urgent first.
    health: Vec<Trouble>,
    depth: std::collections::BTreeMap<&'static str, u64>,
    oldest_due: Option<Timestamp>,
    oldest_due_seconds: u64,
    paused: Vec<Pause>,
    /// The transaction that has kept dead rows from being cleaned up for the longest time.
    oldest_snapshot: Option<HeldSnapshot>,
    merchants: Vec<MerchantRow>,
    /// Origins that get fewer callbacks at a time than they did.
    lowered_limits: Vec<LoweredLimit>,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    arguments
        .watch
        .run(out, |out| print(arguments.json, inputs, out))
}

pub(super) fn print(is_json: bool, inputs: &Inputs, out: &mut dyn Write) -> Result<(), Failure> {
    let url = Settings::load(inputs)?.store.url;
    let numbers = inspect(inputs, async move |queue| count(queue, &url).await)?;
    if is_json {
        json::print(out, &numbers)?;
        return Ok(());
    }
    writeln!(out, "queue: {}", visible(&numbers.queue))?;
    if numbers.health.is_empty() {
        writeln!(out, "nothing needs a person")?;
    }
    for trouble in &numbers.health {
        let word = if trouble.kind.is_bad() {
            "trouble"
        } else {
            "note"
        };
        writeln!(out, "{word}: {}", visible(&trouble.text))?;
    }
    writeln!(out)?;
    let depth = ShownState::ALL.map(|state| {
        let count = numbers
            .depth
            .get(state.as_str())
            .copied()
            .unwrap_or_default();
        [state.to_string(), count.to_string()]
    });
    table::print(out, ["state", "callbacks"], depth)?;
    match numbers.oldest_due {
        Some(due) if numbers.oldest_due_seconds > 0 => {
            writeln!(
                out,
                "oldest due: {due}, {} s ago",
                numbers.oldest_due_seconds
            )?;
        }
        Some(due) => writeln!(out, "next due: {due}")?,
        None => writeln!(out, "nothing is waiting")?,
    }
    if let Some(HeldSnapshot { seconds, holder }) = &numbers.oldest_snapshot
        && *seconds >= SNAPSHOT_TOLD_S
    {
        writeln!(
            out,
            "oldest snapshot: {seconds} s, held by {}; claims get slower until it ends",
            visible(holder)
        )?;
    }
    let header = [
        "app",
        "pending",
        "retrying",
        "delivered 24 h",
        "exhausted 24 h",
        "success",
        "mean lag",
    ];
    table::print(out, header, numbers.merchants.iter().map(merchant))?;
    if !numbers.lowered_limits.is_empty() {
        let header = ["origin", "at a time", "since", "because"];
        let shown = numbers.lowered_limits.iter().take(LOWERED_SHOWN_MAX);
        table::print(out, header, shown.map(lowered))?;
    }
    if numbers.lowered_limits.len() > LOWERED_SHOWN_MAX {
        writeln!(
            out,
            "and {} more: see the table learned_limit",
            numbers.lowered_limits.len() - LOWERED_SHOWN_MAX
        )?;
    }
    Ok(())
}

async fn count(queue: Arc<dyn Inspection>, url: &StoreUrl) -> Result<Numbers, Failure> {
    let stats = queue.stats().await?;
    let now = SystemClock.now();
    let mut health = Vec::new();
    if let Some(displaced) = queue.displaced().await? {
        health.push(Trouble::at_home(TroubleKind::Queue, displaced));
    }
    if service::has_dispatcher(url).await == Some(false) {
        let text = "no dispatcher works on this queue; nothing is sent until one is started";
        health.push(Trouble::at_home(TroubleKind::Dispatcher, text));
    }
    health.extend(troubles(&queue.troubled(now).await?, &stats.paused, now));
    Ok(Numbers {
        queue: url.name(),
        health,
        depth: stats
            .depth
            .iter()
            .map(|(state, count)| (state.as_str(), *count))
            .collect(),
        oldest_due: stats.oldest_due,
        oldest_due_seconds: stats.oldest_due.map_or(0, |due| now.since(due).as_secs()),
        paused: stats.paused,
        oldest_snapshot: queue.oldest_snapshot().await?,
        merchants: queue.merchants().await?,
        lowered_limits: queue.lowered_limits().await?,
    })
}

fn lowered(limit: &LoweredLimit) -> [String; 4] {
    [
        visible(&limit.origin.as_text()).to_string(),
        limit.at_most.to_string(),
        limit.fell_at.to_string(),
        limit.reason.clone(),
    ]
}

fn merchant(row: &MerchantRow) -> [String; 7] {
    [
        row.app_id.clone(),
        row.pending.to_string(),
        row.retrying.to_string(),
        row.delivered_24h.to_string(),
        row.exhausted_24h.to_string(),
        row.delivered_percent_24h
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
        row.mean_lag_seconds_24h
            .map_or_else(|| "-".to_owned(), |lag| format!("{lag} s")),
    ]
}
