//! Ending attempts: the log and the rows, in one statement.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::connection::{Lent, Pool};
use super::fleet::Skew;
use crate::clock::Stopwatch;
use crate::domain::Phase;
use crate::failpoint;
use crate::store::{CompletedAttempt, Recorded, StoreError};

/// Only the holder of a lease moves its row on, and only while it is still pending; only what has
/// moved on is logged. Rows are locked in the order of their ids, as by every statement that waits
/// for locks, so that no two of them wait for each other.
///
/// An acknowledgement whose lease was taken over still counts if its own interruption is the newest
/// in the log and nobody has claimed the row since: nothing was sent after it.
const RECORD: &str = "
WITH ended AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[],
      $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
      $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::text[], $18::text[],
      $19::text[], $20::text[], $21::text[])
    AS e (callback_id, token, seq, state, counted, next_attempt_at, finished_at, outcome, started_at,
      duration_ms, http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id,
      body_sha256, phase, phases, to_url)
  {past_locked}
  ORDER BY callback_id
), moved AS (
  UPDATE callback_queue q
  SET state = e.state, attempts = q.attempts + e.counted, next_attempt_at = e.next_attempt_at,
      finished_at = e.finished_at, last_outcome = e.outcome, attempt_seq = q.attempt_seq + 1,
      leased_until = NULL, leased_at = NULL, lease_token = NULL
  FROM ended e
  WHERE q.id = e.callback_id AND q.state = 'pending' AND (q.lease_token = e.token
    OR (q.lease_token IS NULL AND e.outcome = 'acknowledged' AND q.last_outcome = 'interrupted'
      AND q.attempt_seq = e.seq))
  RETURNING e.*, q.attempt_seq
), logged AS (
  INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
    http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256,
    phase, phases, to_url)
  SELECT callback_id, attempt_seq, started_at, duration_ms, outcome, counted, http_status, detail,
    response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256, phase, phases, to_url
  FROM moved
)
SELECT callback_id, token FROM moved";

/// In [`RECORD`]: leaves out the rows that another session has locked.
const PAST_LOCKED: &str = "CROSS JOIN LATERAL (
    SELECT FROM callback_queue WHERE id = callback_id FOR UPDATE SKIP LOCKED
  ) held";

/// Of the attempts that were not recorded, those that can still be.
const STILL_HELD: &str = "
SELECT e.id, e.token FROM unnest($1::bigint[], $2::bigint[]) AS e (id, token)
JOIN callback_queue q ON q.id = e.id AND q.lease_token = e.token AND q.state = 'pending'";

/// How records deal with rows that another session has locked.
#[derive(Debug, Default)]
pub(super) struct LockedRows {
    /// Since a record has waited in vain.
    met: Mutex<Option<Stopwatch>>,
}

/// For so long after it has met a locked row, a record waits for none.
const PAST_LOCKED_FOR: Duration = Duration::from_secs(60);

impl LockedRows {
    fn met(&self) -> MutexGuard<'_, Option<Stopwatch>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_passed_over(&self) -> bool {
        self.met()
            .is_some_and(|since| since.elapsed() < PAST_LOCKED_FOR)
    }
}

/// One column for each parameter of [`RECORD`].
#[derive(Default)]
struct Columns<'a> {
    id: Vec<i64>,
    token: Vec<i64>,
    seq: Vec<i64>,
    state: Vec<&'static str>,
    counted: Vec<i64>,
    next_attempt_at: Vec<Option<i64>>,
    finished_at: Vec<Option<i64>>,
    outcome: Vec<&'static str>,
    started_at: Vec<i64>,
    duration_ms: Vec<i64>,
    http_status: Vec<Option<i64>>,
    detail: Vec<String>,
    response_excerpt: Vec<Option<String>>,
    remote_addr: Vec<Option<String>>,
    sent_timestamp: Vec<Option<i64>>,
    sign: Vec<Option<&'a str>>,
    key_id: Vec<Option<&'a str>>,
    body_sha256: Vec<Option<&'a str>>,
    phase: Vec<Option<&'static str>>,
    phases: Vec<Option<String>>,
    to_url: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    /// Times are those of the server's clock.
    fn push(&mut self, ended: &'a CompletedAttempt, skew: Skew) {
        let (lease, attempt) = (&ended.claimed.lease, &ended.attempt);
        let outcome = ended.outcome();
        let sent = attempt.sent.as_ref();
        self.id.push(lease.id().0);
        self.token.push(lease.token());
        self.seq.push(lease.seq());
        self.state.push(outcome.state);
        self.counted.push(i64::from(attempt.verdict.counted));
        let there = |here| skew.millis_there(here);
        self.next_attempt_at
            .push(outcome.next_attempt_at.map(there));
        self.finished_at.push(outcome.finished_at.map(there));
        self.outcome.push(attempt.verdict.outcome.as_str());
        self.started_at
            .push(skew.there(attempt.started_at).as_millis());
        self.duration_ms
            .push(i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX));
        self.http_status.push(attempt.http_status.map(i64::from));
        self.detail.push(storable(&attempt.verdict.detail));
        self.response_excerpt
            .push(attempt.response_excerpt.as_deref().map(storable));
        self.remote_addr
            .push(attempt.remote_addr.map(|addr| addr.to_string()));
        self.sent_timestamp
            .push(sent.map(|sent| sent.timestamp.as_millis()));
        self.sign.push(sent.map(|sent| sent.sign.as_str()));
        self.key_id.push(sent.map(|sent| sent.key_id.as_str()));
        self.body_sha256
            .push(sent.map(|sent| sent.body_sha256.as_str()));
        self.phase.push(attempt.phase.map(Phase::as_str));
        self.phases.push(attempt.phases.to_json());
        self.to_url.push(ended.claimed.to_url());
    }
}

/// PostgreSQL's texts have no NUL; a merchant's answer may.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What became of each of `ended`; `None`: its row is locked by another session.
///
/// A record waits for a locked row only for a moment. If it is locked for longer, the others are
/// recorded without it.
pub(super) async fn record(
    pool: &Pool,
    locked_rows: &LockedRows,
    ended: &[CompletedAttempt],
    skew: Skew,
) -> Result<Vec<Option<Recorded>>, StoreError> {
    let mut columns = Columns::default();
    for ended in ended {
        columns.push(ended, skew);
    }
    let client = pool.client().await?;
    let mut passes_over = locked_rows.are_passed_over();
    let mut moved = record_columns(&client, &columns, passes_over).await;
    if let (Err(StoreError::Busy(_)), false) = (&moved, passes_over) {
        *locked_rows.met() = Some(Stopwatch::start());
        passes_over = true;
        moved = record_columns(&client, &columns, passes_over).await;
    }
    let mut moved = moved?;
    failpoint::here!("record-after-commit");
    let mut locked = HashSet::new();
    if moved.len() < ended.len() {
        moved.extend(client.within(recorded_before(&client, &columns)).await?);
        if passes_over && moved.len() < ended.len() {
            let asking = async {
                client
                    .query(STILL_HELD, &[&columns.id, &columns.token])
                    .await
            };
            locked = leases(&client.within(asking).await?);
        }
    }
    Ok(ended
        .iter()
        .map(|ended| {
            let lease = (ended.claimed.lease.id().0, ended.claimed.lease.token());
            match (moved.contains(&lease), locked.contains(&lease)) {
                (true, _) => Some(Recorded::Applied),
                (false, true) => None,
                (false, false) => Some(Recorded::LeaseLost),
            }
        })
        .collect())
}

/// Id and token of each.
fn leases(rows: &[Row]) -> HashSet<(i64, i64)> {
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn record_columns(
    client: &Lent,
    columns: &Columns<'_>,
    passes_over: bool,
) -> Result<HashSet<(i64, i64)>, StoreError> {
    let past_locked = if passes_over { PAST_LOCKED } else { "" };
    let sql = RECORD.replace("{past_locked}", past_locked);
    let recording = async {
        let statement = client.prepare_cached(&sql).await?;
        client
            .query(
                &statement,
                &[
                    &columns.id,
                    &columns.token,
                    &columns.seq,
                    &columns.state,
                    &columns.counted,
                    &columns.next_attempt_at,
                    &columns.finished_at,
                    &columns.outcome,
                    &columns.started_at,
                    &columns.duration_ms,
                    &columns.http_status,
                    &columns.detail,
                    &columns.response_excerpt,
                    &columns.remote_addr,
                    &columns.sent_timestamp,
                    &columns.sign,
                    &columns.key_id,
                    &columns.body_sha256,
                    &columns.phase,
                    &columns.phases,
                    &columns.to_url,
                ],
            )
            .await
    };
    let moved = client.within::<_, tokio_postgres::Error>(recording).await?;
    Ok(leases(&moved))
}

/// Those of the attempts that the log has already: the connection broke after the commit, so it is
/// asked for again. No other attempt has the same body, and of those without one, which were not sent,
/// hardly any the same duration. The number of a late acknowledgement is the one after its own.
const RECORDED_BEFORE: &str = "
SELECT e.id, e.token
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
  AS e (id, token, seq, duration_ms, outcome, body_sha256)
JOIN callback_attempt a ON a.callback_id = e.id AND a.seq BETWEEN e.seq AND e.seq + 1
WHERE a.duration_ms = e.duration_ms AND a.outcome = e.outcome
  AND a.body_sha256 IS NOT DISTINCT FROM e.body_sha256";

async fn recorded_before(
    client: &Client,
    columns: &Columns<'_>,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let statement = client.prepare_cached(RECORDED_BEFORE).await?;
    let rows = client
        .query(
            &statement,
            &[
                &columns.id,
                &columns.token,
                &columns.seq,
                &columns.duration_ms,
                &columns.outcome,
                &columns.body_sha256,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// An attempt of no callback, as it would be recorded now.
const PROBE: &str = "
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
VALUES (0, 0, callback_now(), 0, 'interrupted', 0)";

/// Whether an attempt could be recorded now. Leaves nothing.
pub(super) async fn probe(pool: &Pool) -> Result<(), StoreError> {
    let mut client = pool.client().await?;
    let call = client.call();
    let probing = async {
        let transaction = client.transaction().await?;
        transaction.execute(PROBE, &[]).await?;
        transaction.rollback().await
    };
    call.within(probing).await
}
