//! The gateway: a process of its own that INSERTs results at a steady rate.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use callback_dispatcher::clock::Stopwatch;
use rusqlite::Connection;

use crate::common::place::{CALLBACK_PATH, Place};
use crate::common::process::{role, wall_nanos};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[arg(long)]
    queue: PathBuf,
    /// An SQL expression over the number `?1` of the row
    #[arg(long)]
    origin: String,
    #[arg(long)]
    app: String,
    /// How many transactions
    #[arg(long)]
    commits: u32,
    /// Rows in each
    #[arg(long)]
    rows: usize,
    /// Microseconds from one to the next
    #[arg(long)]
    every: u64,
    /// The number of the first row
    #[arg(long)]
    first: usize,
}

/// What a gateway is to do.
pub(crate) struct Load {
    /// An SQL expression over the number `?1` of the row.
    pub(crate) origin: String,
    pub(crate) app: &'static str,
    pub(crate) commits: u32,
    pub(crate) rows: usize,
    pub(crate) every: Duration,
    pub(crate) first: usize,
}

/// A transaction: the number of its first row, and when its COMMIT returned.
pub(crate) struct Commit {
    pub(crate) first: usize,
    pub(crate) at: i128,
}

/// Lets a gateway do `load` on the queue of `place`; returns what it committed, in order.
pub(crate) async fn insert(place: &Place, load: &Load) -> Result<Vec<Commit>> {
    let mut command = role("gateway");
    command.arg("--queue").arg(place.queue());
    command.args(["--origin", &load.origin]);
    command.args(["--app", load.app]);
    command.args(["--commits", &load.commits.to_string()]);
    command.args(["--rows", &load.rows.to_string()]);
    command.args(["--every", &load.every.as_micros().to_string()]);
    command.args(["--first", &load.first.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("its standard output")?;
    tokio::task::spawn_blocking(move || {
        let mut commits = Vec::new();
        for line in BufReader::new(out).lines() {
            let line = line?;
            let (first, at) = line.split_once(' ').context("two numbers")?;
            commits.push(Commit {
                first: first.parse()?,
                at: at.parse()?,
            });
        }
        ensure!(child.wait()?.success(), "the gateway failed");
        Ok(commits)
    })
    .await?
}

pub(crate) async fn run(flags: &Flags) -> Result<()> {
    let db = Connection::open(&flags.queue)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let sql = format!(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
           newpay_order_no, order_no, subject, extra, result, trans_info, settlement_status)
         VALUES ('payment', {} || '{CALLBACK_PATH}', '{}', 1, '188000.00', 'LAK', printf('%d', ?1),
           printf('M%014d', ?1), 'Lao coffee, one kilogram, roasted', 'table 12', 'success',
           'BCELONE', 1)",
        flags.origin, flags.app
    );
    let watch = Stopwatch::start();
    let mut commits = Vec::new();
    for n in 0..flags.commits {
        let due = watch.deadline(Duration::from_micros(flags.every) * n);
        tokio::time::sleep_until(due).await;
        let first = flags.first + flags.rows * usize::try_from(n)?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = db.prepare_cached(&sql)?;
        for number in first..first + flags.rows {
            insert.execute([number])?;
        }
        drop(insert);
        db.execute_batch("COMMIT")?;
        commits.push((first, wall_nanos()));
    }
    let mut out = std::io::stdout().lock();
    for (first, at) in commits {
        writeln!(out, "{first} {at}")?;
    }
    Ok(())
}
