-- From schema version 2 to 3: the chain of days, and a view that does not read the whole queue.
--
-- What it makes is what schema.sql has; a test compares the two.

-- The chain of days, by which an auditor checks that no callback was left out or altered; see
-- docs/reconcile.md. Written by the dispatcher an hour after the end of each day (UTC).
CREATE TABLE reconciliation (
  day          TEXT    NOT NULL PRIMARY KEY, -- 2026-11-24
  previous     TEXT    NOT NULL,             -- digest of the day before; 64 zeros: there is none
  first_id     INTEGER NOT NULL,             -- no callback below this id belongs to it
  last_id      INTEGER NOT NULL,             -- newest id when the day was closed
  next_id      INTEGER NOT NULL,             -- no callback below this id belongs to a later day
  created_from INTEGER,                      -- created_at of its earliest callback, and of its latest
  created_to   INTEGER,
  queued       INTEGER NOT NULL,             -- its callbacks, as they stood when it was closed
  acknowledged INTEGER NOT NULL,
  exhausted    INTEGER NOT NULL,
  cancelled    INTEGER NOT NULL,
  pending      INTEGER NOT NULL,
  unknown      INTEGER NOT NULL,
  closed_at    INTEGER NOT NULL,
  rows_sha256  TEXT    NOT NULL,             -- SHA-256 of its callbacks' lines
  digest       TEXT    NOT NULL,             -- SHA-256 of all of the above
  CONSTRAINT day_is_a_day
    CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' AND date(day, '+0 days') IS day),
  CONSTRAINT digests_are_64_hexadecimal_digits
    CHECK (length(previous) = 64 AND previous NOT GLOB '*[^0-9a-f]*'
      AND length(rows_sha256) = 64 AND rows_sha256 NOT GLOB '*[^0-9a-f]*'
      AND length(digest) = 64 AND digest NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT each_callback_is_counted_once
    CHECK (queued = acknowledged + exhausted + cancelled + pending + unknown)
) STRICT;

-- The callbacks that were not acknowledged when their day was closed: what becomes of them later
-- does not change the day.
CREATE TABLE reconciliation_open (
  day         TEXT    NOT NULL,
  callback_id INTEGER NOT NULL,
  state       TEXT    NOT NULL,
  seq         INTEGER NOT NULL, -- newest attempt; 0: none
  PRIMARY KEY (day, callback_id),
  CONSTRAINT state_is_known
    CHECK (state IN ('exhausted', 'cancelled', 'pending', 'unknown'))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER reconciliation_goes_on_from_its_end
BEFORE INSERT ON reconciliation
WHEN NEW.day <= (SELECT max(day) FROM reconciliation)
  OR NEW.previous IS NOT coalesce((SELECT digest FROM reconciliation ORDER BY day DESC LIMIT 1),
    '0000000000000000000000000000000000000000000000000000000000000000')
BEGIN
  SELECT RAISE(ABORT, 'reconciliation: a day goes behind the newest, and holds its digest');
END;

CREATE TRIGGER reconciliation_is_not_changed
BEFORE UPDATE ON reconciliation
BEGIN
  SELECT RAISE(ABORT, 'reconciliation: a closed day does not change');
END;

CREATE TRIGGER reconciliation_is_not_deleted
BEFORE DELETE ON reconciliation
BEGIN
  SELECT RAISE(ABORT, 'reconciliation: a closed day is kept');
END;

CREATE TRIGGER reconciliation_open_is_written_before_its_day
BEFORE INSERT ON reconciliation_open
WHEN NEW.day <= (SELECT max(day) FROM reconciliation)
BEGIN
  SELECT RAISE(ABORT, 'reconciliation_open: this day is closed');
END;

CREATE TRIGGER reconciliation_open_is_not_changed
BEFORE UPDATE ON reconciliation_open
BEGIN
  SELECT RAISE(ABORT, 'reconciliation_open: what was left open does not change');
END;

CREATE TRIGGER reconciliation_open_is_kept_with_its_day
BEFORE DELETE ON reconciliation_open
WHEN OLD.day <= (SELECT max(day) FROM reconciliation)
BEGIN
  SELECT RAISE(ABORT, 'reconciliation_open: this day is closed');
END;

DROP VIEW callback_stuck;
CREATE VIEW callback_stuck AS
SELECT
  q.id,
  q.kind,
  q.app_id,
  q.order_no,
  q.origin,
  CASE
    WHEN q.leased_until IS NOT NULL       THEN 'in flight past its lease: has the dispatcher died?'
    WHEN EXISTS (SELECT 1 FROM paused p WHERE p.scope = 'origin' AND p.name = q.origin)
                                          THEN 'its origin is paused by an operator: see the table paused'
    WHEN EXISTS (SELECT 1 FROM paused p WHERE p.scope = 'app' AND p.name = q.app_id)
                                          THEN 'its app is paused by an operator: see the table paused'
    WHEN q.last_outcome = 'unsignable'    THEN 'no usable key for this app: see keys.toml'
    ELSE 'due, but not claimed: is the dispatcher running, or the origin at its limit?'
  END                                                                                       AS why,
  max(0, CAST(strftime('%s', 'now') AS INTEGER) * 1000 - coalesce(q.leased_until, q.next_attempt_at)) / 1000
                                                                                            AS behind_seconds,
  q.attempts,
  q.last_outcome,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.created_at / 1000.0, 'unixepoch')                        AS created_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.next_attempt_at / 1000.0, 'unixepoch')                   AS next_attempt_at
-- In three parts, each of which has an index of its own: what waits, what a pause holds, what is in flight.
FROM (
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, last_outcome, created_at
  FROM callback_queue INDEXED BY callback_due WHERE state = 'pending' AND leased_until IS NULL AND held = 0
  UNION ALL
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, last_outcome, created_at
  FROM callback_queue INDEXED BY callback_held WHERE held = 1
  UNION ALL
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, last_outcome, created_at
  FROM callback_queue INDEXED BY callback_in_flight WHERE leased_until IS NOT NULL
) q
WHERE coalesce(q.leased_until, q.next_attempt_at) < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 60000
  OR q.last_outcome = 'unsignable';
