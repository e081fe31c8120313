//! The reference for writing: the dispatcher's row writes with nothing around them.
//!
//! Each transaction claims a group of rows and records the group claimed before it, as the
//! dispatcher's group commits do while it drains.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use callback_dispatcher::clock::Stopwatch;
use rusqlite::{Connection, params};

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[arg(long)]
    queue: PathBuf,
    /// Rows in a transaction
    #[arg(long)]
    group: usize,
}

const DUE: &str = "
SELECT id, attempts, attempt_seq, created_at, kind, callback_url, app_id, pay_method, amount,
  currency, newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra,
  result, trans_info, settlement_status
FROM callback_queue
WHERE state = 'pending' AND leased_until IS NULL AND app_id = ?1 AND origin = ?2 AND next_attempt_at <= ?3
ORDER BY next_attempt_at, id LIMIT ?4";

const CLAIM: &str = "
UPDATE callback_queue SET leased_until = ?1, leased_at = ?1, lease_token = ?1 WHERE id = ?2";

const MOVE_ON: &str = "
UPDATE callback_queue
SET state = 'delivered', attempts = attempts + 1, next_attempt_at = NULL, finished_at = ?1,
  last_outcome = 'acknowledged', attempt_seq = attempt_seq + 1,
  leased_until = NULL, leased_at = NULL, lease_token = NULL
WHERE id = ?2 AND state = 'pending' AND lease_token = ?1";

const LOG: &str = "
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
  http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256)
VALUES (?1, ?2, ?3, 1, 'acknowledged', 1, 200, '', '{\"transResult\":\"SUCCESS\"}', '127.0.0.1:50000', ?3,
  '3S0x9wUq0wXv0r6c1m2n3b4v5c6x7z8a9s0d1f2g3h4=', '2026-11',
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')";

/// A moment when everything is due, and the token of every lease.
const NOW: i64 = 4_000_000_000_000;

pub(crate) fn run(flags: &Flags) -> Result<()> {
    let db = Connection::open(&flags.queue)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -8192)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    let endpoint = "SELECT app_id, origin FROM callback_queue LIMIT 1";
    let endpoint = db.query_row(endpoint, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let watch = Stopwatch::start();
    let mut claimed = Vec::new();
    let mut rows = 0;
    loop {
        db.execute_batch("BEGIN IMMEDIATE")?;
        let next = claim(&db, &endpoint, flags.group)?;
        record(&db, &claimed)?;
        db.execute_batch("COMMIT")?;
        rows += claimed.len();
        claimed = next;
        if claimed.is_empty() {
            break;
        }
    }
    report(rows, watch.elapsed());
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn claim(db: &Connection, (app_id, origin): &(String, String), limit: usize) -> Result<Vec<i64>> {
    let mut statement = db.prepare_cached(DUE)?;
    let mut found = statement.query(params![app_id, origin, NOW, limit])?;
    let mut ids = Vec::with_capacity(limit);
    while let Some(row) = found.next()? {
        let url: String = row.get(5)?;
        std::hint::black_box(url);
        ids.push(row.get(0)?);
    }
    let mut claim = db.prepare_cached(CLAIM)?;
    for id in &ids {
        claim.execute(params![NOW, id])?;
    }
    Ok(ids)
}

fn record(db: &Connection, ids: &[i64]) -> Result<()> {
    let mut move_on = db.prepare_cached(MOVE_ON)?;
    let mut log = db.prepare_cached(LOG)?;
    for id in ids {
        move_on.execute(params![NOW, id])?;
        log.execute(params![id, 1, NOW])?;
    }
    Ok(())
}

/// One line for the judge: rows and seconds.
fn report(rows: usize, elapsed: Duration) {
    println!("{rows} {}", elapsed.as_secs_f64());
}
