//! Opening the queue that the settings name, for the commands that look at it or add to it.

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::runtime::{Builder, Runtime};

use super::exit::Failure;
use crate::config::{Inputs, Settings, StoreUrl};
use crate::service;
use crate::store::{Command, Inspection};

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
    ask: impl FnOnce(Arc<dyn Inspection>) -> F,
) -> Result<T, Failure> {
    let settings = Settings::load(inputs)?;
    block_on(async {
        let inspection = service::inspection(&settings.store.url).await?;
        let answer = ask(Arc::clone(&inspection)).await?;
        say_if_nothing_is_sent(&settings.store.url, &*inspection).await;
        Ok(answer)
    })
}

/// Says on standard error which queue was asked, if it has moved elsewhere, and if no dispatcher works on
/// it: what the answer calls due is not sent then.
pub(super) async fn say_if_nothing_is_sent(url: &StoreUrl, inspection: &dyn Inspection) {
    if let Ok(Some(displaced)) = inspection.displaced().await {
        let _ = writeln!(
            anstream::stderr(),
            "note: {} was asked: {displaced}",
            url.name()
        );
    } else if service::has_dispatcher(url).await == Some(false) {
        let _ = writeln!(
            anstream::stderr(),
            "note: no dispatcher works on {}; nothing is sent until one is started",
            url.name()
        );
    }
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
