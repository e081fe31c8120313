"""Recomputes the audit chain as docs/reconcile.md defines it, from the database alone.

Usage: auditor.py queue.db; prints a JSON array with day, rows_sha256 and digest as they must be,
and which of them the database has.
"""
import hashlib
import json
import sqlite3
import sys
from datetime import datetime, timedelta, timezone

GATEWAY = """id, kind, app_id, newpay_order_no, newpay_refund_order_no, order_no, refund_order_no,
  amount, currency, result, pay_method, settlement_status, trans_info, subject, extra, callback_url,
  created_at"""
ATTEMPT = "seq, outcome, started_at, sent_timestamp, key_id, sign, body_sha256"
HEADER = """previous, day, first_id, last_id, next_id, created_from, created_to, queued, acknowledged, exhausted,
  cancelled, pending, unknown, closed_at, rows_sha256"""
STATES = ("acknowledged", "exhausted", "cancelled", "pending", "unknown")

queue = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
queue.text_factory = lambda text: text.decode("utf-8", "replace")


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def array(values):
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))


def end_of(day):
    midnight = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=timezone.utc) + timedelta(days=1)
    return int(midnight.timestamp()) * 1000


def line(row, day):
    """The line of a callback, and its state."""
    noted = queue.execute(
        "SELECT state, seq FROM reconciliation_open WHERE day = ? AND callback_id = ?", (day, row[0])
    ).fetchone()
    where = "seq = ?" if noted else "outcome = 'acknowledged' AND 0 IS ?"
    attempt = queue.execute(
        f"SELECT {ATTEMPT} FROM callback_attempt WHERE callback_id = ? AND {where} ORDER BY seq LIMIT 1",
        (row[0], noted[1] if noted else 0),
    ).fetchone()
    state = noted[0] if noted else "acknowledged"
    return array((*row, state, *(attempt or [None] * 7))), state


callbacks = queue.execute(f"SELECT {GATEWAY} FROM callback_queue ORDER BY id").fetchall()
taken = set()
previous = "0" * 64
audit = []
for link in queue.execute(f"SELECT {HEADER}, digest FROM reconciliation ORDER BY day").fetchall():
    day, last_id = link[1], link[3]
    closed_at = link[13]
    old_enough = lambda created_at: created_at < end_of(day) or created_at > closed_at + 86_400_000
    mine = [c for c in callbacks if c[0] not in taken and c[0] <= last_id and old_enough(c[16])]
    taken.update(c[0] for c in mine)
    lines = [line(callback, day) for callback in mine]
    states = [state for _, state in lines]
    rows_sha256 = sha256("".join(text + "\n" for text, _ in lines))
    counts = [len(lines), *(states.count(state) for state in STATES)]
    times = [c[16] for c in mine]
    bounds = [min(times, default=None), max(times, default=None)]
    header = [previous, day, *link[2:5], *bounds, *counts, closed_at, rows_sha256]
    digest = sha256(array(["callback-dispatcher day 1", *header]))
    has = {"day": day, "rows_sha256": link[14], "digest": link[15]}
    audit.append({"must_be": {"day": day, "rows_sha256": rows_sha256, "digest": digest}, "is": has})
    previous = digest
json.dump(audit, sys.stdout)
