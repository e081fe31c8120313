//! A drain while another session holds a snapshot: what is dead stays where it is.

use std::time::Duration;

use anyhow::{Context, Result};
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::merchant::Answer;
use tokio_postgres::NoTls;

use crate::common::daemon::{Daemon, Setup};
use crate::common::merchants::{self, one_of};
use crate::common::place::{Fill, PAST, Place};
use crate::common::report::{self, Figures, Goal};
use crate::server::{Asked, Server};

/// With 64 in flight some 2,000 callbacks a second.
const ANSWER: Duration = Duration::from_millis(30);
const IN_FLIGHT: usize = 64;
const ORIGINS: usize = 20;

/// How long the drain may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is drained.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Of each part; the figure compares the last with the first.
    pub(crate) rows: usize,
    pub(crate) parts: usize,
}

struct Part {
    elapsed: Duration,
    asked: Vec<Asked>,
}

impl Part {
    /// Mean milliseconds of a kind of statement.
    fn millis(&self, kind: &str) -> f64 {
        let of_kind = || self.asked.iter().filter(|asked| asked.kind == kind);
        let calls: f64 = of_kind().map(|asked| asked.calls).sum();
        of_kind().map(|asked| asked.millis).sum::<f64>() / calls.max(1.0)
    }
}

pub(crate) async fn measure(size: Size, figures: &mut Figures) -> Result<()> {
    let merchant = merchants::start(Answer::Slow(ANSWER).into(), None).await?;
    let server = Server::start()?;
    let place = Place::without_queue()?;
    let queue = server.create_queue(&place)?;
    queue.fill(&Fill {
        // What waits is not used up by the last part.
        rows: size.rows * (size.parts + 1),
        origin: &one_of(&merchant, ORIGINS, "n"),
        due: PAST,
    });
    let (holder, connection) = tokio_postgres::connect(&queue.url(), NoTls).await?;
    tokio::spawn(connection);
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM callback_queue LIMIT 1";
    holder.batch_execute(hold).await?;

    let setup = Setup {
        in_flight: IN_FLIGHT,
        in_flight_per_merchant: IN_FLIGHT,
        store: queue.url(),
        ..Setup::default()
    };
    let mut posts = merchant.count();
    let daemon = Daemon::start(&place, &setup)?;
    let mut parts = Vec::new();
    for _ in 0..size.parts {
        let since = Stopwatch::start();
        for _ in 0..10 {
            posts += size.rows / 10;
            let arrived = tokio::time::timeout(PATIENCE, merchant.wait_for(posts)).await;
            arrived.context("the drain stands still")?;
        }
        parts.push(Part {
            elapsed: since.elapsed(),
            asked: queue.asked()?,
        });
        queue.forget_what_was_asked();
    }
    drop(daemon);
    merchant.stop().await;
    print(size, &parts, figures);
    Ok(())
}

fn print(size: Size, parts: &[Part], figures: &mut Figures) {
    let rate = |part: &Part| size.rows as f64 / part.elapsed.as_secs_f64();
    let row = |part: &Part| {
        let millis = |kind| format!("{:.1}", part.millis(kind));
        vec![
            format!("{:.0}", rate(part)),
            format!("{:.2}", rate(part) / rate(&parts[0])),
            millis("claim"),
            millis("next due"),
            millis("record"),
            millis("survey"),
        ]
    };
    let title = format!(
        "A snapshot is held: parts of {} callbacks, {IN_FLIGHT} in flight, merchants that answer after {ANSWER:?}",
        size.rows
    );
    let head = [
        "POST/s",
        "against the first",
        "a claim, ms",
        "what is due next, ms",
        "a record, ms",
        "a survey, ms",
    ];
    report::table(&title, &head, &parts.iter().map(row).collect::<Vec<_>>());
    let last = rate(&parts[parts.len() - 1]) / rate(&parts[0]);
    let name = "snapshot held: the last part's rate against the first's";
    figures.add(name, last, "", Goal::AtLeast(0.8));
}
