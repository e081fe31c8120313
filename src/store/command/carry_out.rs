//! Carrying out commands.
//!
//! Commands are carried out in the order of their ids, so a cancel that was given after a resend has
//! the last word. Pauses and resumes go before all others. A command that only waits for attempts in
//! flight does not delay others.

use std::future::Future;

use super::batch::{Batch, BatchResult, Remaining, Task};
use super::rows::open;
use super::scan::scan;
use super::{Action, Command, CommandId, StoredState};
use crate::domain::{Day, Timestamp};
use crate::store::session::Session;
use crate::store::{EndpointDue, Origin, StoreError};

/// Commands that are under way at a time; others wait.
const OPEN_MAX: usize = 64;

/// What [`Queue::carry_out`](crate::store::Queue::carry_out) has done.
#[derive(Clone, Debug, Default)]
pub struct CarriedOut {
    /// What is left.
    pub remaining: Remaining,
    /// Endpoints that have something due now, or earlier than before.
    pub due: Vec<EndpointDue>,
    /// Commands that have their final answer now.
    pub answered: Vec<Command>,
}

/// A dispatcher's store, as far as commands need it.
pub(in crate::store) trait CommandStore: Sync {
    /// A session for scans, outside any transaction.
    type Reader: Session + Sync;

    fn reader(&self) -> &Self::Reader;

    /// Runs a batch in a transaction.
    fn transact(
        &self,
        batch: Batch,
    ) -> impl Future<Output = Result<Option<BatchResult>, StoreError>> + Send;
}

/// Why nothing may be sent to a URL, if that is so.
pub type UrlCheck<'a> = &'a (dyn Fn(&str) -> Result<(), String> + Send + Sync);

/// Does the next batches; see [`Queue::carry_out`](crate::store::Queue::carry_out).
pub(in crate::store) async fn carry_out(
    store: &impl CommandStore,
    now: Timestamp,
    check_url: UrlCheck<'_>,
) -> Result<CarriedOut, StoreError> {
    let mut carried_out = CarriedOut::default();
    let mut is_scanning = false;
    for command in open(store.reader(), OPEN_MAX).await? {
        let Some(step) = Step::of(&command, is_scanning, check_url) else {
            continue;
        };
        let step = match step {
            Step::Scan => match not_closed(store.reader(), &command).await? {
                Some(why) => Step::Refuse(why),
                None => Step::Scan,
            },
            step => step,
        };
        let scans = matches!(step, Step::Scan);
        let tasks = match step {
            Step::Refuse(why) => vec![Task::Refuse(why)],
            Step::Pause => vec![Task::Pause],
            Step::Settle => vec![Task::Settle],
            Step::Scan => {
                let parts = scan(store.reader(), &command, now).await?;
                parts.into_iter().map(Task::Act).collect()
            }
        };
        let mut remaining = Remaining::Nothing;
        for task in tasks {
            let Some(result) = transact(store, command.id, task, now).await? else {
                // Another dispatcher is at it; the next call sees what it leaves.
                carried_out.remaining = carried_out.remaining.max(Remaining::Attempts);
                return Ok(carried_out);
            };
            remaining = result.remaining;
            carried_out.due.extend(result.due);
            carried_out.answered.extend(result.answered);
        }
        carried_out.remaining = carried_out.remaining.max(remaining);
        is_scanning |= scans && remaining == Remaining::Work;
    }
    Ok(carried_out)
}

async fn transact(
    store: &impl CommandStore,
    command: CommandId,
    task: Task,
    now: Timestamp,
) -> Result<Option<BatchResult>, StoreError> {
    let batch = |task| Batch { command, task, now };
    match store.transact(batch(task)).await {
        // A command that the database refuses must not be tried for ever.
        Err(error) if error.is_perhaps_one_rows() => {
            let why = format!("the database refuses it: {error}");
            store.transact(batch(Task::Refuse(why))).await
        }
        done => done,
    }
}

/// The next step of a command.
#[derive(Debug)]
enum Step {
    /// It can't be carried out, for this reason.
    Refuse(String),
    /// Pause or resume.
    Pause,
    /// Find callbacks and act on them.
    Scan,
    /// Decide again for the callbacks that were in flight.
    Settle,
}

impl Step {
    /// The next step of `command`. `None`: it waits until an older one has found all its callbacks, so
    /// that the younger command reaches each callback later.
    fn of(command: &Command, is_scanning: bool, check_url: UrlCheck<'_>) -> Option<Self> {
        match (command.request.action, refusal(command, check_url)) {
            (_, Some(why)) => Some(Self::Refuse(why)),
            (action, None) if !action.selects_callbacks() => Some(Self::Pause),
            (_, None) if command.has_scanned() => Some(Self::Settle),
            (_, None) if is_scanning => None,
            (_, None) => Some(Self::Scan),
        }
    }
}

const NEWEST_CLOSED: &str = "SELECT max(day) AS day FROM reconciliation";

/// Why a command may not prune up to its moment: the audit chain has no digest yet of what it would
/// remove, so nobody could tell afterwards what was there.
async fn not_closed(
    session: &impl Session,
    command: &Command,
) -> Result<Option<String>, StoreError> {
    let until = match (command.request.action, command.request.selectors.until) {
        (Action::Prune, Some(until)) => until,
        _ => return Ok(None),
    };
    let newest = session.query(NEWEST_CLOSED, &[]).await?;
    let newest: Option<String> = match newest.first() {
        Some(row) => row.get("day")?,
        None => None,
    };
    let closed = newest.as_deref().and_then(|day| day.parse::<Day>().ok());
    Ok(match closed {
        Some(day) if until <= day.end() => None,
        Some(day) => Some(format!(
            "days after {day} are not closed yet; prune what was queued before {} at most",
            day.end()
        )),
        None => Some(
            "no day is closed yet: the dispatcher closes each an hour after its end (UTC)"
                .to_owned(),
        ),
    })
}

/// Why a command can't be carried out at all.
fn refusal(command: &Command, check_url: UrlCheck<'_>) -> Option<String> {
    let selectors = &command.request.selectors;
    if let Some(Err(why)) = command.request.to_url.as_deref().map(check_url) {
        return Some(why);
    }
    if let Some(origin) = &selectors.origin
        && Origin::of_url(origin).is_none()
    {
        return Some(format!(
            "{origin:?} is no origin; write scheme and host, for instance https://merchant.example"
        ));
    }
    match (command.request.action, selectors.state) {
        (Action::Cancel, Some(state)) if state != StoredState::Pending => Some(format!(
            "only pending callbacks can be cancelled, not {state} ones"
        )),
        (Action::Prune, Some(StoredState::Pending)) => Some(
            "a pending callback is owed to a merchant; only finished ones are pruned".to_owned(),
        ),
        (Action::Prune, _) if selectors.until.is_none() => Some(
            "name a moment (until): what was queued and finished before it is pruned".to_owned(),
        ),
        _ => None,
    }
}
