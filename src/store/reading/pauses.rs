//! What is paused now, with the command that asked for it.

use crate::store::session::{Row, Session};
use crate::store::{CommandId, Pause, PauseScope, StoreError};

pub(in crate::store) async fn pauses(session: &impl Session) -> Result<Vec<Pause>, StoreError> {
    let sql = "SELECT p.name, p.scope, p.since, p.command_id, coalesce(c.actor, '') AS actor,
                 coalesce(c.reason, '') AS reason
               FROM paused p LEFT JOIN operator_command c ON c.id = p.command_id
               ORDER BY p.scope, p.name";
    let pause = |row: &Row| {
        Ok(Pause {
            scope: match row.get::<String>("scope")?.as_str() {
                "origin" => PauseScope::Origin,
                _ => PauseScope::App,
            },
            name: row.get("name")?,
            since: row.get("since")?,
            command_id: CommandId(row.get("command_id")?),
            actor: row.get("actor")?,
            reason: row.get("reason")?,
        })
    };
    session.query(sql, &[]).await?.iter().map(pause).collect()
}
