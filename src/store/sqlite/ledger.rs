//! Writing what is kept of a day.

use rusqlite::Connection;

use super::connection::store_error;
use crate::domain::{Day, Link, Timestamp};
use crate::store::reading::LINK_COLUMNS;
use crate::store::{LedgerEntry, LeftOpen, StoreError};

pub(super) fn write(db: &Connection, entry: &LedgerEntry) -> Result<(), StoreError> {
    let written = match entry {
        LedgerEntry::Begin(day) => forget(db, *day),
        LedgerEntry::LeftOpen(day, callbacks) => leave_open(db, *day, callbacks),
        LedgerEntry::Link(link) => append(db, link),
    };
    written.map_err(|error| store_error(&error))
}

fn forget(db: &Connection, day: Day) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM reconciliation_open WHERE day = ?1")?
        .execute([day.to_string()])
        .map(|_| ())
}

fn leave_open(db: &Connection, day: Day, callbacks: &[LeftOpen]) -> rusqlite::Result<()> {
    let day = day.to_string();
    let mut statement = db.prepare_cached(
        "INSERT INTO reconciliation_open (day, callback_id, state, seq) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for callback in callbacks {
        let fate = callback.fate.as_str();
        statement.execute((&day, callback.id.0, fate, callback.seq))?;
    }
    Ok(())
}

fn append(db: &Connection, link: &Link) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO reconciliation ({LINK_COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    );
    let counts = link.counts;
    db.prepare_cached(&sql)?
        .execute((
            link.day.to_string(),
            link.previous.to_string(),
            link.first_id.0,
            link.last_id.0,
            link.next_id.0,
            link.created_from.map(Timestamp::as_millis),
            link.created_to.map(Timestamp::as_millis),
            counts.queued,
            counts.acknowledged,
            counts.exhausted,
            counts.cancelled,
            counts.pending,
            counts.unknown,
            link.closed_at.as_millis(),
            link.rows_sha256.to_string(),
            link.digest.to_string(),
        ))
        .map(|_| ())
}
