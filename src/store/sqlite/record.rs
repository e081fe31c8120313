//! Ending an attempt: the log and the row, in one transaction.

use std::net::SocketAddr;

use rusqlite::{Connection, Statement};

use super::connection::store_error;
use crate::domain::{Outcome, Phase, Timestamp};
use crate::failpoint;
use crate::store::{CompletedAttempt, INTERRUPTED, Recorded, StoreError};

/// Only the holder of the lease moves the row on, and only while it is still pending.
pub(super) const MOVE_ON: &str = "
UPDATE callback_queue
SET state = ?1, attempts = attempts + ?2, next_attempt_at = ?3, finished_at = ?4, last_outcome = ?5,
    attempt_seq = ?6, leased_until = NULL, leased_at = NULL, lease_token = NULL
WHERE id = ?7 AND state = 'pending' AND lease_token = ?8";

const LOG: &str = "
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
  http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256,
  phase, phases, to_url)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

pub(super) fn record(
    db: &Connection,
    ended: &[CompletedAttempt],
) -> Result<Vec<Recorded>, StoreError> {
    let write = || {
        let mut moving_on = db.prepare_cached(MOVE_ON)?;
        let mut log_entry = db.prepare_cached(LOG)?;
        let mut address = AddressText::default();
        ended
            .iter()
            .map(|ended| {
                if move_on(&mut moving_on, ended)? == 0 {
                    return Ok(Recorded::LeaseLost);
                }
                failpoint::here!("record-before-log");
                log(&mut log_entry, ended, &mut address).map(|()| Recorded::Applied)
            })
            .collect::<rusqlite::Result<_>>()
    };
    let recorded = write().map_err(|error| store_error(&error))?;
    failpoint::here!("record-before-commit");
    Ok(recorded)
}

fn move_on(statement: &mut Statement<'_>, ended: &CompletedAttempt) -> rusqlite::Result<usize> {
    let (lease, verdict) = (&ended.claimed.lease, &ended.attempt.verdict);
    let outcome = ended.outcome();
    statement.execute((
        outcome.state,
        verdict.counted,
        outcome.next_attempt_at,
        outcome.finished_at,
        verdict.outcome.as_str(),
        lease.seq(),
        lease.id().0,
        lease.token(),
    ))
}

/// An address as text, made once for those that come one after another: a batch is often for few
/// merchants.
#[derive(Default)]
struct AddressText(Option<(SocketAddr, String)>);

impl AddressText {
    fn of(&mut self, address: SocketAddr) -> &str {
        let last = self.0.take_if(|(last, _)| *last == address);
        let made = last.unwrap_or_else(|| (address, address.to_string()));
        &self.0.insert(made).1
    }
}

fn log(
    statement: &mut Statement<'_>,
    ended: &CompletedAttempt,
    address: &mut AddressText,
) -> rusqlite::Result<()> {
    let (lease, attempt) = (&ended.claimed.lease, &ended.attempt);
    let sent = attempt.sent.as_ref();
    statement
        .execute(rusqlite::params![
            lease.id().0,
            lease.seq(),
            attempt.started_at.as_millis(),
            i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX),
            attempt.verdict.outcome.as_str(),
            attempt.verdict.counted,
            attempt.http_status,
            attempt.verdict.detail,
            attempt.response_excerpt,
            attempt.remote_addr.map(|remote| address.of(remote)),
            sent.map(|sent| sent.timestamp.as_millis()),
            sent.map(|sent| &sent.sign),
            sent.map(|sent| &sent.key_id),
            sent.map(|sent| &sent.body_sha256),
            attempt.phase.map(Phase::as_str),
            attempt.phases.to_json(),
            ended.claimed.to_url(),
        ])
        .map(|_| ())
}

pub(super) const LOG_INTERRUPTED: &str = "
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail, to_url)
SELECT id, attempt_seq + 1, leased_at, 0, ?1, 0, ?2, to_url
FROM callback_queue INDEXED BY callback_in_flight WHERE leased_until IS NOT NULL";

pub(super) const RELEASE_INTERRUPTED: &str = "
UPDATE callback_queue INDEXED BY callback_in_flight
SET next_attempt_at = ?1, last_outcome = ?2, attempt_seq = attempt_seq + 1,
    leased_until = NULL, leased_at = NULL, lease_token = NULL
WHERE leased_until IS NOT NULL";

pub(super) fn interrupt_in_flight(db: &Connection, now: &Timestamp) -> Result<usize, StoreError> {
    let interrupted = Outcome::Interrupted.as_str();
    let write = || {
        db.execute(LOG_INTERRUPTED, [interrupted, INTERRUPTED])?;
        failpoint::here!("reclaim-before-release");
        db.execute(RELEASE_INTERRUPTED, (now.as_millis(), interrupted))
    };
    write().map_err(|error| store_error(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_its_attempt() {
        let mut text = AddressText::default();
        for address in [
            "192.0.2.7:443",
            "192.0.2.7:443",
            "[2001:db8::7]:8443",
            "192.0.2.7:443",
        ] {
            assert_eq!(text.of(address.parse().expect("an address")), address);
        }
    }
}
