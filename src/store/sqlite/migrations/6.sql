-- From schema version 5 to 6: claims go by endpoint, and a pause sets nothing aside.
--
-- What it makes is what schema.sql has; a test compares the two.

-- A resume that was putting callbacks back has nothing left to do. A queue that a transfer has marked
-- is not changed.
UPDATE operator_command SET status = 'done', done = 1, answer = 'resumed', finished_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000
WHERE action = 'resume' AND started_at IS NOT NULL AND finished_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM queue_moved UNION ALL SELECT 1 FROM queue_arriving);

DROP VIEW callback_stuck;
DROP VIEW merchant_health;
DROP INDEX callback_due;
DROP INDEX callback_held;
ALTER TABLE callback_queue DROP COLUMN held;
ALTER TABLE callback_queue ADD COLUMN to_url TEXT;
ALTER TABLE callback_attempt ADD COLUMN to_url TEXT;
ALTER TABLE operator_command ADD COLUMN to_url TEXT;
ALTER TABLE operator_command ADD COLUMN command_id INTEGER;

CREATE INDEX callback_due ON callback_queue (app_id, origin, next_attempt_at)
  WHERE state = 'pending' AND leased_until IS NULL;

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
    WHEN q.last_outcome = 'unsignable'    THEN 'it can''t be signed: ' || coalesce(
      (SELECT a.detail FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq), 'see its attempts')
    WHEN EXISTS (SELECT 1 FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq
      AND a.counted = 0 AND a.outcome NOT IN ('interrupted', 'unsignable'))
                                          THEN 'not charged to the merchant, and tried until it works: ' ||
      (SELECT a.detail FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq)
    ELSE 'due, but not claimed: is the dispatcher running, or the origin at its limit?'
  END                                                                                       AS why,
  max(0, CAST(strftime('%s', 'now') AS INTEGER) * 1000 - coalesce(q.leased_until, q.next_attempt_at)) / 1000
                                                                                            AS behind_seconds,
  q.attempts,
  q.last_outcome,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.created_at / 1000.0, 'unixepoch')                        AS created_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.next_attempt_at / 1000.0, 'unixepoch')                   AS next_attempt_at
-- In two parts, each of which has an index of its own: what waits, and what is in flight.
FROM (
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, attempt_seq, last_outcome, created_at
  FROM callback_queue INDEXED BY callback_due WHERE state = 'pending' AND leased_until IS NULL
  UNION ALL
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, attempt_seq, last_outcome, created_at
  FROM callback_queue INDEXED BY callback_in_flight WHERE leased_until IS NOT NULL
) q
WHERE coalesce(q.leased_until, q.next_attempt_at) < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 60000
  OR q.last_outcome = 'unsignable'
  OR q.leased_until IS NULL AND EXISTS (SELECT 1 FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq
      AND a.counted = 0 AND a.outcome NOT IN ('interrupted', 'unsignable'));

CREATE VIEW merchant_health AS
SELECT
  c.app_id,
  sum(c.state = 'pending')                                                                  AS pending,
  sum(c.state = 'pending' AND c.attempts > 0)                                               AS retrying,
  sum(c.state = 'delivered')                                                                AS delivered_24h,
  sum(c.state = 'exhausted')                                                                AS exhausted_24h,
  round(100.0 * sum(c.state = 'delivered')
    / nullif(sum(c.state IN ('delivered', 'exhausted')), 0), 2)                             AS delivered_percent_24h,
  round(avg(CASE WHEN c.state = 'delivered' THEN c.finished_at - c.created_at END) / 1000.0, 3)
                                                                                            AS mean_lag_seconds_24h,
  strftime('%Y-%m-%dT%H:%M:%fZ', max(CASE WHEN c.state = 'delivered' THEN c.finished_at END) / 1000.0, 'unixepoch')
                                                                                            AS last_delivered_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', min(CASE WHEN c.state = 'pending' THEN c.created_at END) / 1000.0, 'unixepoch')
                                                                                            AS oldest_pending_created_at
FROM (
  SELECT app_id, state, attempts, created_at, finished_at FROM callback_queue
  WHERE state = 'pending' AND leased_until IS NULL
  UNION ALL
  SELECT app_id, state, attempts, created_at, finished_at FROM callback_queue
  WHERE leased_until IS NOT NULL
  UNION ALL
  SELECT app_id, state, attempts, created_at, finished_at FROM callback_queue
  WHERE state IN ('delivered', 'exhausted')
    AND finished_at IS NOT NULL
    AND finished_at >= CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 86400000
) c
GROUP BY c.app_id;

-- Removing a CHECK changes nothing that is stored, so the tables need not be made again:
-- https://www.sqlite.org/lang_altertable.html#otheralter
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql,
  ',
  CONSTRAINT last_outcome_is_known
    CHECK (last_outcome IS NULL OR CASE last_outcome WHEN ''acknowledged'' THEN 1 WHEN ''refused'' THEN 1 WHEN ''unreadable'' THEN 1
      WHEN ''http_status'' THEN 1 WHEN ''timeout'' THEN 1 WHEN ''dns'' THEN 1 WHEN ''connect'' THEN 1 WHEN ''tls'' THEN 1
      WHEN ''protocol'' THEN 1 WHEN ''blocked'' THEN 1 WHEN ''interrupted'' THEN 1 WHEN ''unsignable'' THEN 1 ELSE 0 END)', '')
WHERE type = 'table' AND name = 'callback_queue';
UPDATE sqlite_schema SET sql = replace(sql,
  '
  CONSTRAINT outcome_is_known
    CHECK (CASE outcome WHEN ''acknowledged'' THEN 1 WHEN ''refused'' THEN 1 WHEN ''unreadable'' THEN 1
      WHEN ''http_status'' THEN 1 WHEN ''timeout'' THEN 1 WHEN ''dns'' THEN 1 WHEN ''connect'' THEN 1 WHEN ''tls'' THEN 1
      WHEN ''protocol'' THEN 1 WHEN ''blocked'' THEN 1 WHEN ''interrupted'' THEN 1 WHEN ''unsignable'' THEN 1 ELSE 0 END),', '')
WHERE type = 'table' AND name = 'callback_attempt';
-- Rules are widened where they stand; no row has to be looked at again.
UPDATE sqlite_schema SET sql = replace(replace(sql,
  'action_is_resend_cancel_pause_or_resume', 'action_is_known'),
  'WHEN ''resume'' THEN 1 ELSE 0 END', 'WHEN ''resume'' THEN 1 WHEN ''prune'' THEN 1 ELSE 0 END')
WHERE type = 'table' AND name = 'operator_command';
UPDATE sqlite_schema SET sql = replace(sql,
  'CHECK (action IN (''resend'', ''cancel'')', 'CHECK (action IN (''resend'', ''cancel'', ''prune'')')
WHERE type = 'table' AND name = 'operator_command';
UPDATE sqlite_schema SET sql = replace(replace(sql, 'state, since, until) IS NOT NULL', 'state, since, until, command_id) IS NOT NULL'),
  '  CONSTRAINT actor_is_not_empty', '  CONSTRAINT command_id_is_for_a_cancel
    CHECK (command_id IS NULL OR action = ''cancel''),
  CONSTRAINT to_url_is_for_the_resend_of_one_order
    CHECK (to_url IS NULL OR (action = ''resend'' AND coalesce(callback_id, order_number) IS NOT NULL)),
  CONSTRAINT to_url_is_an_absolute_http_or_https_url
    CHECK (to_url IS NULL OR (length(to_url) <= 2048
      AND (lower(substr(to_url, 1, 8)) = ''https://'' OR lower(substr(to_url, 1, 7)) = ''http://'')
      AND instr(''/?#\:@'', substr(to_url, instr(to_url, ''://'') + 3, 1)) = 0
      AND to_url NOT GLOB (''*['' || char(1) || ''-'' || char(32) || char(127) || '']*'') AND instr(to_url, char(0)) = 0)),
  CONSTRAINT actor_is_not_empty')
WHERE type = 'table' AND name = 'operator_command';
PRAGMA writable_schema = RESET;

-- The marks of a transfer have new names, and so have the triggers that are made with them. Those of a
-- queue that moves in stood without a mark as well.
CREATE TABLE internal_transfer_out (
  id          INTEGER PRIMARY KEY,
  transfer_id TEXT    NOT NULL, -- random
  to_name     TEXT    NOT NULL,
  marked_at   INTEGER NOT NULL,
  verified_at INTEGER,          -- since then the other database is the queue
  CONSTRAINT transfer_out_is_one_row
    CHECK (id = 1)
) STRICT;

CREATE TABLE internal_transfer_in (
  id          INTEGER PRIMARY KEY,
  transfer_id TEXT    NOT NULL,           -- as in internal_transfer_out of the other database
  from_name   TEXT    NOT NULL,
  marked_at   INTEGER NOT NULL,
  copying     INTEGER NOT NULL DEFAULT 0, -- 1 inside the transactions of `transfer`, and so for it alone
  CONSTRAINT transfer_in_is_one_row
    CHECK (id = 1)
) STRICT;
INSERT INTO internal_transfer_out SELECT 1, source, to_name, at, verified_at FROM queue_moved;
INSERT INTO internal_transfer_in SELECT 1, source, from_name, at, copying FROM queue_arriving;
DROP TABLE queue_moved;
DROP TABLE queue_arriving;
DROP TRIGGER operator_command_begins_waiting;
CREATE TRIGGER operator_command_begins_waiting
BEFORE INSERT ON operator_command
WHEN (NEW.status <> 'waiting' AND NOT EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 1))
  OR EXISTS (SELECT 1 FROM operator_command WHERE id = NEW.id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command: a new row waits; the dispatcher carries it out and answers');
END;

PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET
  name = replace(replace(name, 'waits_for_its_transfer', 'transfer_in_insert'), '_has_moved_', '_transfer_out_'),
  sql = replace(replace(replace(sql, 'waits_for_its_transfer', 'transfer_in_insert'), '_has_moved_', '_transfer_out_'),
    'queue_arriving', 'internal_transfer_in')
WHERE type = 'trigger' AND (name LIKE '%_waits_for_its_transfer' OR name LIKE '%_has_moved_%');
DELETE FROM sqlite_schema
WHERE type = 'trigger' AND name LIKE '%_transfer_in_insert' AND NOT EXISTS (SELECT 1 FROM internal_transfer_in);
PRAGMA writable_schema = RESET;

DROP TRIGGER callback_queue_fills_in_whom_it_goes_to;
DROP TRIGGER callback_queue_keeps_whom_it_goes_to;
CREATE TRIGGER callback_queue_set_origin
AFTER INSERT ON callback_queue
BEGIN
  -- A CHECK would also condemn rows that older versions let in, and a transfer brings.
  SELECT CASE
    WHEN NEW.id <= 0 THEN RAISE(ABORT, 'callback_queue: id_is_positive')
    WHEN length(CAST(NEW.app_id AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: app_id_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.amount AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: amount_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.newpay_order_no AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: newpay_order_no_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.order_no AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: order_no_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.newpay_refund_order_no AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: newpay_refund_order_no_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.refund_order_no AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: refund_order_no_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.subject AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: subject_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.extra AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: extra_is_at_most_16384_bytes')
    WHEN length(CAST(NEW.trans_info AS BLOB)) > 16384 THEN RAISE(ABORT, 'callback_queue: trans_info_is_at_most_16384_bytes')
  END WHERE NOT EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 1);
  UPDATE callback_queue
  SET origin = (
    SELECT rtrim(replace(authority || '/', CASE WHEN authority LIKE 'https:%' THEN ':443/' ELSE ':80/' END, '/'), '/')
    FROM (SELECT lower(substr(url, 1, 7 + instr(
      replace(replace(replace(substr(url, 9), '?', '/'), '#', '/'), '\', '/') || '/', '/'))) AS authority
      FROM (SELECT coalesce(NEW.to_url, NEW.callback_url) AS url)))
  WHERE id = NEW.id;
END;

CREATE TRIGGER callback_queue_keep_origin
BEFORE UPDATE OF origin ON callback_queue
WHEN OLD.origin <> '' AND OLD.origin IS NOT NEW.origin AND OLD.to_url IS NEW.to_url
BEGIN
  SELECT RAISE(ABORT, 'callback_queue: the origin is that of callback_url, which does not change after the INSERT');
END;

DROP VIEW callback_status;
DROP VIEW callback_exhausted;
CREATE VIEW callback_status AS
SELECT
  q.id,
  q.kind,
  q.app_id,
  q.order_no,
  q.newpay_order_no,
  q.refund_order_no,
  q.newpay_refund_order_no,
  q.amount,
  q.currency,
  q.result,
  CASE WHEN q.leased_until IS NOT NULL THEN 'in_flight' ELSE q.state END                    AS state,
  q.attempts,
  q.last_outcome,
  (SELECT a.detail FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq)
                                                                                            AS last_detail,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.created_at / 1000.0, 'unixepoch')                        AS created_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.next_attempt_at / 1000.0, 'unixepoch')                   AS next_attempt_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.finished_at / 1000.0, 'unixepoch')                       AS finished_at,
  q.callback_url,
  q.to_url
FROM callback_queue q;

CREATE VIEW callback_exhausted AS
SELECT
  q.id,
  q.kind,
  q.app_id,
  q.order_no,
  q.refund_order_no,
  q.result,
  q.amount,
  q.currency,
  q.last_outcome,
  (SELECT a.http_status FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq)
                                                                                            AS last_http_status,
  (SELECT a.detail FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq)
                                                                                            AS last_detail,
  strftime('%Y-%m-%dT%H:%M:%fZ', q.finished_at / 1000.0, 'unixepoch')                       AS exhausted_at,
  q.callback_url,
  q.to_url
FROM callback_queue q
WHERE q.state = 'exhausted' AND q.finished_at IS NOT NULL;

CREATE INDEX callback_by_created ON callback_queue (created_at);

DROP TRIGGER callback_queue_notes_what_is_in_the_way;
DROP TRIGGER callback_queue_is_not_replaced;
DROP TRIGGER callback_queue_keeps_what_is_owed;
DROP TABLE callback_in_the_way;
CREATE TABLE internal_conflict (callback_id INTEGER NOT NULL) STRICT;

CREATE TRIGGER callback_queue_note_conflict
BEFORE INSERT ON callback_queue
WHEN EXISTS (SELECT 1 FROM internal_conflict)
  OR EXISTS (SELECT 1 FROM callback_queue WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM callback_queue
    WHERE kind = 'payment' AND NEW.kind = 'payment' AND newpay_order_no = NEW.newpay_order_no)
  OR EXISTS (SELECT 1 FROM callback_queue
    WHERE kind = 'refund' AND NEW.kind = 'refund' AND newpay_refund_order_no = NEW.newpay_refund_order_no)
BEGIN
  DELETE FROM internal_conflict;
  INSERT INTO internal_conflict
  SELECT id FROM callback_queue WHERE id = NEW.id
  UNION ALL
  SELECT id FROM callback_queue WHERE kind = 'payment' AND NEW.kind = 'payment' AND newpay_order_no = NEW.newpay_order_no
  UNION ALL
  SELECT id FROM callback_queue
  WHERE kind = 'refund' AND NEW.kind = 'refund' AND newpay_refund_order_no = NEW.newpay_refund_order_no;
END;

CREATE TRIGGER callback_queue_refuse_replace
AFTER INSERT ON callback_queue WHEN EXISTS (SELECT 1 FROM internal_conflict)
BEGIN
  SELECT RAISE(ABORT, 'callback_queue: this result is queued already; use ON CONFLICT DO NOTHING, not REPLACE');
END;

CREATE TRIGGER callback_queue_refuse_delete
BEFORE DELETE ON callback_queue WHEN OLD.state = 'pending'
BEGIN
  SELECT RAISE(ABORT, 'callback_queue: a pending callback is owed to a merchant; cancel it, do not delete it');
END;

ALTER TABLE operator_command RENAME COLUMN looked_up_to TO scan_position;
ALTER TABLE operator_command RENAME COLUMN looks_up_to TO scan_end;
DROP TRIGGER operator_command_is_immutable;
CREATE TRIGGER operator_command_is_immutable
BEFORE UPDATE ON operator_command
WHEN OLD.finished_at IS NOT NULL
  OR OLD.id IS NOT NEW.id OR OLD.action IS NOT NEW.action OR OLD.callback_id IS NOT NEW.callback_id
  OR OLD.order_number IS NOT NEW.order_number OR OLD.app_id IS NOT NEW.app_id OR OLD.origin IS NOT NEW.origin
  OR OLD.state IS NOT NEW.state OR OLD.since IS NOT NEW.since OR OLD.until IS NOT NEW.until
  OR OLD.include_acknowledged IS NOT NEW.include_acknowledged OR OLD.dry_run IS NOT NEW.dry_run
  OR OLD.rate IS NOT NEW.rate OR OLD.actor IS NOT NEW.actor OR OLD.reason IS NOT NEW.reason
  OR OLD.created_at IS NOT NEW.created_at OR OLD.to_url IS NOT NEW.to_url
  OR OLD.command_id IS NOT NEW.command_id
BEGIN
  SELECT RAISE(ABORT, 'operator_command: neither a request nor a given answer changes; insert another one');
END;
DROP TRIGGER callback_attempt_is_append_only;
CREATE TRIGGER callback_attempt_is_append_only
BEFORE UPDATE ON callback_attempt
WHEN NOT (OLD.counted = 1 AND NEW.counted = 0 AND substr(NEW.detail, 1, length(OLD.detail)) = OLD.detail
  AND OLD.callback_id IS NEW.callback_id AND OLD.seq IS NEW.seq AND OLD.started_at IS NEW.started_at
  AND OLD.duration_ms IS NEW.duration_ms AND OLD.outcome IS NEW.outcome AND OLD.http_status IS NEW.http_status
  AND OLD.response_excerpt IS NEW.response_excerpt AND OLD.remote_addr IS NEW.remote_addr
  AND OLD.sent_timestamp IS NEW.sent_timestamp AND OLD.sign IS NEW.sign AND OLD.key_id IS NEW.key_id
  AND OLD.body_sha256 IS NEW.body_sha256 AND OLD.phase IS NEW.phase AND OLD.phases IS NEW.phases
  AND OLD.to_url IS NEW.to_url)
BEGIN
  SELECT RAISE(ABORT, 'callback_attempt: what happened does not change');
END;

-- What belongs to a callback is pruned with it.
CREATE INDEX reconciliation_open_by_callback ON reconciliation_open (callback_id);
DROP TRIGGER operator_command_item_is_kept;
CREATE TRIGGER operator_command_item_is_kept
BEFORE DELETE ON operator_command_item
WHEN EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command_item: what operators did is kept as long as the callback');
END;
DROP TRIGGER reconciliation_open_is_kept_with_its_day;
CREATE TRIGGER reconciliation_open_is_kept_with_its_day
BEFORE DELETE ON reconciliation_open
WHEN OLD.day <= (SELECT max(day) FROM reconciliation)
  AND EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id)
BEGIN
  SELECT RAISE(ABORT, 'reconciliation_open: this day is closed');
END;
DELETE FROM operator_command_item
WHERE what <> 'awaited' AND NOT EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = callback_id);
DELETE FROM reconciliation_open
WHERE NOT EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = callback_id);
DROP TRIGGER callback_queue_takes_its_attempts_along;
CREATE TRIGGER callback_queue_takes_its_attempts_along
AFTER DELETE ON callback_queue
BEGIN
  DELETE FROM callback_attempt WHERE callback_id = OLD.id;
  DELETE FROM operator_command_item WHERE callback_id = OLD.id AND what <> 'awaited';
  DELETE FROM reconciliation_open WHERE callback_id = OLD.id;
END;

CREATE TABLE learned_limit (
  origin     TEXT    NOT NULL,
  dispatcher INTEGER NOT NULL, -- 0: there is one
  at_most    INTEGER NOT NULL,
  fell_at    INTEGER NOT NULL,
  reason     TEXT    NOT NULL,
  PRIMARY KEY (origin, dispatcher)
) STRICT, WITHOUT ROWID;

CREATE VIEW operator_command_status AS
SELECT
  c.id,
  c.action,
  c.callback_id,
  c.order_number,
  c.app_id,
  c.origin,
  c.state,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.since / 1000.0, 'unixepoch')                               AS since,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.until / 1000.0, 'unixepoch')                               AS until,
  c.dry_run,
  c.actor,
  c.reason,
  c.status,
  c.selected,
  c.done,
  c.skipped,
  c.skipped_why,
  c.answer,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.created_at / 1000.0, 'unixepoch')                          AS created_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.started_at / 1000.0, 'unixepoch')                          AS started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', c.finished_at / 1000.0, 'unixepoch')                         AS finished_at,
  c.to_url,
  c.command_id
FROM operator_command c;
