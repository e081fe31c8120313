//! A batch: one transaction on one command.
//!
//! It ends by writing the command's progress. So no transaction is long, and a crash neither loses
//! nor doubles anything. Where several dispatchers share a queue, one of them runs a batch at a time.

use std::collections::{BTreeMap, HashSet};

use super::decision::{ItemDecision, decide, last_due};
use super::pausing::pause_or_resume;
use super::rows::{command, insert_items, save_progress};
use super::scan::{Found, snapshot};
use super::{BatchSession, Command, CommandId, CommandStatus, Due, ItemEffect};
use crate::domain::{CallbackId, Timestamp};
use crate::store::session::{Dialect, Row, Session, Value};
use crate::store::{Endpoint, EndpointDue, Origin, StoreError};

/// Callbacks that one transaction decides again because their attempts have ended.
const AWAITED_MAX: u64 = 500;

/// What is left to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// Nothing is asked for.
    #[default]
    Nothing,
    /// Only callbacks in flight: ask again later.
    Attempts,
    /// More callbacks: ask again at once.
    Work,
}

/// What one transaction does for a command.
#[derive(Debug)]
pub(super) enum Task {
    /// It can't be carried out, for this reason.
    Refuse(String),
    /// Pauses or resumes.
    Pause,
    /// Acts on what a scan has found.
    Act(Found),
    /// Decides again what was in flight.
    Settle,
}

/// One transaction of one command.
#[derive(Debug)]
pub(in crate::store) struct Batch {
    pub(super) command: CommandId,
    pub(super) task: Task,
    pub(super) now: Timestamp,
}

/// What a batch has done.
#[derive(Debug, Default)]
pub(in crate::store) struct BatchResult {
    pub(super) remaining: Remaining,
    /// Endpoints that have something due now, or earlier than before.
    pub(in crate::store) due: Vec<EndpointDue>,
    pub(super) answered: Option<Command>,
}

/// PostgreSQL: one dispatcher at a time.
const LOCK_COMMANDS: &str = "SELECT pg_try_advisory_xact_lock(hashtext('callback_queue'), \
     hashtext('commands')) AS is_locked";

impl Batch {
    /// Runs inside a transaction. `None`: another dispatcher is at it, or has carried this out.
    pub(in crate::store) async fn run<S: BatchSession>(
        &self,
        session: &S,
    ) -> Result<Option<BatchResult>, StoreError> {
        if S::DIALECT == Dialect::Postgres {
            let locked = session.query(LOCK_COMMANDS, &[]).await?;
            if !locked.iter().all(|row| row.get("is_locked") == Ok(true)) {
                return Ok(None);
            }
        }
        let open = command(session, self.command).await?;
        let Some(mut command) = open.filter(|command| !command.is_answered()) else {
            return Ok(Some(BatchResult::default()));
        };
        command.started_at.get_or_insert(self.now);
        let mut due = BTreeMap::new();
        match &self.task {
            Task::Refuse(why) => command.end(CommandStatus::Refused, why.clone(), self.now),
            Task::Pause => pause_or_resume(session, &mut command, self.now, &mut due).await?,
            Task::Act(found) if !found.follows(&command) => return Ok(None),
            Task::Act(found) => act(session, &mut command, found, self.now, &mut due).await?,
            Task::Settle => settle(session, &mut command, self.now, &mut due).await?,
        }
        conclude(session, command, due, self.now).await
    }
}

async fn act<S: BatchSession>(
    session: &S,
    command: &mut Command,
    found: &Found,
    now: Timestamp,
    due: &mut Due,
) -> Result<(), StoreError> {
    found.count(command);
    if command.request.dry_run || found.items.is_empty() {
        return Ok(());
    }
    let decisions = apply(session, command, &found.items, now, due).await?;
    let items: Vec<(CallbackId, ItemEffect)> = decisions
        .into_iter()
        .filter(|(_, decision)| !matches!(decision, ItemDecision::Skip(_)))
        .filter_map(|(id, decision)| Some((id, decision.effect()?.0)))
        .collect();
    insert_items(session, command.id, &items, now).await
}

pub(in crate::store) const AWAITED: &str = "
SELECT i.callback_id
FROM operator_command_item i{ INDEXED BY operator_command_item_awaited|}
LEFT JOIN callback_queue q ON q.id = i.callback_id
WHERE i.command_id = ?1 AND i.what = 'awaited' AND q.leased_until IS NULL
ORDER BY i.callback_id LIMIT ?2";

const SETTLE: &str = "
UPDATE operator_command_item
SET what = {?3|value->>2}, why = {?4|value->>3}, at = {?5|CAST(value->>4 AS bigint)}
{|FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)}
WHERE command_id = {?1|CAST(value->>0 AS bigint)}
  AND callback_id = {?2|CAST(value->>1 AS bigint)}";

async fn settle<S: BatchSession>(
    session: &S,
    command: &mut Command,
    now: Timestamp,
    due: &mut Due,
) -> Result<(), StoreError> {
    let values = [command.id.0.into(), AWAITED_MAX.into()];
    let ended = session.query(AWAITED, &values).await?;
    if ended.is_empty() {
        return Ok(());
    }
    let ended: Vec<CallbackId> = (ended.iter())
        .map(|row| row.get("callback_id"))
        .collect::<Result<_, _>>()?;
    let mut settled = Vec::new();
    for (id, decision) in apply(session, command, &ended, now, due).await? {
        // It went out again before it was locked.
        if decision == ItemDecision::Await {
            continue;
        }
        let Some((effect, why)) = decision.effect() else {
            continue;
        };
        settled.push(vec![
            command.id.0.into(),
            id.into(),
            effect.as_str().into(),
            why.into(),
            now.into(),
        ]);
    }
    session.execute_each(SETTLE, &settled).await
}

/// Locks the rows in the order of their ids. A claim passes over locked rows; an outcome that is
/// being recorded comes first, or waits.
pub(in crate::store) const SNAPSHOTS: &str = "
SELECT q.id, q.state, q.leased_until IS NOT NULL AS in_flight, q.attempts, q.next_attempt_at, q.finished_at,
  q.app_id, q.origin
FROM {json_each(?1) k CROSS JOIN callback_queue q NOT INDEXED ON q.id = k.value
  |callback_queue q WHERE q.id = ANY (ARRAY(SELECT CAST(value AS bigint)
     FROM jsonb_array_elements(CAST(?1 AS text)::jsonb))) ORDER BY q.id FOR UPDATE}";

/// After [`SNAPSHOTS`], to see what was recorded while that waited for locks.
pub(in crate::store) const ACKNOWLEDGED: &str = "
SELECT DISTINCT a.callback_id
FROM {json_each(?1) k CROSS JOIN callback_attempt a ON a.callback_id = k.value
  |(SELECT callback_id, outcome FROM callback_attempt
    WHERE callback_id = ANY (ARRAY(SELECT CAST(value AS bigint)
      FROM jsonb_array_elements(CAST(?1 AS text)::jsonb)))) a}
WHERE a.outcome = 'acknowledged'";

/// Decides for each of `ids` and does it. Returns the decisions in the order of `ids`.
async fn apply<S: BatchSession>(
    session: &S,
    command: &mut Command,
    ids: &[CallbackId],
    now: Timestamp,
    due: &mut Due,
) -> Result<Vec<(CallbackId, ItemDecision)>, StoreError> {
    let keys = serde_json::Value::from_iter(ids.iter().map(|id| id.0)).to_string();
    let rows = session.query(SNAPSHOTS, &[keys.as_str().into()]).await?;
    let acknowledged = session.query(ACKNOWLEDGED, &[keys.into()]).await?;
    let acknowledged: HashSet<CallbackId> = (acknowledged.iter())
        .map(|row| row.get("callback_id"))
        .collect::<Result<_, _>>()?;
    let rows: BTreeMap<CallbackId, Row> = (rows.into_iter())
        .map(|row| Ok((row.get("id")?, row)))
        .collect::<Result<_, StoreError>>()?;
    let to_url = command.request.to_url.clone();
    let to_url = to_url.and_then(|url| Some((Origin::of_url(&url)?, url)));
    let mut changes: BTreeMap<&str, Vec<Vec<Value>>> = BTreeMap::new();
    let mut decisions = Vec::with_capacity(ids.len());
    for id in ids {
        let row = rows.get(id);
        let callback = row.map(|row| snapshot(row, acknowledged.contains(id)));
        let decision = decide(command, callback.transpose()?, now);
        if let Some((sql, moment)) = decision.change(to_url.is_some(), now) {
            let mut values = vec![Value::from(*id), moment.into()];
            if let Some((origin, url)) = &to_url {
                values.extend([url.as_str().into(), origin.as_text().into_owned().into()]);
            }
            changes.entry(sql).or_default().push(values);
        }
        if let (ItemDecision::Resend(at), Some(row)) = (decision, row) {
            let endpoint = Endpoint {
                app_id: row.get("app_id")?,
                origin: match &to_url {
                    Some((origin, _)) => origin.clone(),
                    None => row.get("origin")?,
                },
            };
            let earliest = due.entry(endpoint).or_insert(at);
            *earliest = at.min(*earliest);
        }
        decisions.push((*id, decision));
    }
    for (sql, rows) in &changes {
        session.execute_each(sql, rows).await?;
    }
    Ok(decisions)
}

const AWAITS: &str = "
SELECT EXISTS (SELECT 1 FROM operator_command_item{ INDEXED BY operator_command_item_awaited|}
  WHERE command_id = ?1 AND what = 'awaited') AS awaits";

/// Answers the command if nothing of it is left, and writes its progress.
async fn conclude(
    session: &impl Session,
    mut command: Command,
    due: Due,
    now: Timestamp,
) -> Result<Option<BatchResult>, StoreError> {
    let remaining = if command.is_answered() {
        Remaining::Nothing
    } else if !command.has_scanned() {
        Remaining::Work
    } else if awaits(session, command.id).await? {
        Remaining::Attempts
    } else {
        let words = match last_due(&command) {
            Some(last) => format!("{}; queued, the last at {last}", command.summary()),
            None => command.summary(),
        };
        command.end(CommandStatus::Done, words, now);
        Remaining::Nothing
    };
    save_progress(session, &command).await?;
    let due = due.into_iter();
    Ok(Some(BatchResult {
        remaining,
        due: due
            .map(|(endpoint, due)| EndpointDue { endpoint, due })
            .collect(),
        answered: command.is_answered().then_some(command),
    }))
}

async fn awaits(session: &impl Session, id: CommandId) -> Result<bool, StoreError> {
    let awaits = session.query(AWAITS, &[id.0.into()]).await?;
    Ok(awaits.iter().any(|row| row.get("awaits") == Ok(true)))
}
