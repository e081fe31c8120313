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
mod daemon;
mod drain;
mod place;
mod process;
mod report;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures the dispatcher against the bare HTTP client and the bare database.
#[derive(Debug, Parser)]
#[command(name = "delivery")]
struct Flags {
    #[command(subcommand)]
    role: Option<Role>,
    /// Measures only these; all if none is named
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Paired rounds of each drain
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Callbacks drained in a round
    #[arg(long, default_value_t = 50_000)]
    rows: usize,
    /// Level of the dispatcher's log, which goes to a file
    #[arg(long, default_value = "info")]
    log: String,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
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
            None => measure(&flags).await,
        }
    })
}

async fn measure(flags: &Flags) -> Result<()> {
    let wanted = |name: &str| flags.only.is_empty() || flags.only.iter().any(|only| only == name);
    let size = drain::Size {
        rounds: flags.rounds,
        rows: flags.rows,
        log: flags.log.clone(),
    };
    for (name, tls) in [("drain", false), ("tls", true)] {
        if wanted(name) {
            drain::measure(&size, tls).await?;
        }
    }
    Ok(())
}
