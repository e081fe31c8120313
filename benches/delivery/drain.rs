//! A backlog drained, against the bare client and the bare database.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use callback_dispatcher::merchant::MockMerchant;

use crate::common::daemon::{Daemon, Setup};
use crate::common::merchants::{self, all_arrived};
use crate::common::place::{CALLBACK_PATH, Fill, PAST, Place};
use crate::common::process::{self, end, role};
use crate::common::report::{self, Figures, Goal, Spread};

/// How much is measured.
#[derive(Clone)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    pub(crate) rows: usize,
    pub(crate) log: String,
}

/// The same for the dispatcher and the bare client.
const IN_FLIGHT: usize = 64;

/// What one side took.
#[derive(Clone, Copy)]
struct Cost {
    per_second: f64,
    cpu_micros: f64,
    peak_rss: f64,
}

struct Round {
    bare_http: Cost,
    dispatcher: Cost,
    bare_sqlite: Cost,
    commits: f64,
}

/// Returns how many callbacks a second the dispatcher has delivered.
pub(crate) async fn measure(size: &Size, tls: bool, figures: &mut Figures) -> Result<f64> {
    let mut rounds = Vec::new();
    for _ in 0..size.rounds {
        rounds.push(round(size, tls).await?);
    }
    let over = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    let b = over(|round| round.dispatcher.per_second);
    let b_to_a = over(|round| round.dispatcher.per_second / round.bare_http.per_second);
    let b_to_serial = over(|round| round.dispatcher.per_second / serial(round));
    let commits = over(|round| round.commits);
    let peak_rss = over(|round| round.dispatcher.peak_rss);
    if tls {
        figures.add("drain over TLS, b/a", b_to_a.median, "", Goal::AtLeast(0.6));
    } else {
        figures.add("drain, b/a", b_to_a.median, "", Goal::AtLeast(0.55));
        let name = "drain, b over the serial composite";
        figures.add(name, b_to_serial.median, "", Goal::AtLeast(0.9));
        figures.add(
            "commits per delivery",
            commits.median,
            "",
            Goal::AtMost(0.02),
        );
    }
    let count = |value: f64| format!("{value:.0}");
    let micros = |value: f64| format!("{value:.1}");
    let ratio = |value: f64| format!("{value:.3}");
    let scheme = if tls { "https" } else { "http" };
    report::spreads(
        &format!(
            "Drain over {scheme}: {} callbacks, {IN_FLIGHT} in flight, log level {}, {} paired rounds",
            size.rows, size.log, size.rounds
        ),
        &[
            over(|round| round.bare_http.per_second).row("a: bare reqwest, POST/s", count),
            b.row("b: dispatcher, POST/s", count),
            over(|round| round.bare_sqlite.per_second).row("c: bare SQLite, rows/s", count),
            b_to_a.row("b/a", ratio),
            b_to_serial.row("b over 1/(1/a + 1/c)", ratio),
            over(|round| round.bare_http.cpu_micros).row("a: CPU per POST, microseconds", micros),
            over(|round| round.dispatcher.cpu_micros)
                .row("b: CPU per delivery, microseconds", micros),
            over(|round| round.bare_sqlite.cpu_micros).row("c: CPU per row, microseconds", micros),
            commits.row("b: commits per delivery", |value| format!("{value:.4}")),
            peak_rss.row("b: peak RSS, MiB", |value| format!("{value:.1}")),
        ],
    );
    Ok(b.median)
}

fn serial(round: &Round) -> f64 {
    1.0 / (1.0 / round.bare_http.per_second + 1.0 / round.bare_sqlite.per_second)
}

async fn round(size: &Size, tls: bool) -> Result<Round> {
    let place = Place::new()?;
    place.close_days().await?;
    let certificate = place.path("ca.pem");
    let merchant = merchants::acknowledging(tls.then_some(&certificate)).await?;
    let bare_http = bare_http(&place, &merchant, size.rows, tls).await?;
    let (dispatcher, commits) = dispatcher(&place, &merchant, size, tls).await?;
    merchant.stop().await;
    let group = (1.0 / commits).round().max(1.0);
    let bare_sqlite = bare_sqlite(size.rows, group)?;
    Ok(Round {
        bare_http,
        dispatcher,
        bare_sqlite,
        commits,
    })
}

fn origin(merchant: &MockMerchant, tls: bool) -> String {
    let plain = merchants::origin(merchant);
    if tls {
        plain.replace("http:", "https:")
    } else {
        plain
    }
}

async fn bare_http(
    place: &Place,
    merchant: &MockMerchant,
    posts: usize,
    tls: bool,
) -> Result<Cost> {
    let mut command = role("bare-http");
    command.args(["--url", &(origin(merchant, tls) + CALLBACK_PATH)]);
    command.args(["--posts", &posts.to_string()]);
    command.args(["--in-flight", &IN_FLIGHT.to_string()]);
    if tls {
        command.arg("--ca").arg(place.path("ca.pem"));
    }
    let before = merchant.count();
    let mut child = command.spawn()?;
    let elapsed = all_arrived(merchant, before, posts).await?;
    let cost = cost(child.id(), posts, elapsed)?;
    end(&mut child)?;
    Ok(cost)
}

async fn dispatcher(
    place: &Place,
    merchant: &MockMerchant,
    size: &Size,
    tls: bool,
) -> Result<(Cost, f64)> {
    let rows = size.rows;
    place.fill(&Fill {
        rows,
        origin: &format!("'{}'", origin(merchant, tls)),
        due: PAST,
    })?;
    let setup = Setup {
        in_flight: IN_FLIGHT,
        in_flight_per_merchant: IN_FLIGHT,
        log: size.log.clone(),
        ca_file: if tls { "ca.pem" } else { "" },
        ..Setup::default()
    };
    let before = merchant.count();
    let daemon = Daemon::start(place, &setup)?;
    let elapsed = all_arrived(merchant, before, rows).await?;
    let cost = Cost {
        per_second: rate(rows, elapsed),
        cpu_micros: micros(daemon.cpu()?, rows),
        peak_rss: daemon.peak_rss_mebi()?,
    };
    let commits = daemon.commits()? as f64 / rows as f64;
    daemon.stop()?;
    let delivered = place.count("delivered")?;
    ensure!(
        delivered == rows,
        "{delivered} of {rows} were recorded as delivered"
    );
    let posts = merchant.count() - before;
    ensure!(posts == rows, "{posts} POSTs for {rows} callbacks");
    Ok((cost, commits))
}

fn bare_sqlite(rows: usize, group: f64) -> Result<Cost> {
    let place = Place::new()?;
    place.fill(&Fill {
        rows,
        origin: "'http://127.0.0.1:9'",
        due: PAST,
    })?;
    let mut command = role("bare-sqlite");
    command.arg("--queue").arg(place.queue());
    command.args(["--group", &group.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("its standard output")?;
    BufReader::new(out).read_line(&mut line)?;
    let (written, seconds) = line.trim().split_once(' ').context("rows and seconds")?;
    ensure!(
        written.parse::<usize>()? == rows,
        "wrote {written} of {rows}"
    );
    let cost = cost(child.id(), rows, Duration::from_secs_f64(seconds.parse()?))?;
    end(&mut child)?;
    Ok(cost)
}

pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn micros(cpu: Duration, count: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}

fn cost(pid: u32, count: usize, elapsed: Duration) -> Result<Cost> {
    Ok(Cost {
        per_second: rate(count, elapsed),
        cpu_micros: micros(process::cpu(pid)?, count),
        peak_rss: 0.0,
    })
}
