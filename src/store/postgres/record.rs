//! Ending attempts: the log and the rows, in one statement.

use std::collections::HashSet;

use deadpool_postgres::Client;
use tokio_postgres::GenericClient;

use super::connection::Pool;
use crate::domain::{Outcome, Phase, Timestamp};
use crate::failpoint;
use crate::store::{CompletedAttempt, INTERRUPTED, Recorded, StoreError};

/// Only the holder of a lease moves its row on, and only while it is still pending; only what has
/// moved on is logged. Rows are locked in the order of their ids, as by every statement that waits
/// for locks, so that no two of them wait for each other.
const RECORD: &str = "
WITH ended AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[],
      $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
      $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::text[], $18::text[],
      $19::text[], $20::text[])
    AS e (callback_id, token, seq, state, counted, next_attempt_at, finished_at, outcome, started_at,
      duration_ms, http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id,
      body_sha256, phase, phases)
  ORDER BY callback_id
), moved AS (
  UPDATE callback_queue q
  SET state = e.state, attempts = q.attempts + e.counted, next_attempt_at = e.next_attempt_at,
      finished_at = e.finished_at, last_outcome = e.outcome, attempt_seq = e.seq,
      leased_until = NULL, leased_at = NULL, lease_token = NULL
  FROM ended e
  WHERE q.id = e.callback_id AND q.state = 'pending' AND q.lease_token = e.token
  RETURNING e.*
), logged AS (
  INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
    http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256,
    phase, phases)
  SELECT callback_id, seq, started_at, duration_ms, outcome, counted, http_status, detail,
    response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256, phase, phases
  FROM moved
)
SELECT callback_id, token FROM moved";

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
}

impl<'a> Columns<'a> {
    fn push(&mut self, ended: &'a CompletedAttempt) {
        let (lease, attempt) = (&ended.claimed.lease, &ended.attempt);
        let outcome = ended.outcome();
        let sent = attempt.sent.as_ref();
        self.id.push(lease.id().0);
        self.token.push(lease.token());
        self.seq.push(lease.seq());
        self.state.push(outcome.state);
        self.counted.push(i64::from(attempt.verdict.counted));
        self.next_attempt_at.push(outcome.next_attempt_at);
        self.finished_at.push(outcome.finished_at);
        self.outcome.push(attempt.verdict.outcome.as_str());
        self.started_at.push(attempt.started_at.as_millis());
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
    }
}

/// PostgreSQL's texts have no NUL; a merchant's answer may.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) async fn record(
    pool: &Pool,
    ended: &[CompletedAttempt],
) -> Result<Vec<Recorded>, StoreError> {
    let client = pool.client().await?;
    let mut columns = Columns::default();
    for ended in ended {
        columns.push(ended);
    }
    let recording = async {
        let statement = client.prepare_cached(RECORD).await?;
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
                ],
            )
            .await
    };
    let moved = client.within(recording).await?;
    failpoint::here!("record-after-commit");
    let mut moved: HashSet<(i64, i64)> = moved.iter().map(|row| (row.get(0), row.get(1))).collect();
    if moved.len() < ended.len() {
        moved.extend(client.within(recorded_before(&client, &columns)).await?);
    }
    Ok(ended
        .iter()
        .map(|ended| {
            match moved.contains(&(ended.claimed.lease.id().0, ended.claimed.lease.token())) {
                true => Recorded::Applied,
                false => Recorded::LeaseLost,
            }
        })
        .collect())
}

/// Those of the attempts that the log has already: the connection broke behind the commit, so it is
/// asked for again. No other attempt has the same number, moment and body.
const RECORDED_BEFORE: &str = "
SELECT e.id, e.token
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
  AS e (id, token, seq, started_at, outcome, body_sha256)
JOIN callback_attempt a ON a.callback_id = e.id AND a.seq = e.seq
WHERE a.started_at = e.started_at AND a.outcome = e.outcome
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
                &columns.started_at,
                &columns.outcome,
                &columns.body_sha256,
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Attempts that one statement ends.
const INTERRUPTED_MAX: i64 = 1000;

/// Takes over what nobody has renewed, by the database's clock. Two dispatchers that do so at once
/// pass each other's rows over.
const INTERRUPT_LAPSED: &str = "
WITH lapsed AS MATERIALIZED (
  SELECT id, attempt_seq + 1 AS seq, leased_at FROM callback_queue
  WHERE leased_until IS NOT NULL AND leased_until < callback_now()
  ORDER BY leased_until LIMIT $3
  FOR UPDATE SKIP LOCKED
), moved AS (
  UPDATE callback_queue q
  SET next_attempt_at = $1, last_outcome = $2, attempt_seq = lapsed.seq,
      leased_until = NULL, leased_at = NULL, lease_token = NULL
  FROM lapsed WHERE q.id = lapsed.id
)
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail)
SELECT id, seq, leased_at, 0, $2, 0, $4
FROM lapsed";

pub(super) async fn interrupt_lapsed(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let client = pool.client().await?;
    let mut all = 0;
    loop {
        let ended = client.within(interrupt(&***client, now, INTERRUPTED_MAX));
        let ended = ended.await?;
        all += usize::try_from(ended).unwrap_or(usize::MAX);
        if ended < INTERRUPTED_MAX.unsigned_abs() {
            return Ok(all);
        }
    }
}

/// Ends at most `limit` attempts whose leases have lapsed; returns how many it were.
pub(super) async fn interrupt(
    client: &impl GenericClient,
    now: Timestamp,
    limit: i64,
) -> Result<u64, tokio_postgres::Error> {
    let interrupted = Outcome::Interrupted.as_str();
    client
        .execute(
            INTERRUPT_LAPSED,
            &[&now.as_millis(), &interrupted, &limit, &INTERRUPTED],
        )
        .await
}
