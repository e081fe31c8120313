//! Opening the queue that the settings name, for the commands that look at it or add to it.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::runtime::{Builder, Runtime};

use super::exit::Failure;
use crate::config::{Inputs, Settings, StoreSettings, StoreUrl};
use crate::store::sqlite::{SqliteCommands, SqliteInspection, SqliteQueue};
use crate::store::{Command, Commands, CommitObserver, Inspection, OpenError, Queue};

/// The SQLite file of the settings.
pub(super) fn sqlite_path(store: &StoreSettings) -> Result<&Path, Failure> {
    match &store.url {
        StoreUrl::Sqlite(path) => Ok(path),
        StoreUrl::Postgres(_) => Err(Failure::unusable(anyhow!(
            "store.url: PostgreSQL is not supported by this version; use sqlite:FILE"
        ))),
    }
}

/// Opens the queue for reading.
pub(super) fn inspection(settings: &Settings) -> Result<Box<dyn Inspection>, Failure> {
    let path = sqlite_path(&settings.store)?;
    Ok(Box::new(SqliteInspection::open(path)?))
}

/// Opens the queue for commands.
pub(super) fn commands(settings: &Settings) -> Result<Box<dyn Commands>, Failure> {
    let path = sqlite_path(&settings.store)?;
    Ok(Box::new(SqliteCommands::open(path)?))
}

/// Opens the queue as a dispatcher does; `None`: another one has it. Needs a runtime around it.
pub(super) fn hold(settings: &Settings, as_whom: &str) -> Result<Option<Arc<dyn Queue>>, Failure> {
    let path = sqlite_path(&settings.store)?;
    let holder = format!("process {}, {as_whom}", std::process::id());
    match SqliteQueue::open(path, &holder, Arc::new(Unobserved)) {
        Ok(queue) => Ok(Some(Arc::new(queue))),
        Err(OpenError::Held { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Nobody measures the commits of a command.
#[derive(Debug)]
struct Unobserved;

impl CommitObserver for Unobserved {
    fn committed(&self, _: Duration, _: usize) {}
}

/// How a command of an operator has ended.
pub(super) struct Operated {
    pub(super) command: Command,
    /// Whether a part of it is left for the next dispatcher.
    pub(super) is_left: bool,
}

/// No callback is called so.
pub(super) fn no_callback(order: &str) -> Failure {
    anyhow!(
        "no callback with id, order number or refund number {order:?}; it was never queued, or it \
         was pruned after its retention"
    )
    .into()
}

/// Opens the queue for reading and hands it to `ask`.
pub(super) fn inspect<T, F: Future<Output = Result<T, Failure>>>(
    inputs: &Inputs,
    ask: impl FnOnce(Box<dyn Inspection>) -> F,
) -> Result<T, Failure> {
    let settings = Settings::load(inputs)?;
    block_on(ask(inspection(&settings)?))
}

/// Runs a short asynchronous piece of work.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime()?.block_on(work)
}

/// A runtime on this thread.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?)
}
