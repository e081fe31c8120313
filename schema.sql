-- The queue of callback-dispatcher, for SQLite 3.37 or newer.
--
-- `callback-dispatcher init` (or `run`) creates it; `sqlite3 queue.db < schema.sql` does the same.
-- The gateway INSERTs into callback_queue, operators into operator_command; all else is the
-- dispatcher's.
-- Times are Unix milliseconds. A row that breaks a rule is refused at INSERT, and the name of the
-- constraint in the error says which rule it was.
--
-- The life of a callback (state; "in flight" is pending with leased_until NOT NULL):
--
--      INSERT                   claim                        acknowledged
--        |       +---------+ -------------> +-----------+ ------------------> delivered
--        +-----> | pending |                | in flight |
--                +---------+ <------------- +-----------+ ------------------> exhausted
--                   |   ^      failed, a                    failed, none left
--            cancel |   |      retry is left
--                   v   |
--             cancelled |  resend, from any final state: a new round, attempts = 0
--                       +------------------------------------------------------
--
-- What stands here is run by the gateway's and the operators' own SQLite (Debian 12: 3.40), so it
-- uses nothing newer than 3.37.

PRAGMA auto_vacuum = INCREMENTAL; -- only takes effect in a file that is still empty
PRAGMA journal_mode = WAL;

BEGIN IMMEDIATE;

PRAGMA application_id = 0x4e504342; -- "NPCB"
PRAGMA user_version = 6;

CREATE TABLE callback_queue (
  -- Never reused, so that the dispatcher can tell new rows by their id.
  id                     INTEGER PRIMARY KEY AUTOINCREMENT,

  -- Written by the gateway, once.
  kind                   TEXT    NOT NULL,
  callback_url           TEXT    NOT NULL,
  app_id                 TEXT    NOT NULL,
  pay_method             INTEGER NOT NULL,
  amount                 TEXT    NOT NULL,
  currency               TEXT    NOT NULL,
  newpay_order_no        TEXT    NOT NULL,
  order_no               TEXT    NOT NULL,
  newpay_refund_order_no TEXT,
  refund_order_no        TEXT,
  subject                TEXT    NOT NULL DEFAULT '',
  extra                  TEXT    NOT NULL DEFAULT '',
  result                 TEXT    NOT NULL,
  trans_info             TEXT    NOT NULL DEFAULT '',
  settlement_status      INTEGER,
  created_at             INTEGER NOT NULL DEFAULT
    (CAST(strftime('%s', 'now') AS INTEGER) * 1000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER)),

  -- Written by the dispatcher.
  state                  TEXT    NOT NULL DEFAULT 'pending',
  attempts               INTEGER NOT NULL DEFAULT 0, -- counted ones, in this round
  next_attempt_at        INTEGER DEFAULT
    (CAST(strftime('%s', 'now') AS INTEGER) * 1000 + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER)),
  leased_until           INTEGER,
  leased_at              INTEGER,                    -- when the attempt in flight was claimed
  lease_token            INTEGER,                    -- whose claim it is
  attempt_seq            INTEGER NOT NULL DEFAULT 0, -- seq of the newest attempt, over all rounds
  last_outcome           TEXT,                       -- a word that the program knows; a newer one may know more
  finished_at            INTEGER,

  -- Whom it goes to: scheme, host and port of the URL, lower case, without a default port.
  -- Filled in by a trigger at the INSERT. A generated column would be worked out anew by each
  -- UPDATE, at a third of what the dispatcher's writes cost.
  origin                 TEXT    NOT NULL DEFAULT '',

  -- Where it goes in place of callback_url, since an operator's `resend --to`; origin is then that of this.
  to_url                 TEXT,

  CONSTRAINT kind_is_payment_or_refund
    CHECK (kind IN ('payment', 'refund')),
  CONSTRAINT callback_url_is_absolute_http_or_https
    CHECK ((lower(substr(callback_url, 1, 8)) = 'https://' OR lower(substr(callback_url, 1, 7)) = 'http://')
      AND instr('/?#\:@', substr(callback_url, instr(callback_url, '://') + 3, 1)) = 0), -- nor nothing at all
  CONSTRAINT callback_url_has_no_space_or_control_character
    CHECK (callback_url NOT GLOB ('*[' || char(1) || '-' || char(32) || char(127) || ']*')
      AND instr(callback_url, char(0)) = 0),
  CONSTRAINT callback_url_is_at_most_2048_characters
    CHECK (length(callback_url) <= 2048),
  CONSTRAINT app_id_is_not_empty
    CHECK (length(app_id) > 0),
  CONSTRAINT pay_method_is_1_or_4
    CHECK (pay_method IN (1, 4)),
  CONSTRAINT amount_is_decimal_with_at_most_two_decimals
    CHECK (amount GLOB '[0-9]*' AND amount NOT GLOB '*[^0-9.]*' AND amount NOT GLOB '*.*.*'
      AND amount NOT GLOB '*.' AND amount NOT GLOB '*.???*' AND instr(amount, char(0)) = 0),
  CONSTRAINT currency_is_LAK_or_USD
    CHECK (currency IN ('LAK', 'USD')),
  CONSTRAINT newpay_order_no_is_not_empty
    CHECK (length(newpay_order_no) > 0),
  CONSTRAINT order_no_is_not_empty
    CHECK (length(order_no) > 0),
  CONSTRAINT newpay_refund_order_no_belongs_to_a_refund
    CHECK (CASE kind WHEN 'refund' THEN newpay_refund_order_no IS NOT NULL AND length(newpay_refund_order_no) > 0
      ELSE newpay_refund_order_no IS NULL END),
  CONSTRAINT refund_order_no_belongs_to_a_refund
    CHECK (CASE kind WHEN 'refund' THEN refund_order_no IS NOT NULL AND length(refund_order_no) > 0
      ELSE refund_order_no IS NULL END),
  CONSTRAINT a_refund_has_no_subject_or_extra
    CHECK (kind = 'payment' OR (subject = '' AND extra = '')),
  CONSTRAINT result_is_success_or_failure
    CHECK (result IN ('success', 'failure')),
  CONSTRAINT settlement_status_of_a_payment_is_1_or_2_of_a_refund_null
    CHECK (CASE kind WHEN 'payment' THEN settlement_status IS NOT NULL AND settlement_status IN (1, 2)
      ELSE settlement_status IS NULL END),

  CONSTRAINT state_is_known
    CHECK (CASE state WHEN 'pending' THEN 1 WHEN 'delivered' THEN 1 WHEN 'exhausted' THEN 1 WHEN 'cancelled' THEN 1
      ELSE 0 END),
  CONSTRAINT attempts_is_not_negative
    CHECK (attempts >= 0),
  CONSTRAINT next_attempt_at_stands_while_pending
    CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
  CONSTRAINT finished_at_stands_in_a_final_state
    CHECK ((state = 'pending') = (finished_at IS NULL)),
  CONSTRAINT a_lease_is_whole_and_of_a_pending_callback
    CHECK ((leased_until IS NULL) = (lease_token IS NULL) AND (leased_until IS NULL) = (leased_at IS NULL)
      AND (leased_until IS NULL OR state = 'pending'))
) STRICT;

-- One callback for each final result. The first finds all callbacks of a payment as well.
CREATE UNIQUE INDEX callback_one_per_payment ON callback_queue (newpay_order_no, coalesce(newpay_refund_order_no, ''));
CREATE UNIQUE INDEX callback_one_per_refund  ON callback_queue (newpay_refund_order_no) WHERE kind = 'refund';

-- What waits, by endpoint (an app's use of an origin): the dispatcher goes from endpoint to endpoint.
CREATE INDEX callback_due       ON callback_queue (app_id, origin, next_attempt_at)
  WHERE state = 'pending' AND leased_until IS NULL;
-- What is in flight: few rows, all of them reclaimed after a crash.
CREATE INDEX callback_in_flight ON callback_queue (leased_until) WHERE leased_until IS NOT NULL;
-- What can be pruned.
CREATE INDEX callback_finished  ON callback_queue (state, finished_at) WHERE finished_at IS NOT NULL;
-- What people look for.
CREATE INDEX callback_by_order         ON callback_queue (order_no);
CREATE INDEX callback_by_refund_order  ON callback_queue (refund_order_no) WHERE refund_order_no IS NOT NULL;
CREATE INDEX callback_by_app           ON callback_queue (app_id);
CREATE INDEX callback_by_created       ON callback_queue (created_at);

CREATE TRIGGER callback_queue_is_immutable
BEFORE UPDATE OF id, kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no, order_no,
  newpay_refund_order_no, refund_order_no, subject, extra, result, trans_info, settlement_status, created_at
ON callback_queue
WHEN OLD.id IS NOT NEW.id OR OLD.kind IS NOT NEW.kind OR OLD.callback_url IS NOT NEW.callback_url
  OR OLD.app_id IS NOT NEW.app_id OR OLD.pay_method IS NOT NEW.pay_method OR OLD.amount IS NOT NEW.amount
  OR OLD.currency IS NOT NEW.currency OR OLD.newpay_order_no IS NOT NEW.newpay_order_no
  OR OLD.order_no IS NOT NEW.order_no OR OLD.newpay_refund_order_no IS NOT NEW.newpay_refund_order_no
  OR OLD.refund_order_no IS NOT NEW.refund_order_no OR OLD.subject IS NOT NEW.subject
  OR OLD.extra IS NOT NEW.extra OR OLD.result IS NOT NEW.result OR OLD.trans_info IS NOT NEW.trans_info
  OR OLD.settlement_status IS NOT NEW.settlement_status OR OLD.created_at IS NOT NEW.created_at
BEGIN
  SELECT RAISE(ABORT, 'callback_queue: the gateway''s columns do not change after the INSERT');
END;

-- Every host starts by position 9 at the latest, and is cut at the first / ? # or \.
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

-- INSERT OR REPLACE deletes the row that is in its way without asking any trigger, and would so
-- change a result behind the log's back. A row that is in the way before the INSERT is noted here;
-- if the INSERT succeeds nevertheless, it has replaced that row. A plain INSERT fails before that,
-- and ON CONFLICT DO NOTHING never comes there: all that it leaves is the note, until the next one.
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

CREATE TABLE callback_attempt (
  callback_id      INTEGER NOT NULL,
  seq              INTEGER NOT NULL, -- 1, 2, ... over all rounds
  started_at       INTEGER NOT NULL,
  duration_ms      INTEGER NOT NULL,
  outcome          TEXT    NOT NULL, -- as last_outcome
  counted          INTEGER NOT NULL,
  http_status      INTEGER,
  detail           TEXT    NOT NULL DEFAULT '',
  response_excerpt TEXT,             -- first 2 KiB of the answer's body
  remote_addr      TEXT,
  sent_timestamp   INTEGER,          -- the `timestamp` of the body; NULL when nothing was sent
  sign             TEXT,
  key_id           TEXT,
  body_sha256      TEXT,
  phase            TEXT              -- where the exchange broke; NULL when it did not
    CONSTRAINT phase_is_known
    CHECK (phase IS NULL OR CASE phase WHEN 'dns' THEN 1 WHEN 'connect' THEN 1 WHEN 'tls' THEN 1
      WHEN 'head' THEN 1 WHEN 'body' THEN 1 ELSE 0 END),
  phases           TEXT,             -- JSON: milliseconds that each finished phase took
  to_url           TEXT,             -- where it went in place of callback_url; NULL: there
  PRIMARY KEY (callback_id, seq),
  CONSTRAINT counted_is_0_or_1
    CHECK (counted IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The one thing that can become known later: that it was an outage of our own, so that the attempt
-- does not count. The reason is then put behind the detail.
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

CREATE TRIGGER callback_queue_takes_its_attempts_along
AFTER DELETE ON callback_queue
BEGIN
  DELETE FROM callback_attempt WHERE callback_id = OLD.id;
  DELETE FROM operator_command_item WHERE callback_id = OLD.id AND what <> 'awaited';
  DELETE FROM reconciliation_open WHERE callback_id = OLD.id;
END;

-- What operators ask for. SQL, the command line and the console all write a row here; the
-- dispatcher carries it out and answers in it. Nothing of it is ever deleted: it is the record of
-- who did what, and why.
CREATE TABLE operator_command (
  id                   INTEGER PRIMARY KEY AUTOINCREMENT,

  -- Written by whoever asks, once.
  action               TEXT    NOT NULL,

  -- Which callbacks; those that are given must all hold. A pause or resume takes one origin or app.
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

  -- Written by the dispatcher.
  status               TEXT    NOT NULL DEFAULT 'waiting',
  selected             INTEGER NOT NULL DEFAULT 0,    -- callbacks that the selectors chose
  done                 INTEGER NOT NULL DEFAULT 0,
  skipped              INTEGER NOT NULL DEFAULT 0,
  skipped_why          TEXT    NOT NULL DEFAULT '{}', -- JSON: reason -> how many
  answer               TEXT    NOT NULL DEFAULT '',   -- in words
  started_at           INTEGER,
  finished_at          INTEGER,
  scan_position        INTEGER NOT NULL DEFAULT 0,    -- id up to which callbacks have been scanned
  scan_end             INTEGER,                       -- the highest id when it began

  -- Written by whoever asks, as the others: where a resend of one order goes from now on.
  to_url               TEXT,
  -- Those that this command has resent, and that wait for their first attempt since.
  command_id           INTEGER,

  CONSTRAINT action_is_known
    CHECK (CASE action WHEN 'resend' THEN 1 WHEN 'cancel' THEN 1 WHEN 'pause' THEN 1 WHEN 'resume' THEN 1
      WHEN 'prune' THEN 1 ELSE 0 END),
  CONSTRAINT a_resend_or_cancel_has_a_selector
    CHECK (action IN ('pause', 'resume')
      OR coalesce(callback_id, order_number, app_id, origin, state, since, until, command_id) IS NOT NULL),
  CONSTRAINT a_pause_or_resume_has_one_origin_or_one_app
    CHECK (action IN ('resend', 'cancel', 'prune')
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
  CONSTRAINT command_id_is_for_a_cancel
    CHECK (command_id IS NULL OR action = 'cancel'),
  CONSTRAINT to_url_is_for_the_resend_of_one_order
    CHECK (to_url IS NULL OR (action = 'resend' AND coalesce(callback_id, order_number) IS NOT NULL)),
  CONSTRAINT to_url_is_an_absolute_http_or_https_url
    CHECK (to_url IS NULL OR (length(to_url) <= 2048
      AND (lower(substr(to_url, 1, 8)) = 'https://' OR lower(substr(to_url, 1, 7)) = 'http://')
      AND instr('/?#\:@', substr(to_url, instr(to_url, '://') + 3, 1)) = 0
      AND to_url NOT GLOB ('*[' || char(1) || '-' || char(32) || char(127) || ']*') AND instr(to_url, char(0)) = 0)),
  CONSTRAINT actor_is_not_empty
    CHECK (trim(actor) <> ''),
  CONSTRAINT reason_is_not_empty
    CHECK (trim(reason) <> ''),
  CONSTRAINT status_is_known
    CHECK (CASE status WHEN 'waiting' THEN 1 WHEN 'running' THEN 1 WHEN 'done' THEN 1 WHEN 'refused' THEN 1 ELSE 0 END),
  CONSTRAINT finished_at_stands_when_answered
    CHECK ((status IN ('done', 'refused')) = (finished_at IS NOT NULL))
) STRICT;

-- What is still to be carried out.
CREATE INDEX operator_command_open ON operator_command (id) WHERE finished_at IS NULL;

CREATE TRIGGER operator_command_begins_waiting
BEFORE INSERT ON operator_command
WHEN (NEW.status <> 'waiting' AND NOT EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 1))
  OR EXISTS (SELECT 1 FROM operator_command WHERE id = NEW.id)
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
  OR OLD.created_at IS NOT NEW.created_at OR OLD.to_url IS NOT NEW.to_url
  OR OLD.command_id IS NOT NEW.command_id
BEGIN
  SELECT RAISE(ABORT, 'operator_command: neither a request nor a given answer changes; insert another one');
END;

CREATE TRIGGER operator_command_is_kept
BEFORE DELETE ON operator_command
BEGIN
  SELECT RAISE(ABORT, 'operator_command: what operators did is kept');
END;

-- What each command did with each callback. Pruned with the callback; the command itself is kept.
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
WHEN EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command_item: what operators did is kept as long as the callback');
END;

-- Whose callbacks are not claimed for now. Written by the dispatcher for a pause, removed for a
-- resume.
CREATE TABLE paused (
  scope      TEXT    NOT NULL,
  name       TEXT    NOT NULL, -- an origin or an app_id
  command_id INTEGER NOT NULL,
  since      INTEGER NOT NULL,
  PRIMARY KEY (scope, name),
  CONSTRAINT scope_is_origin_or_app
    CHECK (scope IN ('origin', 'app'))
) STRICT, WITHOUT ROWID;

-- Origins whose learned limit has fallen: how many callbacks each gets at a time, and why. Written by the
-- dispatcher every 15 seconds, for people; nothing is decided by it.
CREATE TABLE learned_limit (
  origin     TEXT    NOT NULL,
  dispatcher INTEGER NOT NULL, -- 0: there is one
  at_most    INTEGER NOT NULL,
  fell_at    INTEGER NOT NULL,
  reason     TEXT    NOT NULL,
  PRIMARY KEY (origin, dispatcher)
) STRICT, WITHOUT ROWID;

-- The audit chain, by which an auditor checks that no callback was left out or altered; see
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
-- does not change the day. Pruned with the callback.
CREATE TABLE reconciliation_open (
  day         TEXT    NOT NULL,
  callback_id INTEGER NOT NULL,
  state       TEXT    NOT NULL,
  seq         INTEGER NOT NULL, -- newest attempt; 0: none
  PRIMARY KEY (day, callback_id),
  CONSTRAINT state_is_known
    CHECK (state IN ('exhausted', 'cancelled', 'pending', 'unknown'))
) STRICT, WITHOUT ROWID;

-- What is pruned with a callback.
CREATE INDEX reconciliation_open_by_callback ON reconciliation_open (callback_id);

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
  AND EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id)
BEGIN
  SELECT RAISE(ABORT, 'reconciliation_open: this day is closed');
END;

-- The mark of a transfer that moves this queue to another database, see docs/transfer.md: at most one
-- row. With it `transfer` makes triggers that refuse every change of callback_queue and
-- operator_command; their text tells where the queue has moved.
CREATE TABLE internal_transfer_out (
  id          INTEGER PRIMARY KEY,
  transfer_id TEXT    NOT NULL, -- random
  to_name     TEXT    NOT NULL,
  marked_at   INTEGER NOT NULL,
  verified_at INTEGER,          -- since then the other database is the queue
  CONSTRAINT transfer_out_is_one_row
    CHECK (id = 1)
) STRICT;

-- The mark of a transfer that fills this queue from another database: at most one row. Until it is gone,
-- this is no queue: triggers that `transfer` makes with it refuse every change but its own.
CREATE TABLE internal_transfer_in (
  id          INTEGER PRIMARY KEY,
  transfer_id TEXT    NOT NULL,           -- as in internal_transfer_out of the other database
  from_name   TEXT    NOT NULL,
  marked_at   INTEGER NOT NULL,
  copying     INTEGER NOT NULL DEFAULT 0, -- 1 inside the transactions of `transfer`, and so for it alone
  CONSTRAINT transfer_in_is_one_row
    CHECK (id = 1)
) STRICT;

-- Views for people. Their "now" is the clock of whoever asks.

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

-- Pending, and a minute or more behind: paused, waiting for a dispatcher, a free slot, a key, or
-- in flight past its lease.
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

-- Given up: each of these merchants has not been told.
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

-- What operators asked for, the newest with the highest id.
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

-- Per app: what is waiting now, and what ended in the last 24 hours.
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

COMMIT;
