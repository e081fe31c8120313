//! Opening the queue that the settings name, for the commands that look at it or add to it.

use std::future::Future;
use std::path::Path;

use anyhow::Context;

use super::exit::Failure;
use crate::config::{Inputs, Settings, StoreSettings, StoreUrl};
use crate::store::Inspection;
use crate::store::sqlite::SqliteInspection;

/// The SQLite file of the settings.
pub(super) fn sqlite_path(store: &StoreSettings) -> Result<&Path, Failure> {
    match &store.url {
        StoreUrl::Sqlite(path) => Ok(path),
        StoreUrl::Postgres(_) => Err(Failure::unusable(anyhow::anyhow!(
            "store.url: PostgreSQL is not supported by this version; use sqlite:FILE"
        ))),
    }
}

/// Opens the queue for reading and hands it to `ask`.
pub(super) fn inspect<T, F: Future<Output = Result<T, Failure>>>(
    inputs: &Inputs,
    ask: impl FnOnce(Box<dyn Inspection>) -> F,
) -> Result<T, Failure> {
    let settings = Settings::load(inputs)?;
    let inspection = SqliteInspection::open(sqlite_path(&settings.store)?)?;
    block_on(ask(Box::new(inspection)))
}

/// Runs a short asynchronous piece of work.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?;
    runtime.block_on(work)
}
