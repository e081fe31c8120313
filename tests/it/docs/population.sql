-- What docs/sql.md is asked about: a night in November 2024, and the last hour.

CREATE TEMP TABLE at (name TEXT PRIMARY KEY, ms INTEGER) STRICT;
INSERT INTO at VALUES
  ('then', CAST(strftime('%s', '2024-11-24 02:14:00') AS INTEGER) * 1000),
  ('now', CAST(strftime('%s', 'now') AS INTEGER) * 1000);

-- Callbacks: seconds from `then` or `now` to when each was queued, is due or was finished.
CREATE TEMP TABLE story (
  id INTEGER PRIMARY KEY, era TEXT, kind TEXT, host TEXT, app TEXT, amount TEXT, currency TEXT, number TEXT,
  result TEXT, queued REAL, state TEXT, attempts INTEGER, due REAL, finished REAL) STRICT;
INSERT INTO story VALUES
  (1, 'then', 'payment', 'shop.example',  '6', '123.00', 'LAK', '3',  'success', 0.297,    'delivered', 1, NULL,  0.348),
  (2, 'then', 'refund',  'shop.example',  '6', '123.00', 'LAK', '3',  'success', 600.1,    'exhausted', 4, NULL,  1500.4),
  (3, 'then', 'payment', 'pay.example',   '8', '45.50',  'USD', '4',  'success', 30.5,     'delivered', 2, NULL,  340.9),
  (4, 'now',  'payment', 'shop.example',  '6', '10.00',  'LAK', '5',  'success', -750.5,   'delivered', 1, NULL, -750.1),
  (5, 'now',  'payment', 'pay.example',   '8', '99.90',  'USD', '6',  'success', -2191.0,  'delivered', 2, NULL, -1890.1),
  (6, 'now',  'payment', 'slow.example',  '7', '5.10',   'LAK', '7',  'failure', -2130.0,  'exhausted', 4, NULL, -1229.0),
  (7, 'now',  'payment', 'slow.example',  '7', '7.00',   'LAK', '8',  'success', -510.0,   'pending',   2, 210.0,  NULL),
  (8, 'now',  'payment', 'new.example',   '9', '1.00',   'LAK', '9',  'success', -750.0,   'pending',   0, 150.0,  NULL),
  (9, 'now',  'payment', 'stuck.example', '6', '3.00',   'LAK', '10', 'success', -450.0,   'pending',   0, -450.0, NULL),
  (10, 'now', 'payment', 'shop.example',  '6', '8.00',   'LAK', '11', 'success', -150.0,   'pending',   0, -150.0, NULL),
  (11, 'now', 'payment', 'shop.example',  '6', '2.00',   'LAK', '12', 'failure', -1850.0,  'cancelled', 0, NULL, -1830.0),
  (12, 'now', 'payment', 'pay.example',   '8', '60.00',  'USD', '13', 'success', -2432.0,  'delivered', 1, NULL, -2431.0);

INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
  order_no, newpay_refund_order_no, refund_order_no, result, trans_info, settlement_status, created_at,
  next_attempt_at)
SELECT id, kind, 'https://' || host || '/newpay/callback', app, 1, amount, currency, '20241124000000' || number,
  'M' || number, iif(kind = 'refund', '20241124000099' || number, NULL), iif(kind = 'refund', 'MR' || number, NULL),
  result, iif(result = 'success', 'Transaction Success', 'Insufficient balance'), iif(kind = 'payment', 1, NULL),
  ms + CAST(queued * 1000 AS INTEGER), ms + CAST(queued * 1000 AS INTEGER)
FROM story JOIN at ON at.name = story.era ORDER BY id;

CREATE TEMP TABLE try (
  callback INTEGER, seq INTEGER, started REAL, duration_ms INTEGER, outcome TEXT, http INTEGER, detail TEXT) STRICT;
INSERT INTO try VALUES
  (1, 1, 0.311, 37, 'acknowledged', 200, ''),
  (2, 1, 600.1, 81, 'http_status', 503, 'HTTP status 503'),
  (2, 2, 900.1, 79, 'http_status', 503, 'HTTP status 503'),
  (2, 3, 1200.1, 84, 'http_status', 503, 'HTTP status 503'),
  (2, 4, 1500.1, 300, 'refused', 200, 'transResult is "FAIL"'),
  (3, 1, 30.5, 10000, 'timeout', NULL, 'no answer within 10s; the head did not come'),
  (3, 2, 330.5, 10400, 'acknowledged', 200, ''),
  (4, 1, -750.5, 400, 'acknowledged', 200, ''),
  (5, 1, -2191.0, 10000, 'timeout', NULL, 'no answer within 10s; the head did not come'),
  (5, 2, -1891.0, 900, 'acknowledged', 200, ''),
  (6, 1, -2130.0, 3000, 'connect', NULL, 'connection refused'),
  (6, 2, -1830.0, 3000, 'connect', NULL, 'connection refused'),
  (6, 3, -1530.0, 3000, 'connect', NULL, 'connection refused'),
  (6, 4, -1230.0, 1000, 'connect', NULL, 'connection refused'),
  (7, 1, -510.0, 10000, 'timeout', NULL, 'no answer within 10s; the head did not come'),
  (7, 2, -210.0, 10000, 'timeout', NULL, 'no answer within 10s; the head did not come'),
  (8, 1, -750.0, 0, 'unsignable', NULL, 'no key for app "9"'),
  (12, 1, -2432.0, 0, 'interrupted', NULL, 'the dispatcher stopped between sending and recording'),
  (12, 2, -2432.0, 1000, 'acknowledged', 200, '');

INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, http_status, detail,
  remote_addr, sent_timestamp, sign, key_id, body_sha256)
SELECT callback, seq, ms + CAST(started * 1000 AS INTEGER), duration_ms, outcome,
  outcome NOT IN ('interrupted', 'unsignable'), http, detail, iif(outcome = 'unsignable', NULL, '203.0.113.7:443'),
  iif(outcome = 'unsignable', NULL, ms + CAST(started * 1000 AS INTEGER)),
  iif(outcome = 'unsignable', NULL, 'c2lnbg=='), iif(outcome = 'unsignable', NULL, iif(callback < 4, '2024-01', '2024-11')),
  iif(outcome = 'unsignable', NULL, '00')
FROM try JOIN story ON story.id = try.callback JOIN at ON at.name = story.era ORDER BY callback, seq;

UPDATE callback_queue SET
  state = (SELECT story.state FROM story WHERE story.id = callback_queue.id),
  attempts = (SELECT story.attempts FROM story WHERE story.id = callback_queue.id),
  next_attempt_at = (SELECT ms + CAST(due * 1000 AS INTEGER) FROM story JOIN at ON at.name = era
                     WHERE story.id = callback_queue.id),
  finished_at = (SELECT ms + CAST(finished * 1000 AS INTEGER) FROM story JOIN at ON at.name = era
                 WHERE story.id = callback_queue.id),
  attempt_seq = (SELECT count(*) FROM try WHERE callback = callback_queue.id),
  last_outcome = (SELECT outcome FROM try WHERE callback = callback_queue.id ORDER BY seq DESC LIMIT 1);

-- In flight since two and a half minutes, which is two minutes past its lease.
UPDATE callback_queue SET leased_at = next_attempt_at, leased_until = next_attempt_at + 25000, lease_token = 1
WHERE id = 10;

-- What an operator did: a pause that lasts, and a resend that is done.
INSERT INTO operator_command (id, action, app_id, state, actor, reason, created_at)
SELECT 1, 'resend', '8', 'exhausted', 'support', 'their outage is over', ms - 2000000 FROM at WHERE name = 'now';
UPDATE operator_command SET status = 'done', selected = 3, done = 2, skipped = 1,
  skipped_why = '{"acknowledged":1}', answer = '2 resent, 1 skipped', started_at = created_at,
  finished_at = created_at + 40;
INSERT INTO operator_command (id, action, app_id, actor, reason, created_at)
SELECT 2, 'pause', '9', 'on-call', 'waits for its key', ms - 1530000 FROM at WHERE name = 'now';
UPDATE operator_command SET status = 'done', answer = 'paused', started_at = created_at,
  finished_at = created_at + 10 WHERE id = 2;
INSERT INTO paused SELECT 'app', '9', 2, ms - 1530000 FROM at WHERE name = 'now';

-- Two closed days, as the daemon would have written them.
INSERT INTO reconciliation VALUES
  ('2024-11-23', '0000000000000000000000000000000000000000000000000000000000000000', 1, 0, 1, NULL, NULL,
   0, 0, 0, 0, 0, 0, 1732410140000,
   'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
   '3f1f6f0b7a1c5f4f2e9a5d0c8b7e6d5c4b3a29180f1e2d3c4b5a69788796a5b4'),
  ('2024-11-24', '3f1f6f0b7a1c5f4f2e9a5d0c8b7e6d5c4b3a29180f1e2d3c4b5a69788796a5b4', 1, 3, 4, 1732414440297, 1732415040100,
   3, 2, 1, 0, 0, 0, 1732496540000,
   '9d2c1b0a9f8e7d6c5b4a39281706f5e4d3c2b1a0998877665544332211ffeedd',
   '7b1c2d3e4f5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0');
