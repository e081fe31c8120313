-- Divides the log of attempts by month, for a queue on PostgreSQL that has grown large: a month that
-- is past its retention is then dropped as a whole, which leaves no dead rows for autovacuum.
--
--   psql -v ON_ERROR_STOP=1 -f partition.postgres.sql URL
--
-- Once, as the role that owns the queue, and with dispatchers at work: the log is locked for a
-- moment, and read once without being locked. Run it again if it was interrupted. Not for a
-- dispatcher older than this file.
--
-- callback_attempt is then a partitioned table, with the same columns, rules, rights and views:
--
-- - callback_attempt_before: what is in the log now, and what comes in this month.
-- - callback_attempt_2027_01 and so on: the attempts that began in that month (UTC).
-- - callback_attempt_rest: what belongs into none of them.
--
-- Dispatchers make the coming months and drop those that have passed, when they prune
-- (housekeeping.prune_cron). A month has passed when its end is past housekeeping.keep_delivered.
-- The attempts of callbacks that are kept for longer move into callback_attempt_rest then. Until
-- then the attempts of callbacks that are gone stay in their month.
--
-- What is given up: that each number of a callback's attempts is there once is a rule within a
-- month, not across months. The lease's token, which decides who may record, is not affected.

-- Step 1: from when on there are months. A rule says so, which is checked below without a lock.
DO $$
DECLARE
  bound bigint;
  owner name;
BEGIN
  IF to_regclass('callback_attempt') IS NULL OR to_regclass('queue_schema') IS NULL THEN
    RAISE EXCEPTION 'there is no queue in this search_path: %', current_setting('search_path')
      USING HINT = 'Run schema.postgres.sql first, or set the search_path of the role.';
  END IF;
  SELECT pg_get_userbyid(relowner) INTO owner FROM pg_class WHERE oid = 'callback_attempt'::regclass;
  IF owner <> current_user THEN
    RAISE EXCEPTION 'the queue belongs to the role %, this is %', owner, current_user
      USING HINT = 'Connect as that role: what is made here has to be its own.';
  END IF;
  IF (SELECT relkind FROM pg_class WHERE oid = 'callback_attempt'::regclass) = 'p' THEN
    RAISE EXCEPTION 'the log is divided by month already';
  END IF;
  IF EXISTS (SELECT 1 FROM pg_constraint
      WHERE conrelid = 'callback_attempt'::regclass AND conname = 'started_before_there_were_months') THEN
    RETURN;
  END IF;
  -- The next month, or the one after if that begins within a day: until the end of this script
  -- nothing that is later can be recorded.
  bound := extract(epoch FROM date_trunc('month', (now() + interval '1 day') AT TIME ZONE 'UTC')
    + interval '1 month') * 1000;
  SET LOCAL lock_timeout = '5s';
  EXECUTE format('ALTER TABLE callback_attempt ADD CONSTRAINT started_before_there_were_months
    CHECK (started_at < %s) NOT VALID', bound);
END $$;

-- Step 2: reads the log, while others write it.
ALTER TABLE callback_attempt VALIDATE CONSTRAINT started_before_there_were_months;

-- Step 3: takes a moment.
BEGIN;
SET LOCAL lock_timeout = '5s';
LOCK TABLE callback_attempt IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
  bound    text := (SELECT substring(pg_get_constraintdef(oid) FROM '-?[0-9]+') FROM pg_constraint
    WHERE conrelid = 'callback_attempt'::regclass AND conname = 'started_before_there_were_months');
  triggers text[] := ARRAY(SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = 'callback_attempt'::regclass AND NOT tgisinternal ORDER BY tgname);
  views    regclass[] := ARRAY(SELECT DISTINCT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = 'callback_attempt'::regclass);
  again    text[] := '{}';
  name     text;
  line     text;
BEGIN
  PERFORM set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

  -- The views read the table, whatever it is called. So they are made again, after it.
  FOREACH name IN ARRAY views::text[] LOOP
    IF name NOT IN ('callback_status', 'callback_exhausted', 'callback_stuck') THEN
      RAISE EXCEPTION 'the view % reads callback_attempt', name
        USING HINT = 'Drop it, and create it again afterwards.';
    END IF;
    again := again || format('CREATE VIEW %s AS %s', name, pg_get_viewdef(name::regclass));
  END LOOP;
  again := again || ARRAY(
    SELECT format('GRANT %s ON %I TO %s%s', a.privilege_type, c.relname,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.oid = ANY ((views || 'callback_attempt'::regclass)::oid[]) AND a.grantee <> c.relowner
    UNION ALL
    SELECT format('GRANT %s (%I) ON %I TO %s%s', a.privilege_type, f.attname, c.relname,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class c JOIN pg_attribute f ON f.attrelid = c.oid, aclexplode(f.attacl) a
    WHERE c.oid = ANY ((views || 'callback_attempt'::regclass)::oid[]) AND a.grantee <> c.relowner);
  FOREACH name IN ARRAY views::text[] LOOP
    EXECUTE format('DROP VIEW %s', name);
  END LOOP;

  FOR name IN SELECT tgname FROM pg_trigger
    WHERE tgrelid = 'callback_attempt'::regclass AND NOT tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON callback_attempt', name);
  END LOOP;
  ALTER TABLE callback_attempt RENAME TO callback_attempt_before;
  ALTER INDEX callback_attempt_pkey RENAME TO callback_attempt_before_pkey;
  CREATE TABLE callback_attempt
    (LIKE callback_attempt_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)
    PARTITION BY RANGE (started_at);
  ALTER TABLE callback_attempt DROP CONSTRAINT started_before_there_were_months;
  -- The rule that was checked spares the look at each row.
  EXECUTE format('ALTER TABLE callback_attempt ATTACH PARTITION callback_attempt_before
    FOR VALUES FROM (MINVALUE) TO (%s)', bound);
  ALTER TABLE callback_attempt_before DROP CONSTRAINT started_before_there_were_months;
  CREATE TABLE callback_attempt_rest PARTITION OF callback_attempt (PRIMARY KEY (callback_id, seq)) DEFAULT;

  FOREACH line IN ARRAY triggers || again LOOP
    EXECUTE line;
  END LOOP;
  CREATE TRIGGER callback_attempt_is_not_emptied BEFORE TRUNCATE ON callback_attempt_before
    EXECUTE FUNCTION callback_refuse('callback_attempt: what happened does not change');
  CREATE TRIGGER callback_attempt_is_not_emptied BEFORE TRUNCATE ON callback_attempt_rest
    EXECUTE FUNCTION callback_refuse('callback_attempt: what happened does not change');
END $$;

-- What is in a month goes with the month.
CREATE OR REPLACE FUNCTION callback_queue_delete_attempts() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM callback_attempt_rest a USING deleted_callbacks d WHERE a.callback_id = d.id;
  IF to_regclass('callback_attempt_before') IS NOT NULL THEN
    DELETE FROM callback_attempt_before a USING deleted_callbacks d WHERE a.callback_id = d.id;
  END IF;
  DELETE FROM operator_command_item i USING deleted_callbacks d WHERE i.callback_id = d.id AND i.what <> 'awaited';
  DELETE FROM reconciliation_open o USING deleted_callbacks d WHERE o.callback_id = d.id;
  RETURN NULL;
END $$;

-- Makes the next two months, and drops the oldest one if it has ended by `passed`. Both are Unix
-- milliseconds. Says what it has done. Called by the dispatchers; one of them at a time.
CREATE FUNCTION callback_attempt_turn_months(now bigint, passed bigint) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
DECLARE
  done  text[] := '{}';
  month timestamp := date_trunc('month', timestamp 'epoch' + now * interval '1 millisecond');
  name  text;
  since bigint;
  until bigint;
BEGIN
  -- "NPCM"
  IF NOT pg_try_advisory_xact_lock(1313882957) THEN
    RETURN '';
  END IF;

  SELECT relname, substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''(-?[0-9]+)''\)')::bigint
  INTO name, until
  FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'callback_attempt'::regclass)
    AND relname <> 'callback_attempt_rest'
  ORDER BY 2 LIMIT 1;
  IF until <= least(passed, now) THEN
    -- An attempt of this month that is still being written is waited for: it is copied, too.
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', name);
    EXECUTE format('CREATE TABLE callback_attempt_moving AS SELECT a.* FROM %I a
      WHERE EXISTS (SELECT 1 FROM callback_queue q WHERE q.id = a.callback_id)', name);
    EXECUTE format('ALTER TABLE callback_attempt DETACH PARTITION %I', name);
    INSERT INTO callback_attempt_rest SELECT * FROM callback_attempt_moving;
    DROP TABLE callback_attempt_moving;
    EXECUTE format('DROP TABLE %I', name);
    done := done || format('dropped %s', name);
  END IF;

  FOR ahead IN 1..2 LOOP
    name := 'callback_attempt_' || to_char(month + ahead * interval '1 month', 'YYYY_MM');
    since := extract(epoch FROM month + ahead * interval '1 month') * 1000;
    until := extract(epoch FROM month + (ahead + 1) * interval '1 month') * 1000;
    CONTINUE WHEN to_regclass(name) IS NOT NULL
      -- The months begin later,
      OR EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'callback_attempt'::regclass AND c.relname = 'callback_attempt_before'
          AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(-?[0-9]+)''\)')::bigint > since)
      -- or a clock was wrong: what is there already can't be moved.
      OR EXISTS (SELECT 1 FROM callback_attempt_rest r WHERE r.started_at >= since AND r.started_at < until);
    -- Attached rather than made in place: that keeps nobody from recording.
    EXECUTE format('CREATE TABLE %I (LIKE callback_attempt INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
      PRIMARY KEY (callback_id, seq), CONSTRAINT of_this_month CHECK (started_at >= %s AND started_at < %s))',
      name, since, until);
    EXECUTE format('CREATE TRIGGER callback_attempt_is_not_emptied BEFORE TRUNCATE ON %I
      EXECUTE FUNCTION callback_refuse(''callback_attempt: what happened does not change'')', name);
    EXECUTE format('ALTER TABLE callback_attempt ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
      name, since, until);
    done := done || format('made %s', name);
  END LOOP;
  RETURN array_to_string(done, ', ');
END $$;

COMMIT;

SELECT callback_attempt_turn_months(callback_now(), 0);
