//! How fast several dispatchers drain one queue in PostgreSQL, against SQLite in the same run.
//!
//! `cargo bench --bench fleet` takes about three minutes; `-- --help` tells the rest. It needs the
//! package of a PostgreSQL server with its contrib modules, and starts servers of its own.
//!
//! This process is the merchants and the judge. The dispatchers are the real program, `run` with
//! its default durability; the server commits as it does by default, to the disk (`fsync`,
//! `synchronous_commit`). What it was asked is read from pg_stat_statements.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark is there to print its tables"
)]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
#[path = "../common/mod.rs"]
mod common;
mod drain;
#[expect(dead_code, reason = "the tests' server, of which they use more")]
#[path = "../../tests/it/support/postgres/mod.rs"]
mod postgres;
mod server;
mod snapshot;
mod tables;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use callback_dispatcher::merchant::Answer;
use clap::Parser;

use common::merchants;
use common::report::Figures;
use drain::{Size, Store};
use server::Server;
use tables::Round;

/// Measures dispatchers on PostgreSQL: one, two and three, against one on SQLite.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
struct Flags {
    /// Measures only these (instant, slow, snapshot); may be repeated. The last, ten times 120,000 callbacks
    /// by default, is measured only if it is named, and takes a quarter of an hour
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Paired rounds of each
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Callbacks drained from instant merchants; from slow ones a quarter of it for each dispatcher
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    /// Attempts in flight of each dispatcher
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Callbacks in each of the ten parts of `snapshot`
    #[arg(long, default_value_t = 120_000)]
    part: usize,
    /// Another build of the program, which is measured instead
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// After which the slow merchants answer: so long that two cores have time to spare.
const SLOW: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&flags))
}

async fn measure(flags: &Flags) -> Result<()> {
    let wanted = |name: &str| flags.only.is_empty() || flags.only.iter().any(|only| only == name);
    let mut figures = Figures::default();
    common::program::measure(flags.program.clone());
    if flags.only.iter().any(|only| only == "snapshot") {
        let size = snapshot::Size {
            rows: flags.part,
            parts: 10,
        };
        snapshot::measure(size, &mut figures).await?;
    }
    if wanted("instant") {
        let size = |_| Size {
            rows: flags.rows,
            in_flight: flags.in_flight,
        };
        let rounds = rounds(flags.rounds, None, size).await?;
        let title = format!("{} callbacks to instant merchants", flags.rows);
        tables::print(&title, flags.in_flight, &rounds);
        tables::instant(&rounds, &mut figures);
    }
    if wanted("slow") {
        // As long for three as for one: what a start and an end cost weighs the same.
        let size = |dispatchers| Size {
            rows: flags.rows / 2 * dispatchers,
            in_flight: flags.in_flight,
        };
        let rounds = rounds(flags.rounds, Some(SLOW), size).await?;
        let title = format!(
            "{} callbacks for each dispatcher, to merchants that answer after {SLOW:?}",
            flags.rows / 2
        );
        tables::print(&title, flags.in_flight, &rounds);
        tables::slow(&rounds, &mut figures);
    }
    figures.print();
    Ok(())
}

async fn rounds(
    number: usize,
    after: Option<Duration>,
    size: impl Fn(usize) -> Size,
) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for _ in 0..number {
        let merchant = match after {
            None => merchants::acknowledging(None).await?,
            Some(after) => merchants::start(Answer::Slow(after).into(), None).await?,
        };
        let server = Server::start()?;
        let sqlite = drain::measure(&Store::Sqlite, 1, size(1), &merchant).await?;
        let mut fleets = Vec::new();
        for dispatchers in 1..=3 {
            let store = Store::Postgres(&server);
            fleets.push(drain::measure(&store, dispatchers, size(dispatchers), &merchant).await?);
        }
        merchant.stop().await;
        rounds.push(Round { sqlite, fleets });
    }
    Ok(rounds)
}
