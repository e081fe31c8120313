-- Ten thousand callbacks like the document's sample, one attempt each. The sizes are those of the file.
BEGIN;
INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no, order_no,
  subject, result, trans_info, settlement_status, created_at, next_attempt_at)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
SELECT 'payment', 'https://merchant' || (i % 500) || '.example.com/newpay/callback', i % 500, 1, '123.00', 'LAK',
  '2026' || (10000000000000 + i), '2026090670' || (10000000 + i * 7919 % 90000000), 'Order of shop', 'success',
  'Transaction Success', 1, 1790000000000 + i, 1790000000000 + i
FROM n;
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT 'waiting', page_count * page_size / 10000 FROM pragma_page_count, pragma_page_size;

BEGIN;
UPDATE callback_queue SET leased_until = next_attempt_at + 25000, leased_at = next_attempt_at,
  lease_token = 8000000000000000000 + id;
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, http_status, detail,
  response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256, phases)
SELECT id, 1, created_at, 120, 'acknowledged', 1, 200, '', '{"transResult":"SUCCESS"}', '203.0.113.7:443', created_at,
  'ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0=', '2026-11', lower(hex(randomblob(32))),
  '{"dns":1,"connect":12,"tls":25,"head":120,"body":0}'
FROM callback_queue;
UPDATE callback_queue SET state = 'delivered', attempts = 1, next_attempt_at = NULL, finished_at = created_at + 130,
  last_outcome = 'acknowledged', attempt_seq = 1, leased_until = NULL, leased_at = NULL, lease_token = NULL;
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT 'delivered', page_count * page_size / 10000 FROM pragma_page_count, pragma_page_size;

BEGIN;
INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, detail, remote_addr,
  sent_timestamp, sign, key_id, body_sha256, phase, phases)
SELECT id, 2, created_at, 10000, 'timeout', 1, 'no answer within 10s; the head did not come', '203.0.113.7:443',
  created_at, 'ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0=', '2026-11', lower(hex(randomblob(32))), 'head',
  '{"dns":1,"connect":12,"tls":25}'
FROM callback_queue;
COMMIT;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT 'two attempts', page_count * page_size / 10000 FROM pragma_page_count, pragma_page_size;
