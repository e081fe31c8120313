//! What a deep queue costs: memory, time, CPU, and how long other merchants wait.

use std::time::Duration;

use anyhow::{Result, ensure};
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::merchant::MockMerchant;

use crate::common::daemon::{Daemon, Setup};
use crate::common::merchants::{self, all_arrived};
use crate::common::place::{Fill, PAST, Place};
use crate::common::report::{self, Figures, Goal, Spread};
use crate::drain::rate;

/// Peak memory while a small and a large backlog are drained, of the same origin.
pub(crate) async fn memory(large: usize, rounds: usize, figures: &mut Figures) -> Result<()> {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push([peak(10_000).await?, peak(large).await?]);
    }
    let names = ["10,000 rows, MiB", &format!("{large} rows, MiB")];
    let title = "Peak RSS while a backlog is drained";
    let ratio = report::paired(title, names, 1, &pairs);
    let large_peak = Spread::of(pairs.iter().map(|pair| pair[1]));
    let name = format!("peak RSS, backlog {large}");
    figures.add(name, large_peak.median, " MiB", Goal::AtMost(64.0));
    let name = format!("peak RSS, {large} against 10,000");
    figures.add(name, ratio.median, "", Goal::AtMost(1.1));
    Ok(())
}

/// Of a dispatcher that drains `rows`, in MiB.
async fn peak(rows: usize) -> Result<f64> {
    let place = Place::new()?;
    let merchant = merchants::acknowledging(None).await?;
    fill(&place, rows, &merchant)?;
    let daemon = Daemon::start(&place, &Setup::default())?;
    all_arrived(&merchant, 0, rows).await?;
    let peak = daemon.peak_rss_mebi()?;
    daemon.stop()?;
    merchant.stop().await;
    Ok(peak)
}

fn fill(place: &Place, rows: usize, merchant: &MockMerchant) -> Result<()> {
    place.fill(&Fill {
        rows,
        origin: &format!("'{}'", merchants::origin(merchant)),
        due: PAST,
    })
}

/// The drain rate beside many finished rows against that of an empty table.
pub(crate) async fn finished(
    finished: usize,
    rows: usize,
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    let merchant = merchants::acknowledging(None).await?;
    let (full, empty) = (Place::new()?, Place::new()?);
    full.fill_finished(finished)?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let mut pair = [0.0; 2];
        for (place, rate_of) in [&empty, &full].into_iter().zip(&mut pair) {
            fill(place, rows, &merchant)?;
            let before = merchant.count();
            let daemon = Daemon::start(place, &Setup::default())?;
            *rate_of = rate(rows, all_arrived(&merchant, before, rows).await?);
            daemon.stop()?;
        }
        rates.push(pair);
    }
    merchant.stop().await;
    let title = format!("Drain of {rows} callbacks beside {finished} finished ones");
    let names = ["empty table, POST/s", "full table, POST/s"];
    let ratio = report::paired(&title, names, 0, &rates);
    let name = format!("drain rate with {finished} finished rows");
    figures.add(name, ratio.median, "", Goal::AtLeast(0.9));
    Ok(())
}

/// Each half of an idle time. What happens once in a minute or two, as the count of the queue, is in
/// one of them at most.
const WINDOWS: u32 = 2;

/// CPU and I/O with many rows that wait for their retry.
pub(crate) async fn idle(rows: usize, half: Duration, figures: &mut Figures) -> Result<()> {
    let place = Place::new()?;
    place.close_days().await?;
    let merchant = merchants::acknowledging(None).await?;
    place.fill(&Fill {
        rows,
        origin: &merchants::one_of(&merchant, 500, "n"),
        // Far ahead, whenever this runs.
        due: "4000000000000 + n",
    })?;
    let daemon = Daemon::start(&place, &Setup::default())?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (cpu_before, watch) = (daemon.cpu()?, Stopwatch::start());
    let mut io_before = daemon.io()?;
    let mut read_and_written = Vec::new();
    for n in 1..=2 * WINDOWS {
        tokio::time::sleep_until(watch.deadline(half * n / WINDOWS)).await;
        let io = daemon.io()?;
        read_and_written.push(io - io_before);
        io_before = io;
    }
    let cpu = (daemon.cpu()? - cpu_before).as_secs_f64() / (2 * half).as_secs_f64() * 100.0;
    daemon.stop()?;
    ensure!(merchant.count() == 0, "something was sent before its time");
    merchant.stop().await;
    let (first, second) = read_and_written.split_at(WINDOWS as usize);
    let quietest = |half: &[u64]| half.iter().min().copied().unwrap_or_default() as f64;
    let row = |name: &str, half: &[u64]| {
        let bytes = half.iter().map(u64::to_string);
        std::iter::once(name.to_owned()).chain(bytes).collect()
    };
    report::table(
        &format!(
            "Idle, {rows} rows of 500 origins waiting, {:?}, {cpu:.3} % of a core: bytes read and written",
            2 * half
        ),
        &["", "in one window", "in the other"],
        &[row("first half", first), row("second half", second)],
    );
    let name = format!("CPU when idle, {rows} rows waiting");
    figures.add(name, cpu, " %", Goal::AtMost(0.2));
    let growth = (quietest(second) - quietest(first)) / 1024.0;
    let name = "I/O when idle, growth from half to half";
    figures.add(name, growth, " KiB", Goal::AtMost(1.0));
    Ok(())
}

/// From the start of the process to the first POST.
pub(crate) async fn start(rows: usize, rounds: usize, figures: &mut Figures) -> Result<()> {
    let place = Place::new()?;
    let merchant = merchants::hanging().await?;
    place.fill(&Fill {
        rows,
        origin: &merchants::one_of(&merchant, 500, "n"),
        due: PAST,
    })?;
    let mut millis = Vec::new();
    for _ in 0..rounds {
        let before = merchant.count();
        let watch = Stopwatch::start();
        let daemon = Daemon::start(&place, &Setup::cut_short())?;
        tokio::time::timeout(Duration::from_secs(60), merchant.wait_for(before + 1)).await?;
        millis.push(watch.elapsed().as_secs_f64() * 1e3);
        daemon.stop()?;
    }
    merchant.stop().await;
    let spread = Spread::of(millis);
    report::spreads(
        &format!(
            "From the start of the process to the first POST, {rows} rows due, {rounds} rounds"
        ),
        &[spread.row("milliseconds", |value| format!("{value:.1}"))],
    );
    let name = format!("start with {rows} due rows: first POST");
    figures.add(name, spread.median, " ms", Goal::AtMost(200.0));
    Ok(())
}

/// One origin hangs and owns nine tenths of `rows`; how fast 499 others are drained, against the
/// same without it.
pub(crate) async fn hanging_backlog(
    rows: usize,
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    let (hanging, others) = (rows / 10 * 9, rows / 10);
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let without = drain_of_the_others(others, 0).await?;
        let with = drain_of_the_others(others, hanging).await?;
        rates.push([without, with]);
    }
    let title =
        format!("Drain of {others} callbacks of 499 origins beside {hanging} of one that hangs");
    let names = ["without it, POST/s", "with it, POST/s"];
    let ratio = report::paired(&title, names, 0, &rates);
    let name = format!("one origin hangs with {hanging} rows: drain rate of the others");
    figures.add(name, ratio.median, "", Goal::AtLeast(0.9));
    Ok(())
}

async fn drain_of_the_others(others: usize, hanging: usize) -> Result<f64> {
    let place = Place::new()?;
    let healthy = merchants::acknowledging(None).await?;
    let hangs = merchants::hanging().await?;
    // The hanging ones first: they are the oldest.
    fill(&place, hanging, &hangs)?;
    place.fill(&Fill {
        rows: others,
        origin: &merchants::one_of(&healthy, 499, "n"),
        due: PAST,
    })?;
    let daemon = Daemon::start(&place, &Setup::cut_short())?;
    let elapsed = all_arrived(&healthy, 0, others).await?;
    daemon.stop()?;
    healthy.stop().await;
    hangs.stop().await;
    Ok(rate(others, elapsed))
}
