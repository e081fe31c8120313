//! `transfer`: moves the queue to another database.

use std::io::Write;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{CommandResult, Exit, Failure};
use super::queue::block_on;
use super::table;
use crate::clock::SystemClock;
use crate::config::{Inputs, StoreUrl};
use crate::service::{self, Route, TransferProgress, Transferred};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The queue that is left: sqlite:FILE or postgres://…, or env:NAME for a variable that holds it
    #[arg(long, value_name = "URL")]
    from: String,
    /// The database that it moves to, which is made if need be; as --from
    #[arg(long, value_name = "URL")]
    to: String,
    /// Take the queue back into use whose transfer is not finished
    #[arg(long, conflicts_with = "replace_unfit")]
    abandon: bool,
    /// Put U+FFFD in place of characters that the new database can't hold, except in callback_queue
    #[arg(long)]
    replace_unfit: bool,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let route = Route {
        from: url("--from", &arguments.from, inputs)?,
        to: url("--to", &arguments.to, inputs)?,
    };
    if arguments.abandon {
        let left = block_on(async { Ok(service::abandon(&route, &SystemClock).await?) })?;
        writeln!(
            out,
            "{} is in use again; remove the unfinished copy {left}",
            route.from.name()
        )?;
        return Ok(Exit::Done);
    }
    let bar = bar();
    let mut draw = |progress: TransferProgress| {
        bar.set_length(progress.of);
        bar.set_position(progress.rows);
        bar.set_message(format!("{} {}", progress.doing, progress.table));
    };
    let done = block_on(async {
        let replace_unfit = arguments.replace_unfit;
        Ok(service::transfer(&route, replace_unfit, &SystemClock, &mut draw).await?)
    });
    bar.finish_and_clear();
    match done? {
        Transferred::Now(tables) => {
            let rows = tables
                .into_iter()
                .map(|table| [table.name.to_owned(), table.rows.to_string(), table.sha256]);
            table::print(out, ["table", "rows", "SHA-256 at both ends"], rows)?;
            writeln!(
                out,
                "{} has moved to {}; set store.url to that one",
                route.from.name(),
                route.to.name()
            )?;
        }
        Transferred::Already => writeln!(
            out,
            "{} has moved to {} before; nothing was changed",
            route.from.name(),
            route.to.name()
        )?,
    }
    Ok(Exit::Done)
}

/// Reads a URL. One with a password has no business on a command line, which all users see.
fn url(option: &str, text: &str, inputs: &Inputs) -> Result<StoreUrl, Failure> {
    let variable = text.strip_prefix("env:").map(std::env::var);
    let text = match variable {
        None => text.to_owned(),
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            return Err(Failure::unusable(anyhow!("{option} {text}: {error}")));
        }
    };
    StoreUrl::of_argument(&text, inputs)
        .map_err(|fault| Failure::unusable(anyhow!("{option}: {fault}")))
}

/// Drawn on standard error, and only if that is a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}, {pos} of {len} rows");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
