-- From schema version 1 to 6: claims go by endpoint, and a pause sets nothing aside.
--
-- What it makes is what schema.postgres.sql has; a test compares the two. It runs in the transaction
-- of whoever migrates, and no dispatcher is at work.

-- A resume that was putting callbacks back has nothing left to do. A queue that a transfer has marked
-- refuses even an UPDATE that finds no row.
DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM queue_moved UNION ALL SELECT 1 FROM queue_arriving) THEN
    UPDATE operator_command SET status = 'done', done = 1, answer = 'resumed', finished_at = callback_now()
    WHERE action = 'resume' AND started_at IS NOT NULL AND finished_at IS NULL;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION callback_queue_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('callback_queue', n.endpoint)
  FROM (SELECT DISTINCT CASE WHEN octet_length(origin) + octet_length(app_id) < 7999
          THEN origin || ' ' || app_id ELSE '' END AS endpoint
        FROM new_callbacks WHERE state = 'pending') n;
  RETURN NULL;
END $$;

CREATE OR REPLACE VIEW callback_stuck AS
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
  greatest(0, callback_now() - greatest(0, coalesce(q.leased_until, q.next_attempt_at))) / 1000
                                                                                            AS behind_seconds,
  q.attempts,
  q.last_outcome,
  callback_time(q.created_at)                                                               AS created_at,
  callback_time(q.next_attempt_at)                                                          AS next_attempt_at
-- In two parts, each of which has an index of its own: what waits, and what is in flight.
FROM (
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, attempt_seq, last_outcome, created_at
  FROM callback_queue WHERE state = 'pending' AND leased_until IS NULL
  UNION ALL
  SELECT id, kind, app_id, order_no, origin, leased_until, next_attempt_at, attempts, attempt_seq, last_outcome, created_at
  FROM callback_queue WHERE leased_until IS NOT NULL
) q
WHERE coalesce(q.leased_until, q.next_attempt_at) < callback_now() - 60000
  OR q.last_outcome = 'unsignable'
  OR q.leased_until IS NULL AND EXISTS (SELECT 1 FROM callback_attempt a WHERE a.callback_id = q.id AND a.seq = q.attempt_seq
      AND a.counted = 0 AND a.outcome NOT IN ('interrupted', 'unsignable'));

CREATE OR REPLACE VIEW merchant_health AS
SELECT
  c.app_id,
  count(*) FILTER (WHERE c.state = 'pending')                                               AS pending,
  count(*) FILTER (WHERE c.state = 'pending' AND c.attempts > 0)                            AS retrying,
  count(*) FILTER (WHERE c.state = 'delivered')                                             AS delivered_24h,
  count(*) FILTER (WHERE c.state = 'exhausted')                                             AS exhausted_24h,
  CAST(round(100.0 * count(*) FILTER (WHERE c.state = 'delivered')
    / nullif(count(*) FILTER (WHERE c.state IN ('delivered', 'exhausted')), 0), 2) AS double precision)
                                                                                            AS delivered_percent_24h,
  CAST(round(avg(c.finished_at::numeric - c.created_at) FILTER (WHERE c.state = 'delivered') / 1000, 3)
    AS double precision)                                                                    AS mean_lag_seconds_24h,
  callback_time(max(c.finished_at) FILTER (WHERE c.state = 'delivered'))                    AS last_delivered_at,
  callback_time(min(c.created_at) FILTER (WHERE c.state = 'pending'))                       AS oldest_pending_created_at
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
    AND finished_at >= callback_now() - 86400000
) c
GROUP BY c.app_id;

DROP INDEX callback_due;
DROP INDEX callback_held;
ALTER TABLE callback_queue DROP COLUMN held;
ALTER TABLE callback_queue ADD COLUMN to_url TEXT COLLATE "C";
ALTER TABLE callback_attempt ADD COLUMN to_url TEXT;
ALTER TABLE operator_command ADD COLUMN to_url TEXT COLLATE "C", ADD COLUMN command_id BIGINT,
  DROP CONSTRAINT a_resend_or_cancel_has_a_selector,
  ADD CONSTRAINT a_resend_or_cancel_has_a_selector
    CHECK (action NOT IN ('resend', 'cancel')
      OR num_nonnulls(callback_id, order_number, app_id, origin, state, since, until, command_id) > 0),
  ADD CONSTRAINT command_id_is_for_a_cancel
    CHECK (command_id IS NULL OR action = 'cancel'),
  ADD CONSTRAINT to_url_is_for_the_resend_of_one_order
    CHECK (to_url IS NULL OR (action = 'resend' AND num_nonnulls(callback_id, order_number) > 0)),
  ADD CONSTRAINT to_url_is_an_absolute_http_or_https_url
    CHECK (length(to_url) <= 2048 AND to_url ~ '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#\\:@]'
      AND to_url !~ '[\u0001-\u0020\u007f]');
CREATE INDEX callback_due ON callback_queue (app_id, origin, next_attempt_at, id)
  WHERE state = 'pending' AND leased_until IS NULL;

CREATE OR REPLACE VIEW callback_status AS
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
  callback_time(q.created_at)                                                               AS created_at,
  callback_time(q.next_attempt_at)                                                          AS next_attempt_at,
  callback_time(q.finished_at)                                                              AS finished_at,
  q.callback_url,
  q.to_url
FROM callback_queue q;

CREATE OR REPLACE VIEW callback_exhausted AS
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
  callback_time(q.finished_at)                                                              AS exhausted_at,
  q.callback_url,
  q.to_url
FROM callback_queue q
WHERE q.state = 'exhausted' AND q.finished_at IS NOT NULL;

ALTER TABLE callback_queue DROP CONSTRAINT last_outcome_is_known;
ALTER TABLE callback_attempt DROP CONSTRAINT outcome_is_known;
-- Of a log that is divided by month, each part may have the rule for itself.
DO $$
DECLARE
  part regclass;
BEGIN
  FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'callback_attempt'::regclass LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS outcome_is_known', part);
  END LOOP;
END $$;

ALTER TRIGGER callback_queue_fills_in_whom_it_goes_to ON callback_queue RENAME TO callback_queue_set_origin;
-- Also for rows that logical replication brings, which would have no origin and never be sent.
ALTER TABLE callback_queue ENABLE ALWAYS TRIGGER callback_queue_set_origin;
CREATE OR REPLACE FUNCTION callback_queue_origin() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  authority text := lower(substring(coalesce(NEW.to_url, NEW.callback_url) FROM '^.{8}[^/?#\\]*') COLLATE "C");
  origin    text := coalesce(
    regexp_replace(authority, CASE WHEN authority LIKE 'https:%' THEN ':443$' ELSE ':80$' END, ''), '');
BEGIN
  IF NEW.origin <> '' AND NEW.origin <> origin THEN
    RAISE EXCEPTION USING
      MESSAGE = 'callback_queue: the origin is that of callback_url, which does not change after the INSERT',
      ERRCODE = 'integrity_constraint_violation',
      SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
  END IF;
  NEW.origin := origin;
  RETURN NEW;
END $$;
DROP TRIGGER callback_queue_keeps_whom_it_goes_to ON callback_queue;
CREATE TRIGGER callback_queue_keep_origin
BEFORE UPDATE OF origin ON callback_queue FOR EACH ROW
WHEN (OLD.origin IS DISTINCT FROM NEW.origin AND OLD.to_url IS NOT DISTINCT FROM NEW.to_url)
EXECUTE FUNCTION callback_refuse(
  'callback_queue: the origin is that of callback_url, which does not change after the INSERT');
DROP TRIGGER callback_attempt_is_append_only ON callback_attempt;
CREATE TRIGGER callback_attempt_is_append_only
BEFORE UPDATE ON callback_attempt FOR EACH ROW
WHEN (NOT (OLD.counted = 1 AND NEW.counted = 0 AND left(NEW.detail, length(OLD.detail)) = OLD.detail
  AND (OLD.callback_id, OLD.seq, OLD.started_at, OLD.duration_ms, OLD.outcome, OLD.http_status,
      OLD.response_excerpt, OLD.remote_addr, OLD.sent_timestamp, OLD.sign, OLD.key_id, OLD.body_sha256,
      OLD.phase, OLD.phases, OLD.to_url)
    IS NOT DISTINCT FROM (NEW.callback_id, NEW.seq, NEW.started_at, NEW.duration_ms, NEW.outcome, NEW.http_status,
      NEW.response_excerpt, NEW.remote_addr, NEW.sent_timestamp, NEW.sign, NEW.key_id, NEW.body_sha256,
      NEW.phase, NEW.phases, NEW.to_url)))
EXECUTE FUNCTION callback_refuse('callback_attempt: what happened does not change');
DROP TRIGGER operator_command_is_immutable ON operator_command;
CREATE TRIGGER operator_command_is_immutable
BEFORE UPDATE ON operator_command FOR EACH ROW
WHEN (OLD.finished_at IS NOT NULL
  OR (OLD.id, OLD.action, OLD.callback_id, OLD.order_number, OLD.app_id, OLD.origin, OLD.state, OLD.since,
      OLD.until, OLD.include_acknowledged, OLD.dry_run, OLD.rate, OLD.actor, OLD.reason, OLD.created_at, OLD.to_url,
      OLD.command_id)
    IS DISTINCT FROM (NEW.id, NEW.action, NEW.callback_id, NEW.order_number, NEW.app_id, NEW.origin, NEW.state,
      NEW.since, NEW.until, NEW.include_acknowledged, NEW.dry_run, NEW.rate, NEW.actor, NEW.reason, NEW.created_at, NEW.to_url,
      NEW.command_id))
EXECUTE FUNCTION callback_refuse('operator_command: neither a request nor a given answer changes; insert another one');
CREATE TRIGGER callback_queue_id_is_positive
BEFORE INSERT ON callback_queue FOR EACH ROW
WHEN (NEW.id <= 0)
EXECUTE FUNCTION queue_refuse_unless_copying('callback_queue: id_is_positive');

CREATE FUNCTION callback_queue_text_length() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  rule text := (SELECT name || '_is_at_most_16384_bytes' FROM (VALUES
    ('app_id', NEW.app_id),
    ('amount', NEW.amount),
    ('newpay_order_no', NEW.newpay_order_no),
    ('order_no', NEW.order_no),
    ('newpay_refund_order_no', NEW.newpay_refund_order_no),
    ('refund_order_no', NEW.refund_order_no),
    ('subject', NEW.subject),
    ('extra', NEW.extra),
    ('trans_info', NEW.trans_info)) AS texts (name, value)
    WHERE octet_length(value) > 16384 LIMIT 1);
BEGIN
  IF EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 1) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION USING
    MESSAGE = 'callback_queue: ' || rule, ERRCODE = 'integrity_constraint_violation',
    SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = rule;
END $$;

CREATE TRIGGER callback_queue_text_length
BEFORE INSERT ON callback_queue FOR EACH ROW
WHEN (greatest(octet_length(NEW.app_id), octet_length(NEW.amount), octet_length(NEW.newpay_order_no), octet_length(NEW.order_no),
  octet_length(NEW.newpay_refund_order_no), octet_length(NEW.refund_order_no), octet_length(NEW.subject), octet_length(NEW.extra), octet_length(NEW.trans_info)) > 16384)
EXECUTE FUNCTION callback_queue_text_length();

-- The marks of a transfer have new names, and so have the triggers that are made with them.
CREATE TABLE internal_transfer_out (
  id          BIGINT PRIMARY KEY DEFAULT 1,
  transfer_id TEXT   NOT NULL, -- random
  to_name     TEXT   NOT NULL,
  marked_at   BIGINT NOT NULL,
  verified_at BIGINT,          -- since then the other database is the queue
  CONSTRAINT transfer_out_is_one_row
    CHECK (id = 1)
);

CREATE TABLE internal_transfer_in (
  id          BIGINT PRIMARY KEY DEFAULT 1,
  transfer_id TEXT   NOT NULL,           -- as in internal_transfer_out of the other database
  from_name   TEXT   NOT NULL,
  marked_at   BIGINT NOT NULL,
  copying     BIGINT NOT NULL DEFAULT 0, -- 1 inside the transactions of `transfer`, and so for it alone
  CONSTRAINT transfer_in_is_one_row
    CHECK (id = 1)
);
INSERT INTO internal_transfer_out SELECT 1, source, to_name, at, verified_at FROM queue_moved;
INSERT INTO internal_transfer_in SELECT 1, source, from_name, at, copying FROM queue_arriving;
DROP TABLE queue_moved, queue_arriving;
DO $$
DECLARE
  trigger record;
BEGIN
  FOR trigger IN SELECT tgrelid::regclass AS marked, tgname AS name FROM pg_trigger
    WHERE tgrelid IN ('callback_queue'::regclass, 'operator_command'::regclass)
      AND tgname ~ '_(has_moved|waits_for_its_transfer)$' LOOP
    EXECUTE format('ALTER TRIGGER %I ON %s RENAME TO %I', trigger.name, trigger.marked,
      replace(replace(trigger.name, 'has_moved', 'transfer_out'), 'waits_for_its_transfer', 'transfer_in'));
  END LOOP;
END $$;
CREATE OR REPLACE FUNCTION queue_refuse_unless_copying() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM internal_transfer_in WHERE copying = 1) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION USING
    MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation',
    SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;

CREATE INDEX callback_by_created ON callback_queue (created_at, id);
ALTER TRIGGER callback_queue_keeps_what_is_owed ON callback_queue RENAME TO callback_queue_refuse_delete;
ALTER TRIGGER callback_queue_wakes_the_dispatcher ON callback_queue RENAME TO callback_queue_notify;

ALTER TABLE operator_command DROP CONSTRAINT action_is_resend_cancel_pause_or_resume, ADD CONSTRAINT action_is_known
  CHECK (action IN ('resend', 'cancel', 'pause', 'resume', 'prune'));
ALTER TABLE operator_command RENAME COLUMN looked_up_to TO scan_position;
ALTER TABLE operator_command RENAME COLUMN looks_up_to TO scan_end;

-- What belongs to a callback is pruned with it.
CREATE INDEX reconciliation_open_by_callback ON reconciliation_open (callback_id);
CREATE FUNCTION operator_command_item_keep() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id) THEN
    RAISE EXCEPTION USING
      MESSAGE = 'operator_command_item: what operators did is kept as long as the callback',
      ERRCODE = 'integrity_constraint_violation',
      SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
  END IF;
  RETURN OLD;
END $$;
DROP TRIGGER operator_command_item_is_kept ON operator_command_item;
CREATE TRIGGER operator_command_item_is_kept
BEFORE DELETE ON operator_command_item FOR EACH ROW
EXECUTE FUNCTION operator_command_item_keep();
CREATE OR REPLACE FUNCTION reconciliation_open_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  line record;
BEGIN
  IF TG_OP = 'DELETE' THEN
    line := OLD;
    IF NOT EXISTS (SELECT 1 FROM callback_queue WHERE id = OLD.callback_id) THEN RETURN OLD; END IF;
  ELSE
    line := NEW;
  END IF;
  IF line.day <= (SELECT max(day) FROM reconciliation) THEN
    RAISE EXCEPTION USING
      MESSAGE = 'reconciliation_open: this day is closed',
      ERRCODE = 'integrity_constraint_violation',
      SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
  END IF;
  RETURN line;
END $$;
CREATE OR REPLACE FUNCTION callback_queue_delete_attempts() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM callback_attempt a USING deleted_callbacks d WHERE a.callback_id = d.id;
  DELETE FROM operator_command_item i USING deleted_callbacks d WHERE i.callback_id = d.id AND i.what <> 'awaited';
  DELETE FROM reconciliation_open o USING deleted_callbacks d WHERE o.callback_id = d.id;
  RETURN NULL;
END $$;
DELETE FROM operator_command_item i
WHERE what <> 'awaited' AND NOT EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = i.callback_id);
DELETE FROM reconciliation_open o
WHERE NOT EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = o.callback_id);

CREATE TABLE learned_limit (
  origin     TEXT    NOT NULL,
  dispatcher BIGINT  NOT NULL REFERENCES dispatcher (id) ON DELETE CASCADE,
  at_most    BIGINT  NOT NULL,
  fell_at    BIGINT  NOT NULL,
  reason     TEXT    NOT NULL,
  PRIMARY KEY (origin, dispatcher)
);
COMMENT ON TABLE learned_limit IS 'Origins whose learned limit has fallen';
COMMENT ON COLUMN learned_limit.origin IS 'Scheme, host and port of the merchant';
COMMENT ON COLUMN learned_limit.dispatcher IS 'Who has learned it';
COMMENT ON COLUMN learned_limit.at_most IS 'How many callbacks the origin gets from it at a time';
COMMENT ON COLUMN learned_limit.fell_at IS 'When that fell last, in Unix milliseconds';
COMMENT ON COLUMN learned_limit.reason IS 'Why it fell';

CREATE VIEW operator_command_status AS
SELECT
  c.id,
  c.action,
  c.callback_id,
  c.order_number,
  c.app_id,
  c.origin,
  c.state,
  callback_time(c.since)                                                                      AS since,
  callback_time(c.until)                                                                      AS until,
  c.dry_run,
  c.actor,
  c.reason,
  c.status,
  c.selected,
  c.done,
  c.skipped,
  c.skipped_why,
  c.answer,
  callback_time(c.created_at)                                                                 AS created_at,
  callback_time(c.started_at)                                                                 AS started_at,
  callback_time(c.finished_at)                                                                AS finished_at,
  c.to_url,
  c.command_id
FROM operator_command c;

UPDATE queue_schema SET version = 6;
