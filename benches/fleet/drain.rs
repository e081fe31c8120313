//! A backlog drained by one dispatcher or more.

use std::process;
use std::time::Duration;

use anyhow::{Result, ensure};
use callback_dispatcher::merchant::MockMerchant;

use crate::common::daemon::{Daemon, Setup};
use crate::common::merchants::{all_arrived, one_of};
use crate::common::place::{Fill, PAST, Place};
use crate::common::process::cpu;
use crate::server::{Asked, Server};

/// Merchants. What one of them may have in flight is divided among the dispatchers, so that of few
/// the limit for one merchant would be what is measured.
const ORIGINS: usize = 20;

#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    /// Of each dispatcher.
    pub(crate) in_flight: usize,
}

/// Where the queue is.
pub(crate) enum Store<'a> {
    Sqlite,
    Postgres(&'a Server),
}

/// What a drain took.
#[derive(Clone)]
pub(crate) struct Cost {
    pub(crate) rows: usize,
    pub(crate) elapsed: Duration,
    /// Of all dispatchers together.
    pub(crate) dispatchers_cpu: Duration,
    pub(crate) server_cpu: Duration,
    pub(crate) merchants_cpu: Duration,
    /// Nothing of SQLite.
    pub(crate) asked: Vec<Asked>,
}

impl Cost {
    pub(crate) fn per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn statements(&self) -> f64 {
        self.all(|asked| asked.calls) / self.rows as f64
    }

    /// Of all statements.
    pub(crate) fn all(&self, value: fn(&Asked) -> f64) -> f64 {
        self.asked
            .iter()
            .map(value)
            .fold(0.0, |sum, value| sum + value)
    }

    /// Of one kind of statement.
    pub(crate) fn sum(&self, kind: &str, value: fn(&Asked) -> f64) -> f64 {
        let asked = self.asked.iter().filter(|asked| asked.kind == kind);
        asked.map(value).fold(0.0, |sum, value| sum + value)
    }
}

/// Has `dispatchers` of them drain a queue that was filled before they start.
pub(crate) async fn measure(
    store: &Store<'_>,
    dispatchers: usize,
    size: Size,
    merchant: &MockMerchant,
) -> Result<Cost> {
    let Size { rows, in_flight } = size;
    let fill = Fill {
        rows,
        origin: &one_of(merchant, ORIGINS, "n"),
        due: PAST,
    };
    let mut setup = Setup {
        in_flight,
        in_flight_per_merchant: in_flight,
        ..Setup::default()
    };
    let places = (0..dispatchers)
        .map(|_| match store {
            Store::Sqlite => Place::new(),
            Store::Postgres(_) => Place::without_queue(),
        })
        .collect::<Result<Vec<_>>>()?;
    let queue = match store {
        Store::Sqlite => {
            places[0].fill(&fill)?;
            None
        }
        Store::Postgres(server) => {
            let queue = server.create_queue(&places[0])?;
            queue.fill(&fill);
            setup.store = queue.url();
            Some(queue)
        }
    };
    let server_cpu = || match store {
        Store::Sqlite => Ok(Duration::ZERO),
        Store::Postgres(server) => server.cpu(),
    };
    let before = (merchant.count(), server_cpu()?, cpu(process::id())?);
    let daemons = places
        .iter()
        .map(|place| Daemon::start(place, &setup))
        .collect::<Result<Vec<_>>>()?;
    let elapsed = all_arrived(merchant, before.0, rows).await?;
    let asked = queue.as_ref().map(|queue| queue.asked()).transpose()?;
    let cost = Cost {
        rows,
        elapsed,
        dispatchers_cpu: daemons.iter().map(Daemon::cpu).sum::<Result<_>>()?,
        server_cpu: server_cpu()?.saturating_sub(before.1),
        merchants_cpu: cpu(process::id())?.saturating_sub(before.2),
        asked: asked.unwrap_or_default(),
    };
    for daemon in daemons {
        daemon.stop()?;
    }
    let delivered = match &queue {
        None => places[0].count("delivered")?,
        Some(queue) => queue.count("delivered")?,
    };
    ensure!(
        delivered == rows,
        "{delivered} of {rows} were recorded as delivered"
    );
    let posts = merchant.count() - before.0;
    ensure!(posts == rows, "{posts} POSTs for {rows} callbacks");
    Ok(cost)
}
