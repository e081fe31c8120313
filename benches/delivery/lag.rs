//! From the gateway's COMMIT to the merchant.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callback_dispatcher::clock::Stopwatch;

use crate::common::daemon::{Daemon, Setup};
use crate::common::merchants::{self, Arrivals};
use crate::common::place::{Fill, PAST, Place};
use crate::common::report::{self, Figures, Goal, percentile};
use crate::gateway::{self, Commit, Load};

/// How long what was committed may take to arrive at last.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that are `committed`, in milliseconds from the commit to the arrival.
fn lags(commits: &[Commit], rows: usize, arrivals: &[(usize, i128)]) -> Vec<f64> {
    arrivals
        .iter()
        .filter_map(|(number, arrived)| {
            let place = commits.partition_point(|commit| commit.first <= *number);
            let commit = commits.get(place.checked_sub(1)?)?;
            // A merchant may have it before the gateway's COMMIT has returned.
            let nanos = (arrived - commit.at).max(0);
            (*number < commit.first + rows).then_some(nanos as f64 / 1e6)
        })
        .collect()
}

/// Waits until `wanted` arrivals have come in all.
async fn gather(arrivals: &Arrivals, wanted: usize) -> Result<Vec<(usize, i128)>> {
    let watch = Stopwatch::start();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let mut gathered = arrivals.take();
    while gathered.len() < wanted {
        let missing = wanted - gathered.len();
        ensure!(
            watch.elapsed() < PATIENCE,
            "{missing} of {wanted} have not arrived"
        );
        look.tick().await;
        gathered.extend(arrivals.take());
    }
    Ok(gathered)
}

/// Idle, and at half of `drain_rate`.
pub(crate) async fn measure(drain_rate: f64, seconds: u32, figures: &mut Figures) -> Result<()> {
    let arrivals = Arc::new(Arrivals::default());
    let merchant = merchants::watching(&arrivals).await?;
    let place = Place::new()?;
    let daemon = Daemon::start(&place, &Setup::default())?;
    let origin = format!("'{}'", merchants::origin(&merchant));
    let load = |first, rows, every: Duration| Load {
        origin: origin.clone(),
        app: "6",
        commits: u32::try_from(u128::from(seconds) * 1_000_000 / every.as_micros()).unwrap_or(1),
        rows,
        every,
        first,
    };
    // Out of step with every timer of the dispatcher.
    let idle = load(1, 1, Duration::from_micros(99_700));
    let each = Duration::from_millis(5);
    let rows = (drain_rate / 2.0 * each.as_secs_f64()).round().max(1.0);
    let busy = load(1_000_001, rows as usize, each);
    let mut table = Vec::new();
    for (name, load) in [("10/s", &idle), ("half of the drain rate", &busy)] {
        let commits = gateway::insert(&place, load).await?;
        let wanted = load.rows * commits.len();
        let lags = lags(&commits, load.rows, &gather(&arrivals, wanted).await?);
        let [p50, p99] = [50, 99].map(|percent| percentile(&lags, percent));
        if load.rows == 1 {
            let name = "commit to arrival when idle";
            figures.add(format!("{name}, p50"), p50, " ms", Goal::AtMost(2.0));
            figures.add(format!("{name}, p99"), p99, " ms", Goal::AtMost(8.0));
        } else {
            let name = "commit to arrival at half of the drain rate, p99";
            figures.add(name, p99, " ms", Goal::AtMost(50.0));
        }
        let (first, last) = (commits[0].at, commits[commits.len() - 1].at);
        let rate = (wanted - load.rows) as f64 / ((last - first) as f64 / 1e9);
        table.push(vec![
            name.to_owned(),
            format!("{rate:.0}"),
            format!("{}", load.rows),
            format!("{}", lags.len()),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{:.2}", percentile(&lags, 100)),
        ]);
    }
    daemon.stop()?;
    merchant.stop().await;
    let head = "load, rows/s, rows in a commit, samples, p50, p99, maximum";
    let head: Vec<&str> = head.split(", ").collect();
    let title = "From COMMIT in another process to the merchant, milliseconds";
    report::table(title, &head, &table);
    Ok(())
}

/// 500 origins at 200/s: half of them hang, against none, in turn.
pub(crate) async fn half_hangs(rounds: u32, seconds: u32, figures: &mut Figures) -> Result<()> {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let all_healthy = p99_of_the_healthy(false, seconds).await?;
        pairs.push([all_healthy, p99_of_the_healthy(true, seconds).await?]);
    }
    let title = format!(
        "Lag of 250 healthy origins, p99 in milliseconds, at 200/s over 500 origins for {seconds} s"
    );
    let names = ["none hangs", "250 hang until the deadline"];
    let ratio = report::paired(&title, names, 2, &pairs).median;
    let name = "half of 500 origins hang: p99 lag of the others, ratio";
    figures.add(name, ratio, "", Goal::AtMost(1.2));
    Ok(())
}

async fn p99_of_the_healthy(others_hang: bool, seconds: u32) -> Result<f64> {
    let arrivals = Arc::new(Arrivals::default());
    let healthy = merchants::watching(&arrivals).await?;
    let other = if others_hang {
        merchants::hanging().await?
    } else {
        merchants::acknowledging(None).await?
    };
    let place = Place::new()?;
    let daemon = Daemon::start(&place, &Setup::cut_short())?;
    let origin = format!(
        "CASE ?1 % 2 WHEN 0 THEN {} ELSE {} END",
        merchants::one_of(&healthy, 250, "?1 / 2"),
        merchants::one_of(&other, 250, "?1 / 2"),
    );
    let load = Load {
        origin,
        app: "6",
        commits: seconds * 200,
        rows: 1,
        every: Duration::from_millis(5),
        first: 1,
    };
    let commits = gateway::insert(&place, &load).await?;
    let lags = lags(&commits, 1, &gather(&arrivals, commits.len() / 2).await?);
    daemon.stop()?;
    healthy.stop().await;
    other.stop().await;
    Ok(percentile(&lags, 99))
}

/// 500 origins of one app hang, with `due` callbacks; how long a merchant of another app waits that
/// has not been called before.
pub(crate) async fn one_app_hangs(due: usize, seconds: u32, figures: &mut Figures) -> Result<()> {
    let arrivals = Arc::new(Arrivals::default());
    let healthy = merchants::watching(&arrivals).await?;
    let hanging = merchants::hanging().await?;
    let place = Place::new()?;
    place.fill(&Fill {
        rows: due,
        origin: &merchants::one_of(&hanging, 500, "n"),
        due: PAST,
    })?;
    let daemon = Daemon::start(&place, &Setup::cut_short())?;
    tokio::time::timeout(PATIENCE, hanging.wait_for(100)).await?;
    let load = Load {
        // Each has an origin of its own, so none has answered before.
        origin: merchants::one_of(&healthy, 500, "?1"),
        app: "7",
        commits: seconds,
        rows: 1,
        every: Duration::from_secs(1),
        first: due + 1,
    };
    let commits = gateway::insert(&place, &load).await?;
    let lags = lags(&commits, 1, &gather(&arrivals, commits.len()).await?);
    daemon.stop()?;
    healthy.stop().await;
    hanging.stop().await;
    let name = "500 origins of one app hang: another app's new merchant waits";
    for (which, percent, goal) in [("p50", 50, 1.0), ("longest", 100, 3.0)] {
        let seconds = percentile(&lags, percent) / 1e3;
        figures.add(
            format!("{name}, {which}"),
            seconds,
            " s",
            Goal::AtMost(goal),
        );
    }
    Ok(())
}
