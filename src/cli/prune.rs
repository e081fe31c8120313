//! `prune`: removes what is past its retention now, beside a running dispatcher or without one.

use std::io::Write;
use std::time::Duration;

use indicatif::ProgressBar;

use super::exit::{CommandResult, Exit};
use super::queue::block_on;
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings};
use crate::service::Producer;
use crate::store::Retention;

/// Rows in one transaction: small, so that deliveries and the gateway get their turn between.
const BATCH_ROWS: usize = 200;

/// How often the count on a terminal is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Remove delivered and cancelled callbacks older than this [default: housekeeping.keep_delivered]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    keep_delivered: Option<Duration>,
    /// Remove exhausted callbacks older than this [default: housekeeping.keep_exhausted]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    keep_exhausted: Option<Duration>,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let housekeeping = &settings.housekeeping;
    let now = SystemClock.now();
    let keep_delivered = arguments.keep_delivered;
    let keep_exhausted = arguments.keep_exhausted;
    let retention = Retention {
        delivered_before: now.before(keep_delivered.unwrap_or(housekeeping.keep_delivered)),
        exhausted_before: now.before(keep_exhausted.unwrap_or(housekeeping.keep_exhausted)),
        limit: BATCH_ROWS,
    };
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(DRAW_EVERY);
    let callbacks = block_on(async {
        let mut producer = Producer::open(&settings.store.url).await?;
        let mut callbacks = 0;
        loop {
            let removed = producer.prune(retention).await?;
            callbacks += removed;
            bar.set_message(format!("{callbacks} callbacks pruned"));
            if removed < BATCH_ROWS {
                return Ok(callbacks);
            }
        }
    })?;
    bar.finish_and_clear();
    writeln!(out, "{callbacks} callbacks pruned, with their attempts")?;
    Ok(Exit::Done)
}
