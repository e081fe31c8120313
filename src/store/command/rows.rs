//! Rows of `operator_command` and its items.

use async_trait::async_trait;
use serde_json::json;

use super::{
    Command, CommandId, CommandNote, CommandStatus, Commands, ItemEffect, NewCommand, Pause,
    Progress, Selectors, StoredState,
};
use crate::domain::{CallbackId, Timestamp};
use crate::store::StoreError;
use crate::store::reading::pauses;
use crate::store::session::{Dialect, Row, Session};

const COLUMNS: &str = "id, action, callback_id, order_number, app_id, origin, state, since, until, \
     include_acknowledged, dry_run, rate, actor, reason, created_at, status, selected, done, \
     skipped, skipped_why, answer, started_at, finished_at, scan_position, scan_end, to_url, \
     command_id";

/// A database's connection for operators' commands.
pub(in crate::store) trait CommandConnection:
    std::fmt::Debug + Send + Sync + 'static
{
    type Session: Session + Sync;

    fn session(&self) -> &Self::Session;
}

#[async_trait]
impl<C: CommandConnection> Commands for C {
    async fn submit(&self, command: NewCommand, now: Timestamp) -> Result<CommandId, StoreError> {
        insert(self.session(), &command, now).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, StoreError> {
        command(self.session(), id).await
    }

    async fn commands(&self, limit: usize) -> Result<Vec<Command>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operator_command ORDER BY id DESC LIMIT ?1");
        let newest = self.session().query(&sql, &[limit.into()]).await?;
        newest.iter().map(read).collect()
    }

    async fn notes(&self, callback: CallbackId) -> Result<Vec<CommandNote>, StoreError> {
        let sql = "SELECT i.command_id, c.actor, c.reason, i.what, i.why, i.at
             FROM operator_command_item i { INDEXED BY operator_command_item_by_callback|}
             JOIN operator_command c ON c.id = i.command_id
             WHERE i.callback_id = ?1 ORDER BY i.command_id";
        let notes = self.session().query(sql, &[callback.into()]).await?;
        notes.iter().map(note).collect()
    }

    async fn progress(&self, id: CommandId) -> Result<Progress, StoreError> {
        let sql = "SELECT q.state, q.attempts > 0 AS tried, count(*) AS callbacks
             FROM operator_command_item i JOIN callback_queue q ON q.id = i.callback_id
             WHERE i.command_id = ?1 AND i.what = 'resent' GROUP BY q.state, q.attempts > 0";
        let mut progress = Progress::default();
        for row in self.session().query(sql, &[id.0.into()]).await? {
            let callbacks: u64 = row.get("callbacks")?;
            let state = row.parsed("state", |text| text.parse().ok())?;
            *match (state, row.get("tried")?) {
                (StoredState::Delivered, _) => &mut progress.acknowledged,
                (StoredState::Exhausted, _) => &mut progress.exhausted,
                (StoredState::Cancelled, _) => &mut progress.cancelled,
                (StoredState::Pending, true) => &mut progress.retrying,
                (StoredState::Pending, false) => &mut progress.to_come,
            } += callbacks;
        }
        Ok(progress)
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        pauses(self.session()).await
    }
}

/// On PostgreSQL the moment is the server's: an operator's role need not be able to choose it.
async fn insert<S: Session>(
    session: &S,
    command: &NewCommand,
    now: Timestamp,
) -> Result<CommandId, StoreError> {
    let sql = "INSERT INTO operator_command (action, callback_id, order_number, app_id, origin,
           state, since, until, include_acknowledged, dry_run, rate, actor, reason, to_url,
           command_id{, created_at|})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15{, ?16|}) RETURNING id";
    let selectors = &command.selectors;
    let mut values = vec![
        command.action.as_str().into(),
        selectors.callback_id.into(),
        selectors.order_number.as_deref().into(),
        selectors.app_id.as_deref().into(),
        selectors.origin.as_deref().into(),
        selectors.state.map(|state| state.as_str()).into(),
        selectors.since.into(),
        selectors.until.into(),
        command.include_acknowledged.into(),
        command.dry_run.into(),
        command.rate.map(i64::from).into(),
        command.actor.as_str().into(),
        command.reason.as_str().into(),
        command.to_url.as_deref().into(),
        selectors.command_id.map(|id| id.0).into(),
    ];
    if S::DIALECT == Dialect::Sqlite {
        values.push(now.into());
    }
    match session.query(sql, &values).await?.first() {
        Some(row) => row.get("id").map(CommandId),
        None => Err(StoreError::Other("no id for a new command".to_owned())),
    }
}

pub(super) async fn command(
    session: &impl Session,
    id: CommandId,
) -> Result<Option<Command>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM operator_command WHERE id = ?1");
    let found = session.query(&sql, &[id.0.into()]).await?;
    found.first().map(read).transpose()
}

/// The commands that are to be carried out: pauses and resumes first, then by age.
pub(super) async fn open(session: &impl Session, limit: usize) -> Result<Vec<Command>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM operator_command {{INDEXED BY operator_command_open|}}
         WHERE finished_at IS NULL ORDER BY action IN ('resend', 'cancel', 'prune'), id LIMIT ?1"
    );
    let open = session.query(&sql, &[limit.into()]).await?;
    open.iter().map(read).collect()
}

/// Writes the progress of a command, and its answer if it has one.
pub(super) async fn save_progress(
    session: &impl Session,
    command: &Command,
) -> Result<(), StoreError> {
    let sql = "UPDATE operator_command
         SET status = ?2, selected = ?3, done = ?4, skipped = ?5, skipped_why = ?6, answer = ?7,
             started_at = ?8, finished_at = ?9, scan_position = ?10, scan_end = ?11
         WHERE id = ?1";
    let status = match command.status {
        CommandStatus::Waiting => CommandStatus::Running,
        status => status,
    };
    let skipped_why = serde_json::to_string(&command.skipped_why)
        .map_err(|error| StoreError::Other(format!("skipped_why is no JSON: {error}")))?;
    let values = [
        command.id.0.into(),
        status.as_str().into(),
        command.selected.into(),
        command.done.into(),
        command.skipped.into(),
        skipped_why.into(),
        command.answer.as_str().into(),
        command.started_at.into(),
        command.finished_at.into(),
        command.scan_position.into(),
        command.scan_end.into(),
    ];
    session.execute(sql, &values).await.map(drop)
}

/// Writes the items of callbacks that a command has acted on or waits for.
pub(super) async fn insert_items(
    session: &impl Session,
    command: CommandId,
    items: &[(CallbackId, ItemEffect)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO operator_command_item (command_id, callback_id, what, at)
         SELECT ?1, CAST(value->>0 AS bigint), value->>1, ?3
         FROM {json_each(?2)|jsonb_array_elements(CAST(?2 AS text)::jsonb)}";
    let items = items.iter();
    let items = serde_json::Value::from_iter(items.map(|(id, effect)| json!([id, effect])));
    let values = [command.0.into(), items.to_string().into(), now.into()];
    session.execute(sql, &values).await.map(drop)
}

fn read(row: &Row) -> Result<Command, StoreError> {
    let state: Option<String> = row.get("state")?;
    Ok(Command {
        id: CommandId(row.get("id")?),
        request: NewCommand {
            action: row.parsed("action", |text| text.parse().ok())?,
            selectors: Selectors {
                callback_id: row.get("callback_id")?,
                order_number: row.get("order_number")?,
                app_id: row.get("app_id")?,
                origin: row.get("origin")?,
                state: match state {
                    Some(_) => Some(row.parsed("state", |text| text.parse().ok())?),
                    None => None,
                },
                since: row.get("since")?,
                until: row.get("until")?,
                command_id: row.get::<Option<i64>>("command_id")?.map(CommandId),
            },
            include_acknowledged: row.get("include_acknowledged")?,
            dry_run: row.get("dry_run")?,
            rate: row.get("rate")?,
            to_url: row.get("to_url")?,
            actor: row.get("actor")?,
            reason: row.get("reason")?,
        },
        created_at: row.get("created_at")?,
        status: row.parsed("status", |text| text.parse().ok())?,
        selected: row.get("selected")?,
        done: row.get("done")?,
        skipped: row.get("skipped")?,
        skipped_why: serde_json::from_str(&row.get::<String>("skipped_why")?).unwrap_or_default(),
        answer: row.get("answer")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        scan_position: row.get("scan_position")?,
        scan_end: row.get("scan_end")?,
    })
}

fn note(row: &Row) -> Result<CommandNote, StoreError> {
    Ok(CommandNote {
        command_id: CommandId(row.get("command_id")?),
        actor: row.get("actor")?,
        reason: row.get("reason")?,
        what: row.parsed("what", |text| text.parse().ok())?,
        why: row.get("why")?,
        at: row.get("at")?,
    })
}
