-- From schema version 4 to 5: a queue can move to another database.
--
-- What it makes is what schema.sql has; a test compares the two.

-- This queue has been moved to another database, see docs/transfer.md: at most one row. Beside it
-- stand triggers, which `transfer` makes because their text tells where to, and which refuse every
-- change of callback_queue and operator_command.
CREATE TABLE queue_moved (
  one         INTEGER NOT NULL UNIQUE DEFAULT 1,
  source      TEXT    NOT NULL, -- names this transfer; random
  to_name     TEXT    NOT NULL,
  at          INTEGER NOT NULL,
  verified_at INTEGER,          -- since then the other database is the queue
  CONSTRAINT a_queue_moves_once
    CHECK (one = 1)
) STRICT;

-- This queue is being filled from another database, and is none before this row is gone: at most
-- one row.
CREATE TABLE queue_arriving (
  one       INTEGER NOT NULL UNIQUE DEFAULT 1,
  source    TEXT    NOT NULL,           -- as in queue_moved over there
  from_name TEXT    NOT NULL,
  at        INTEGER NOT NULL,
  copying   INTEGER NOT NULL DEFAULT 0, -- 1 inside the transactions of `transfer`, and so for it alone
  CONSTRAINT a_queue_arrives_once
    CHECK (one = 1)
) STRICT;

CREATE TRIGGER callback_queue_waits_for_its_transfer
BEFORE INSERT ON callback_queue
WHEN EXISTS (SELECT 1 FROM queue_arriving WHERE copying = 0)
BEGIN
  SELECT RAISE(ABORT, 'callback_queue: a transfer into this queue is not finished; run it again');
END;

CREATE TRIGGER operator_command_waits_for_its_transfer
BEFORE INSERT ON operator_command
WHEN EXISTS (SELECT 1 FROM queue_arriving WHERE copying = 0)
BEGIN
  SELECT RAISE(ABORT, 'operator_command: a transfer into this queue is not finished; run it again');
END;

DROP TRIGGER operator_command_begins_waiting;
CREATE TRIGGER operator_command_begins_waiting
BEFORE INSERT ON operator_command
WHEN (NEW.status <> 'waiting' AND NOT EXISTS (SELECT 1 FROM queue_arriving))
  OR EXISTS (SELECT 1 FROM operator_command WHERE id = NEW.id)
BEGIN
  SELECT RAISE(ABORT, 'operator_command: a new row waits; the dispatcher carries it out and answers');
END;
