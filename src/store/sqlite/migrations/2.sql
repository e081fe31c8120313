-- From schema version 1 to 2: operators' commands, pauses, and the phases of an attempt.
--
-- What it makes is what schema.sql has; a test compares the two.

ALTER TABLE callback_queue ADD COLUMN held INTEGER NOT NULL DEFAULT 0
  CONSTRAINT held_is_0_or_1_of_a_waiting_callback
  CHECK (held = 0 OR (held = 1 AND state = 'pending' AND leased_until IS NULL));

DROP INDEX callback_due;
CREATE INDEX callback_due ON callback_queue (origin, next_attempt_at)
  WHERE state = 'pending' AND leased_until IS NULL AND held = 0;
CREATE INDEX callback_held ON callback_queue (app_id) WHERE held = 1;

ALTER TABLE callback_attempt ADD COLUMN phase TEXT
  CONSTRAINT phase_is_known
  CHECK (phase IS NULL OR CASE phase WHEN 'dns' THEN 1 WHEN 'connect' THEN 1 WHEN 'tls' THEN 1
    WHEN 'head' THEN 1 WHEN 'body' THEN 1 ELSE 0 END);
ALTER TABLE callback_attempt ADD COLUMN phases TEXT;

CREATE TABLE operator_command (
  id                   INTEGER PRIMARY KEY AUTOINCREMENT,

  action               TEXT    NOT NULL,

  callback_id          INTEGER,
  order_number         TEXT,             -- any order or refund number, of either side
  app_id               TEXT,
  origin               TEXT,             -- scheme, host and port, or a URL to take them from
  state                TEXT,             -- as in callback_queue: pending includes what is in flight
  since                INTEGER,          -- created_at at this moment or later
  until                INTEGER,          -- created_at before this moment

  include_acknowledged INTEGER NOT NULL DEFAULT 0,
  dry_run              INTEGER NOT NULL DEFAULT 0,
  rate                 INTEGER,          -- resends per second; NULL: 100
  actor                TEXT    NOT NULL,
  reason               TEXT    NOT NULL,
  created_at           INTEGER NOT NULL DEFAULT
    (CAST(strftime('%s', 'now') AS INTEGER) * 1000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER)),

  status               TEXT    NOT NULL DEFAULT 'waiting',
  selected             INTEGER NOT NULL DEFAULT 0,    -- callbacks that the selectors chose
  done                 INTEGER NOT NULL DEFAULT 0,
  skipped              INTEGER NOT NULL DEFAULT 0,
  skipped_why          TEXT    NOT NULL DEFAULT '{}', -- JSON: reason -> how many
  answer               TEXT    NOT NULL DEFAULT '',   -- in words
  started_at           INTEGER,
  finished_at          INTEGER,
  looked_up_to         INTEGER NOT NULL DEFAULT 0,    -- id up to which callbacks have been looked at
  looks_up_to          INTEGER,                       -- the highest id when it began

  CONSTRAINT action_is_resend_cancel_pause_or_resume
    CHECK (CASE action WHEN 'resend' THEN 1 WHEN 'cancel' THEN 1 WHEN 'pause' THEN 1 WHEN 'resume' THEN 1 ELSE 0 END),
  CONSTRAINT a_resend_or_cancel_has_a_selector
    CHECK (action IN ('pause', 'resume')
      OR coalesce(callback_id, order_number, app_id, origin, state, since, until) IS NOT NULL),
  CONSTRAINT a_pause_or_resume_has_one_origin_or_one_app
    CHECK (action IN ('resend', 'cancel')
      OR ((origin IS NULL) <> (app_id IS NULL)
        AND coalesce(callback_id, order_number, state, since, until, rate) IS NULL)),
  CONSTRAINT no_selector_is_empty
    CHECK (order_number IS NOT '' AND app_id IS NOT '' AND origin IS NOT ''),
  CONSTRAINT command_state_is_known
    CHECK (state IS NULL OR CASE state WHEN 'pending' THEN 1 WHEN 'delivered' THEN 1 WHEN 'exhausted' THEN 1
      WHEN 'cancelled' THEN 1 ELSE 0 END),
  CONSTRAINT since_is_before_until
    CHECK (since IS NULL OR until IS NULL OR since < until),
  CONSTRAINT flags_are_0_or_1
    CHECK (include_acknowledged IN (0, 1) AND dry_run IN (0, 1)),
  CONSTRAINT rate_is_1_to_100000
    CHECK (rate IS NULL OR rate BETWEEN 1 AND 100000),
  CONSTRAINT actor_is_not_empty
    CHECK (trim(actor) <> ''),
  CONSTRAINT reason_is_not_empty
    CHECK (trim(reason) <> ''),
  CONSTRAINT status_is_known
    CHECK (CASE status WHEN 'waiting' THEN 1 WHEN 'running' THEN 1 WHEN 'done' THEN 1 WHEN 'refused' THEN 1 ELSE 0 END),
  CONSTRAINT finished_at_stands_when_answered
    CHECK ((status IN ('done', 'refused')) = (finished_at IS NOT NULL))
) STRICT;

CREATE INDEX operator_command_open ON operator_command (id) WHERE finished_at IS NULL;

CREATE TRIGGER operator_command_begins_waiting
BEFORE INSERT ON operator_command
WHEN NEW.status <> 'waiting' OR EXISTS (SELECT 1 FROM operator_command WHERE id = NEW.id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command: a new row waits; the dispatcher carries it out and answers');
END;

CREATE TRIGGER operator_command_is_immutable
BEFORE UPDATE ON operator_command
WHEN OLD.finished_at IS NOT NULL
  OR OLD.id IS NOT NEW.id OR OLD.action IS NOT NEW.action OR OLD.callback_id IS NOT NEW.callback_id
  OR OLD.order_number IS NOT NEW.order_number OR OLD.app_id IS NOT NEW.app_id OR OLD.origin IS NOT NEW.origin
  OR OLD.state IS NOT NEW.state OR OLD.since IS NOT NEW.since OR OLD.until IS NOT NEW.until
  OR OLD.include_acknowledged IS NOT NEW.include_acknowledged OR OLD.dry_run IS NOT NEW.dry_run
  OR OLD.rate IS NOT NEW.rate OR OLD.actor IS NOT NEW.actor OR OLD.reason IS NOT NEW.reason
  OR OLD.created_at IS NOT NEW.created_at
BEGIN
  SELECT RAISE(ABORT, 'operator_command: neither a request nor a given answer changes; insert another one');
END;

CREATE TRIGGER operator_command_is_kept
BEFORE DELETE ON operator_command
BEGIN
  SELECT RAISE(ABORT, 'operator_command: what operators did is kept');
END;

CREATE TABLE operator_command_item (
  command_id  INTEGER NOT NULL,
  callback_id INTEGER NOT NULL,
  what        TEXT    NOT NULL, -- awaited: once its attempt in flight has ended
  why         TEXT    NOT NULL DEFAULT '',
  at          INTEGER NOT NULL,
  PRIMARY KEY (command_id, callback_id),
  CONSTRAINT what_is_known
    CHECK (CASE what WHEN 'awaited' THEN 1 WHEN 'resent' THEN 1 WHEN 'cancelled' THEN 1 WHEN 'skipped' THEN 1 ELSE 0 END)
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_command_item_by_callback ON operator_command_item (callback_id);
CREATE INDEX operator_command_item_awaited ON operator_command_item (command_id, callback_id) WHERE what = 'awaited';

CREATE TRIGGER operator_command_item_is_written_once
BEFORE INSERT ON operator_command_item
WHEN EXISTS (SELECT 1 FROM operator_command_item WHERE command_id = NEW.command_id AND callback_id = NEW.callback_id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command_item: what operators did does not change');
END;

CREATE TRIGGER operator_command_item_is_immutable
BEFORE UPDATE ON operator_command_item
WHEN OLD.what <> 'awaited' OR OLD.command_id <> NEW.command_id OR OLD.callback_id <> NEW.callback_id
BEGIN
  SELECT RAISE(ABORT, 'operator_command_item: what operators did does not change');
END;

CREATE TRIGGER operator_command_item_is_kept
BEFORE DELETE ON operator_command_item
BEGIN
  SELECT RAISE(ABORT, 'operator_command_item: what operators did is kept');
END;

CREATE TABLE paused (
  scope      TEXT    NOT NULL,
  name       TEXT    NOT NULL, -- an origin or an app_id
  command_id INTEGER NOT NULL,
  since      INTEGER NOT NULL,
  PRIMARY KEY (scope, name),
  CONSTRAINT scope_is_origin_or_app
    CHECK (scope IN ('origin', 'app'))
) STRICT, WITHOUT ROWID;

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
FROM callback_queue q
WHERE q.state = 'pending'
  AND (coalesce(q.leased_until, q.next_attempt_at) < CAST(strftime('%s', 'now') AS INTEGER) * 1000 - 60000
    OR q.last_outcome = 'unsignable');

DROP VIEW merchant_health;
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
  WHERE state = 'pending' AND leased_until IS NULL AND held = 0
  UNION ALL
  SELECT app_id, state, attempts, created_at, finished_at FROM callback_queue
  WHERE held = 1
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

DROP TRIGGER callback_attempt_is_append_only;
CREATE TRIGGER callback_attempt_is_append_only
BEFORE UPDATE ON callback_attempt
WHEN NOT (OLD.counted = 1 AND NEW.counted = 0 AND substr(NEW.detail, 1, length(OLD.detail)) = OLD.detail
  AND OLD.callback_id IS NEW.callback_id AND OLD.seq IS NEW.seq AND OLD.started_at IS NEW.started_at
  AND OLD.duration_ms IS NEW.duration_ms AND OLD.outcome IS NEW.outcome AND OLD.http_status IS NEW.http_status
  AND OLD.response_excerpt IS NEW.response_excerpt AND OLD.remote_addr IS NEW.remote_addr
  AND OLD.sent_timestamp IS NEW.sent_timestamp AND OLD.sign IS NEW.sign AND OLD.key_id IS NEW.key_id
  AND OLD.body_sha256 IS NEW.body_sha256 AND OLD.phase IS NEW.phase AND OLD.phases IS NEW.phases)
BEGIN
  SELECT RAISE(ABORT, 'callback_attempt: what happened does not change');
END;
