//! `reconcile`: what was owed on a day, whether the gateway's books agree, and whether the chain
//! of days holds.

mod day;
mod pruned;
mod verify;

use std::io::Write;
use std::path::PathBuf;

use super::exit::{CommandResult, Exit};
use super::queue::runtime;
use crate::config::{Inputs, Settings};
use crate::domain::{Day, Offset};
use crate::reconciliation::{Payments, PaymentsError, csv_payments, day_lines, sql_payments};
use crate::service;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["day", "verify"])))]
pub(super) struct Arguments {
    /// The day to look at, for instance 2026-11-24
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<Day>,
    /// Only this app's
    #[arg(long, value_name = "APP_ID", conflicts_with = "verify")]
    app: Option<String>,
    /// How far the day's clocks are ahead of UTC, for instance +07:00 for Laos [default: UTC]
    #[arg(
        long,
        value_name = "±HH:MM",
        conflicts_with = "verify",
        allow_hyphen_values = true
    )]
    offset: Option<Offset>,
    /// The gateway's own results of that day, to hold against the queue: a CSV file
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["verify", "sql"])]
    payments: Option<PathBuf>,
    /// The same, as a query of --sql-database
    #[arg(
        long,
        value_name = "SELECT",
        conflicts_with = "verify",
        requires = "sql_database"
    )]
    sql: Option<String>,
    /// The gateway's SQLite file; it is only read
    #[arg(long, value_name = "FILE", requires = "sql")]
    sql_database: Option<PathBuf>,
    /// Print the lines that the day's digest was made of; their SHA-256 is its rows_sha256
    #[arg(
        long,
        requires = "day",
        conflicts_with_all = ["verify", "app", "offset", "payments", "sql", "json"]
    )]
    lines: bool,
    /// Recompute the audit chain from the rows, and name the first day that differs
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The gateway's books, if any are named.
    fn books(&self) -> Result<Option<Payments>, PaymentsError> {
        match (&self.payments, &self.sql, &self.sql_database) {
            (Some(file), ..) => csv_payments(file).map(Some),
            (None, Some(sql), Some(database)) => sql_payments(database, sql).map(Some),
            _ => Ok(None),
        }
    }
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let runtime = runtime()?;
    let chain = runtime.block_on(service::audit_chain(&settings.store.url))?;
    let chain = chain.as_ref();
    let commands = runtime.block_on(service::commands(&settings.store.url))?;
    let commands = commands.as_ref();
    let Some(day) = arguments.day else {
        return runtime.block_on(verify::run(
            chain,
            commands,
            &settings.housekeeping,
            arguments.json,
            out,
        ));
    };
    if arguments.lines {
        let show = |line: &str| writeln!(out, "{line}");
        runtime.block_on(day_lines(chain, day, show))?;
        return Ok(Exit::Done);
    }
    let books = arguments.books()?;
    let asked = day::Asked {
        day,
        offset: arguments.offset.unwrap_or(Offset::UTC),
        app: arguments.app.as_deref(),
    };
    runtime.block_on(day::run(
        (chain, commands),
        &asked,
        books,
        arguments.json,
        out,
    ))
}
