//! How many callbacks at a time the dispatchers give an origin whose learned limit has fallen: for people.
//!
//! Deliberately absent: a reader in the dispatcher. What it learns it learns from answers alone.

use super::session::{Row, Session, Value};
use super::{Origin, StoreError};
use crate::domain::Timestamp;

/// Origins that are noted at most, those with the lowest limits.
pub(crate) const LOWERED_MAX: usize = 1000;

/// An origin whose limit has fallen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoweredLimit {
    /// The merchant's scheme, host and port.
    pub origin: Origin,
    /// How many callbacks it gets at a time.
    pub at_most: u64,
    /// When that fell last.
    pub fell_at: Timestamp,
    /// Why it did.
    pub reason: String,
}

/// Notes what `dispatcher` has learned, in place of what it noted before; inside a transaction.
pub(super) async fn note(
    session: &impl Session,
    dispatcher: i64,
    lowered: &[LoweredLimit],
) -> Result<(), StoreError> {
    let sql = "DELETE FROM learned_limit WHERE dispatcher = ?1";
    session.execute(sql, &[dispatcher.into()]).await?;
    for limit in lowered {
        let sql = "INSERT INTO learned_limit (dispatcher, origin, at_most, fell_at, reason) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = [
            dispatcher.into(),
            Value::Text(limit.origin.as_bytes().to_vec()),
            limit.at_most.into(),
            limit.fell_at.into(),
            limit.reason.clone().into(),
        ];
        session.execute(sql, &values).await?;
    }
    Ok(())
}

/// What all dispatchers together give each origin, the lowest first.
pub(super) async fn lowered(session: &impl Session) -> Result<Vec<LoweredLimit>, StoreError> {
    let sql = "SELECT origin, CAST(sum(at_most) AS BIGINT) AS at_most, max(fell_at) AS fell_at, max(reason) AS reason
               FROM learned_limit GROUP BY origin ORDER BY 2, 1 LIMIT ?1";
    let limit = |row: &Row| {
        Ok(LoweredLimit {
            origin: row.get("origin")?,
            at_most: row.get("at_most")?,
            fell_at: row.get("fell_at")?,
            reason: row.get("reason")?,
        })
    };
    let found = session.query(sql, &[LOWERED_MAX.into()]).await?;
    found.iter().map(limit).collect()
}
