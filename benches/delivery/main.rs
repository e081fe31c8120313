//! How fast callbacks are delivered, as ratios against references measured in the same run.
//!
//! `cargo bench --bench delivery` takes under two minutes; `-- --full` takes every figure of
//! `docs/performance.md` at its full size. `-- --help` tells the rest.
//!
//! This process is the merchant and the judge. The dispatcher is the real program, `run` on a
//! queue file with default durability; the references and the gateway are this program again, in
//! a role of its own ([`roles`]), so that the CPU and memory of each is its own.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark is there to print its tables"
)]

mod bare_http;
mod bare_sqlite;
#[path = "../common/mod.rs"]
mod common;
mod depth;
mod drain;
mod gateway;
mod lag;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use common::program;
use common::report::{self, Figures};

/// Measures the dispatcher against the bare HTTP client and the bare database.
#[derive(Debug, Parser)]
#[command(name = "delivery")]
struct Flags {
    #[command(subcommand)]
    role: Option<Role>,
    /// Measures only these (drain, tls, lag, half-hangs, one-app-hangs, memory, finished, idle, start,
    /// hanging-backlog); may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Takes every figure at its full size: about eighteen minutes, and 8 GB in the temporary folder
    #[arg(long)]
    full: bool,
    /// Paired rounds of each drain [default: 5, or 15 with --full]
    #[arg(long)]
    rounds: Option<usize>,
    /// Callbacks drained in a round
    #[arg(long, default_value_t = 50_000)]
    rows: usize,
    /// Another build of the program: all that is measured is measured of both in turn, and the ratios
    /// are printed (its own at 1; a rate above, a time or a size below is better)
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// With --against: how often the two take turns
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Level of the dispatcher's log, which goes to a file
    #[arg(long, default_value = "info")]
    log: String,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Flags {
    fn size<T>(&self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }
}

/// What this program is when it starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// Sends the same POST over and over with nothing but reqwest
    #[command(hide = true)]
    BareHttp(bare_http::Flags),
    /// Makes the dispatcher's writes with nothing but SQLite
    #[command(hide = true)]
    BareSqlite(bare_sqlite::Flags),
    /// INSERTs results as the gateway does
    #[command(hide = true)]
    Gateway(gateway::Flags),
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match flags.role {
            Some(Role::BareHttp(flags)) => bare_http::run(flags).await,
            Some(Role::BareSqlite(flags)) => bare_sqlite::run(&flags),
            Some(Role::Gateway(flags)) => gateway::run(&flags).await,
            None => match &flags.against {
                Some(other) => compare(&flags, other).await,
                None => measure(&flags).await.map(|figures| figures.print()),
            },
        }
    })
}

/// Measures this build and `other` in turn. Both are warm after the first figure of the first turn.
async fn compare(flags: &Flags, other: &Path) -> Result<()> {
    let mut pairs = Vec::new();
    for turn in 0..flags.turns {
        program::measure(Some(other.to_owned()));
        let theirs = measure(flags).await?;
        program::measure(None);
        pairs.push((measure(flags).await?, theirs));
        println!("\nturn {} of {} done", turn + 1, flags.turns);
    }
    report::ratios(&pairs);
    Ok(())
}

async fn measure(flags: &Flags) -> Result<Figures> {
    let wanted = |name: &str| flags.only.is_empty() || flags.only.iter().any(|only| only == name);
    let size = drain::Size {
        rounds: flags.rounds.unwrap_or(flags.size(5, 15)),
        rows: flags.rows,
        log: flags.log.clone(),
    };
    let mut figures = Figures::default();
    let mut drain_rate = None;
    if wanted("drain") {
        drain_rate = Some(drain::measure(&size, false, &mut figures).await?);
    }
    if wanted("tls") {
        drain::measure(&size, true, &mut figures).await?;
    }
    if wanted("lag") {
        let rate = match drain_rate {
            Some(rate) => rate,
            None => {
                let once = drain::Size {
                    rounds: 1,
                    ..size.clone()
                };
                drain::measure(&once, false, &mut Figures::default()).await?
            }
        };
        lag::measure(rate, flags.size(10, 60), &mut figures).await?;
    }
    if wanted("half-hangs") {
        lag::half_hangs(flags.size(1, 11), flags.size(8, 20), &mut figures).await?;
    }
    if wanted("one-app-hangs") {
        lag::one_app_hangs(5_000, flags.size(20, 60), &mut figures).await?;
    }
    if wanted("memory") {
        depth::memory(
            flags.size(100_000, 1_000_000),
            flags.size(1, 3),
            &mut figures,
        )
        .await?;
    }
    if wanted("finished") {
        let rounds = flags.size(1, 5);
        depth::finished(
            flags.size(100_000, 5_000_000),
            flags.rows,
            rounds,
            &mut figures,
        )
        .await?;
    }
    if wanted("idle") {
        let half = Duration::from_secs(flags.size(3, 120));
        depth::idle(flags.size(100_000, 1_000_000), half, &mut figures).await?;
    }
    if wanted("start") {
        depth::start(
            flags.size(100_000, 1_000_000),
            flags.size(3, 5),
            &mut figures,
        )
        .await?;
    }
    if wanted("hanging-backlog") {
        let rounds = flags.size(1, 5);
        depth::hanging_backlog(flags.size(200_000, 1_000_000), rounds, &mut figures).await?;
    }
    Ok(figures)
}
