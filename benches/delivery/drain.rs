//! A backlog drained, against the bare client and the bare database.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::merchant::{MerchantSettings, MockMerchant};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::daemon::{Daemon, Setup};
use crate::place::{Fill, Place};
use crate::process;
use crate::report::{self, Spread};

/// How much is measured.
pub(crate) struct Size {
    pub(crate) rounds: usize,
    pub(crate) rows: usize,
    pub(crate) log: String,
}

/// The same for the dispatcher and the bare client.
const IN_FLIGHT: usize = 64;

const PATIENCE: Duration = Duration::from_secs(60);

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

pub(crate) async fn measure(size: &Size, tls: bool) -> Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..size.rounds {
        rounds.push(round(size, tls).await?);
    }
    let over = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    let count = |value: f64| format!("{value:.0}");
    let micros = |value: f64| format!("{value:.1}");
    let ratio = |value: f64| format!("{value:.3}");
    let mebi = |value: f64| format!("{:.1}", value / f64::from(1 << 20));
    let scheme = if tls { "https" } else { "http" };
    report::table(
        &format!(
            "Drain over {scheme}: {} callbacks, {IN_FLIGHT} in flight, log level {}, {} paired rounds",
            size.rows, size.log, size.rounds
        ),
        &["", "minimum", "median", "maximum"],
        &[
            over(|round| round.bare_http.per_second).row("a: bare reqwest, POST/s", count),
            over(|round| round.dispatcher.per_second).row("b: dispatcher, POST/s", count),
            over(|round| round.bare_sqlite.per_second).row("c: bare SQLite, rows/s", count),
            over(|round| round.dispatcher.per_second / round.bare_http.per_second)
                .row("b/a", ratio),
            over(|round| round.dispatcher.per_second / serial(round))
                .row("b over 1/(1/a + 1/c)", ratio),
            over(|round| round.bare_http.cpu_micros).row("a: CPU per POST, microseconds", micros),
            over(|round| round.dispatcher.cpu_micros)
                .row("b: CPU per delivery, microseconds", micros),
            over(|round| round.bare_sqlite.cpu_micros).row("c: CPU per row, microseconds", micros),
            over(|round| round.commits)
                .row("b: commits per delivery", |value| format!("{value:.4}")),
            over(|round| round.dispatcher.peak_rss).row("b: peak RSS, MiB", mebi),
        ],
    );
    Ok(())
}

fn serial(round: &Round) -> f64 {
    1.0 / (1.0 / round.bare_http.per_second + 1.0 / round.bare_sqlite.per_second)
}

async fn round(size: &Size, tls: bool) -> Result<Round> {
    let place = Place::new()?;
    let merchant = merchant(&place, tls).await?;
    let url = merchant.url("/newpay/callback");
    let bare_http = bare_http(&place, &merchant, &url, size.rows, tls).await?;
    let (dispatcher, commits) = dispatcher(&place, &merchant, &url, size, tls).await?;
    merchant.stop().await;
    let group = (1.0 / commits).round().max(1.0);
    let bare_sqlite = bare_sqlite(&url, size.rows, group)?;
    Ok(Round {
        bare_http,
        dispatcher,
        bare_sqlite,
        commits,
    })
}

async fn bare_http(
    place: &Place,
    merchant: &MockMerchant,
    url: &str,
    posts: usize,
    tls: bool,
) -> Result<Cost> {
    let mut command = role("bare-http");
    command.args(["--url", url, "--posts", &posts.to_string()]);
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
    url: &str,
    size: &Size,
    tls: bool,
) -> Result<(Cost, f64)> {
    let rows = size.rows;
    place.fill(&Fill {
        rows,
        url: &format!("'{url}'"),
        due: "1760000000000 + n",
    })?;
    let setup = Setup {
        in_flight: IN_FLIGHT,
        in_flight_per_merchant: IN_FLIGHT,
        timeout: Duration::from_secs(10),
        log: size.log.clone(),
        ca_file: if tls { "ca.pem" } else { "" },
    };
    let before = merchant.count();
    let daemon = Daemon::start(place, &setup)?;
    let elapsed = all_arrived(merchant, before, rows).await?;
    let cost = Cost {
        per_second: rate(rows, elapsed),
        cpu_micros: micros(daemon.cpu()?, rows),
        peak_rss: daemon.peak_rss()? as f64,
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

fn bare_sqlite(url: &str, rows: usize, group: f64) -> Result<Cost> {
    let place = Place::new()?;
    place.fill(&Fill {
        rows,
        url: &format!("'{url}'"),
        due: "1760000000000 + n",
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

/// From the first POST's arrival to the last one's.
async fn all_arrived(merchant: &MockMerchant, before: usize, posts: usize) -> Result<Duration> {
    timeout(PATIENCE, merchant.wait_for(before + 1)).await?;
    let watch = Stopwatch::start();
    let mut look = tokio::time::interval(Duration::from_millis(1));
    let arrived = async {
        while merchant.count() < before + posts {
            look.tick().await;
        }
    };
    timeout(PATIENCE, arrived)
        .await
        .with_context(|| format!("{} of {posts} arrived", merchant.count() - before))?;
    Ok(watch.elapsed())
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn micros(cpu: Duration, count: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}

fn cost(pid: u32, count: usize, elapsed: Duration) -> Result<Cost> {
    Ok(Cost {
        per_second: rate(count, elapsed),
        cpu_micros: micros(process::cpu(pid)?, count),
        peak_rss: process::peak_rss(pid)? as f64,
    })
}

/// This program in another role. It ends when its standard input does.
fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg(name).stdin(Stdio::piped());
    command
}

fn end(child: &mut Child) -> Result<()> {
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(status.success(), "a reference ended with {status}");
    Ok(())
}

async fn merchant(place: &Place, tls: bool) -> Result<MockMerchant> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let settings = MerchantSettings {
        tls: if tls {
            Some(certificate(&place.path("ca.pem"))?)
        } else {
            None
        },
        remember: 0,
        ..MerchantSettings::default()
    };
    Ok(MockMerchant::start(listener, settings)?)
}

/// A certificate for loopback, which is its own authority, written to `ca`.
fn certificate(ca: &Path) -> Result<Arc<rustls::ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(ca, made.cert.pem())?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(Arc::new(config))
}
