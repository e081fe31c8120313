//! How well the dispatcher learns what merchants bear: goodput, POSTs per callback and charged timeouts,
//! against the ideal of modelled merchants and against one callback at a time.
//!
//! `cargo bench --bench merchants` takes about four minutes; `-- --full` has the sizes of
//! `docs/performance.md`. With `-- --against FILE` another build of the program is measured first, such
//! as one with a fixed limit. The dispatcher is the real program with its default settings.

#![expect(
    clippy::print_stdout,
    reason = "a benchmark is there to print its tables"
)]

#[expect(dead_code, reason = "this benchmark needs a part of what they share")]
#[path = "../common/mod.rs"]
mod common;
mod modelled;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use callback_dispatcher::clock::Stopwatch;
use clap::Parser;
use tokio::time::{interval, timeout};

use common::daemon::{Daemon, Setup};
use common::place::{Fill, PAST, Place};
use common::program;
use common::report::{self, Figures, Goal};
use modelled::{Capacity, Merchant};

/// Measures how well the dispatcher learns what merchants bear.
#[derive(Debug, Parser)]
#[command(name = "merchants")]
struct Flags {
    /// Measures only these (one-worker, five-workers, many); may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Takes every case at its full size: about forty minutes
    #[arg(long)]
    full: bool,
    /// Another build of the program, measured first
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Merchants, and what is due for them at once.
struct Case {
    name: &'static str,
    capacities: Vec<Capacity>,
    /// How long the merchants have to work if nothing is lost.
    ideal: Duration,
    goal: CaseGoal,
}

struct CaseGoal {
    /// The ideal time over the real one.
    goodput: f64,
    posts_per_callback: f64,
}

/// How a case went.
struct Course {
    elapsed: Duration,
    callbacks: usize,
    posts: usize,
    charged_timeouts: usize,
    exhausted: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    let mut figures = Figures::default();
    for case in cases(flags.full) {
        if flags.only.is_empty() || flags.only.iter().any(|only| only == case.name) {
            measure(&case, &flags, &mut figures).await?;
        }
    }
    figures.print();
    Ok(())
}

fn cases(full: bool) -> Vec<Case> {
    let same = |workers, millis| Capacity {
        workers,
        service: Duration::from_millis(millis),
        is_spread: false,
    };
    let size = |short, full_size| Duration::from_secs(if full { full_size } else { short });
    let goal = |goodput, posts_per_callback| CaseGoal {
        goodput,
        posts_per_callback,
    };
    vec![
        Case {
            name: "one-worker",
            capacities: vec![same(1, 300)],
            ideal: size(30, 90),
            goal: goal(1.0 / 1.15, 1.05),
        },
        Case {
            name: "five-workers",
            capacities: vec![same(5, 1000)],
            ideal: size(40, 120),
            goal: goal(1.0 / 1.15, 1.05),
        },
        Case {
            name: "many",
            capacities: many(),
            ideal: size(60, 600),
            goal: goal(0.9, 1.03),
        },
    ]
}

/// 200 merchants of 1 to 64 workers and 20 ms to 3 s: many small ones, few large ones, and together no
/// more at work than the dispatcher has slots.
fn many() -> Vec<Capacity> {
    const MILLIS: [u64; 10] = [20, 50, 100, 200, 300, 500, 800, 1000, 2000, 3000];
    (0..200)
        .map(|n| {
            let (workers, millis) = match n {
                0 => (64, 1000),
                1 | 2 => (16, 500),
                3..=6 => (8, 200),
                7..=14 => (4, 300),
                15..=29 => (2, MILLIS[n % 10]),
                _ => (1, MILLIS[n % 10]),
            };
            Capacity {
                workers,
                service: Duration::from_millis(millis),
                is_spread: true,
            }
        })
        .collect()
}

async fn measure(case: &Case, flags: &Flags, figures: &mut Figures) -> Result<()> {
    let mut rows = Vec::new();
    if flags.against.is_some() {
        program::measure(flags.against.clone());
        rows.push(row(
            "the other build",
            case,
            &run(case, Setup::default()).await?,
        ));
        program::measure(None);
    }
    if case.capacities.len() == 1 {
        let one = Setup {
            in_flight_per_merchant: 1,
            ..Setup::default()
        };
        rows.push(row("one at a time", case, &run(case, one).await?));
    }
    let course = run(case, Setup::default()).await?;
    rows.push(row("learned", case, &course));
    let head = [
        "",
        "time",
        "goodput",
        "POSTs per callback",
        "charged timeouts",
        "exhausted",
    ];
    let title = format!("{}: ideally {:.0} s", case.name, case.ideal.as_secs_f64());
    report::table(&title, &head, &rows);
    let name = |what: &str| format!("{}: {what}", case.name);
    figures.add(
        name("goodput"),
        course.goodput(case),
        "",
        Goal::AtLeast(case.goal.goodput),
    );
    let most = Goal::AtMost(case.goal.posts_per_callback);
    figures.add(
        name("POSTs per callback"),
        course.posts_per_callback(),
        "",
        most,
    );
    figures.add(
        name("exhausted"),
        course.exhausted as f64,
        "",
        Goal::AtMost(0.0),
    );
    Ok(())
}

fn row(name: &str, case: &Case, course: &Course) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.1} s", course.elapsed.as_secs_f64()),
        format!("{:.3}", course.goodput(case)),
        format!("{:.3}", course.posts_per_callback()),
        course.charged_timeouts.to_string(),
        course.exhausted.to_string(),
    ]
}

impl Course {
    fn goodput(&self, case: &Case) -> f64 {
        case.ideal.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    fn posts_per_callback(&self) -> f64 {
        self.posts as f64 / self.callbacks as f64
    }
}

/// Until nothing is pending.
async fn run(case: &Case, setup: Setup) -> Result<Course> {
    let place = Place::new()?;
    let mut merchants = Vec::new();
    let mut callbacks = 0;
    for capacity in &case.capacities {
        let merchant = Merchant::start(*capacity).await?;
        let rows = (case.ideal.as_secs_f64() * merchant.capacity.rate()).round() as usize;
        place.fill(&Fill {
            rows,
            origin: &merchant.origin(),
            due: PAST,
        })?;
        callbacks += rows;
        merchants.push(merchant);
    }
    let since = Stopwatch::start();
    let daemon = Daemon::start(&place, &setup)?;
    let mut look = interval(Duration::from_millis(100));
    let ended = async {
        while place.count("pending")? > 0 {
            look.tick().await;
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(case.ideal * 20, ended)
        .await
        .context("callbacks are still pending after twenty times the ideal time")??;
    let elapsed = since.elapsed();
    let posts: usize = merchants.iter().map(Merchant::posts).sum();
    let db = place.open()?;
    let charged = "SELECT count(*) FROM callback_attempt WHERE outcome = 'timeout' AND counted = 1";
    let course = Course {
        elapsed,
        callbacks,
        posts,
        charged_timeouts: db.query_row(charged, [], |row| row.get(0))?,
        exhausted: place.count("exhausted")?,
    };
    daemon.stop()?;
    Ok(course)
}
