-- From schema version 3 to 4: one index the fewer to be changed by each INSERT of the gateway.
--
-- What it makes is what schema.sql has; a test compares the two.

DROP INDEX callback_one_per_payment;
DROP INDEX callback_by_newpay_order;
CREATE UNIQUE INDEX callback_one_per_payment ON callback_queue (newpay_order_no, coalesce(newpay_refund_order_no, ''));
