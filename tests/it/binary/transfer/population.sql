INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
  order_no, subject, extra, result, trans_info, settlement_status)
SELECT 'payment', 'MERCHANT', CASE value WHEN 6 THEN '7' ELSE '6' END, 1, '123.00', 'LAK', 'N' || value,
  'M' || value, 'ເສື້ອ ' || value, CASE value WHEN 2 THEN 'two' || char(10) || 'lines' ELSE '' END, 'success',
  'Transaction Success', 1
FROM json_each('[1, 2, 3, 4, 5, 6, 7, 8, 9]');

INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
  order_no, newpay_refund_order_no, refund_order_no, result)
VALUES ('refund', 'MERCHANT', '6', 1, '1.5', 'USD', 'N2', 'M2', 'NR2', 'MR2', 'success');

-- 2: delivered at the second attempt. 3: exhausted. 4: cancelled. 5: in flight. 6: its app is paused. 7: to be
-- tried again. 8: its origin is paused. 9: pruned, so that the highest id is in no row any more.
UPDATE callback_queue SET state = 'delivered', attempts = 2, attempt_seq = 2, last_outcome = 'acknowledged',
  next_attempt_at = NULL, finished_at = created_at WHERE id IN (2, 9);
UPDATE callback_queue SET state = 'exhausted', attempts = 1, attempt_seq = 1, last_outcome = 'http_status',
  next_attempt_at = NULL, finished_at = created_at WHERE id = 3;
UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL, finished_at = created_at WHERE id = 4;
UPDATE callback_queue SET leased_until = created_at + 15000, leased_at = created_at, lease_token = -5 WHERE id = 5;
UPDATE callback_queue SET attempts = 1, attempt_seq = 1, last_outcome = 'timeout' WHERE id = 7;
INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
  order_no, result, settlement_status)
VALUES ('payment', 'http://127.0.0.1:1/paused', '6', 4, '7', 'LAK', 'N11', 'M11', 'failure', 2),
  ('payment', 'MERCHANT', '6', 4, '7', 'LAK', 'N12', 'M12', 'failure', 2);
UPDATE callback_queue SET state = 'cancelled', next_attempt_at = NULL, finished_at = created_at WHERE id = 12;
DELETE FROM callback_queue WHERE id IN (9, 12);

INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, http_status, detail,
  response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256, phase, phases)
VALUES
  (2, 1, 1700000000000, 31, 'unreadable', 1, 200, 'no object', '<html>' || char(9) || 'ສະບາຍດີ', '127.0.0.1:80',
   1700000000001, '00ff', 'of-6', 'abcd', NULL, '{"connect":1}'),
  (2, 2, 1700000300000, 7, 'acknowledged', 1, 200, '', '{"transResult":"SUCCESS"}', '127.0.0.1:80',
   1700000300001, '11ff', 'of-6', 'abce', NULL, NULL),
  (3, 1, 1700000000000, 12, 'http_status', 1, 500, '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, 1, 1700000000000, 10000, 'timeout', 1, NULL, 'no answer', NULL, NULL, 1, 'aa', 'of-6', 'bb', 'head', NULL);

INSERT INTO operator_command (action, callback_id, app_id, origin, state, since, until, rate, include_acknowledged, dry_run,
  actor, reason, created_at)
VALUES
  ('resend', NULL, '6', NULL, 'exhausted', 1, 9, 50, 1, 0, 'ann', 'their server was down', 5),
  ('pause', NULL, '7', NULL, NULL, NULL, NULL, NULL, 0, 0, 'ann', 'asked by the merchant', 6),
  ('pause', NULL, NULL, 'http://127.0.0.1:1', NULL, NULL, NULL, NULL, 0, 0, 'bob', 'moving', 7),
  ('resend', 3, NULL, NULL, NULL, NULL, NULL, NULL, 0, 1, 'bob', 'what would it do?', 8),
  ('cancel', NULL, 'nobody', NULL, NULL, NULL, NULL, NULL, 0, 0, 'bob', 'closed shop', 9);
UPDATE operator_command SET status = 'done', started_at = 10, finished_at = 11, selected = 2, done = 1, skipped = 1,
  skipped_why = '{"acknowledged":1}', answer = '1 of 2' WHERE id = 1;
UPDATE operator_command SET status = 'done', started_at = 10, finished_at = 11 WHERE id IN (2, 3);
UPDATE operator_command SET status = 'running', started_at = 10, scan_position = 4, scan_end = 11 WHERE id = 5;
INSERT INTO operator_command_item (command_id, callback_id, what, why, at)
VALUES (1, 2, 'skipped', 'acknowledged', 10), (1, 3, 'resent', '', 10);
INSERT INTO paused (scope, name, command_id, since)
VALUES ('app', '7', 2, 10), ('origin', 'http://127.0.0.1:1', 3, 10);

INSERT INTO reconciliation_open (day, callback_id, state, seq) VALUES ('2026-10-01', 3, 'exhausted', 1);
INSERT INTO reconciliation
SELECT day, CASE day WHEN '2026-10-01' THEN printf('%064d', 0) ELSE printf('%064d', 1) END, 1, 4, 5, 1, 2,
  2, 1, 1, 0, 0, 0, 9, printf('%064d', 7), CASE day WHEN '2026-10-01' THEN printf('%064d', 1) ELSE printf('%064d', 2) END
FROM (SELECT '2026-10-01' AS day UNION ALL SELECT '2026-10-02');
