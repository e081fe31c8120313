"""Plays a gateway and a dispatcher of any temper: python3 history.py queue.db SEED DAY

Writes what may have happened up to the middle of DAY (Unix milliseconds of its midnight): new callbacks,
some with the time of an earlier or the next day and with texts of every kind, and attempts that
leave callbacks old and new in every state.
"""
import random
import sqlite3
import sys

path, seed, midnight = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
some = random.Random(seed * 1_000_000_007 + midnight)
queue = sqlite3.connect(path, isolation_level=None, timeout=10)
DAY = 86_400_000
TEXTS = ["", "1", "a,b", 'say "ok"', "back\\slash", "tab\there", "line\nfeed", "\x01\x1f\x7f", "\b\f\r",
         "ສະບາຍດີ", "\U0001f4b8", "</script>", "\u2028\u2029", "é" * 40]


def text():
    return "".join(some.choice(TEXTS) for _ in range(some.randrange(3)))


def enqueue(number):
    created_at = midnight + some.randrange(DAY // 2)
    # Now and then the gateway's clock is off, or its transaction took a night.
    created_at += some.choice([0] * 12 + [-DAY, -3 * DAY, DAY, 2 * DAY, 400 * DAY, -1, 1])
    refund = some.random() < 0.3
    queue.execute(
        """INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
             newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result,
             trans_info, settlement_status, created_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        ("refund" if refund else "payment", "https://merchant.example/" + some.choice("abc"),
         some.choice("678"), some.choice([1, 4]), some.choice(["1", "123.00", "0.5"]),
         some.choice(["LAK", "USD"]), f"N{number}", f"M{number}" + text(),
         f"NR{number}" if refund else None, f"MR{number}" if refund else None,
         "" if refund else text(), "" if refund else text(), some.choice(["success", "failure"]),
         text(), None if refund else some.choice([1, 2]), created_at))


def attempt(callback, outcome):
    seq, = queue.execute("SELECT attempt_seq + 1 FROM callback_queue WHERE id = ?", (callback,)).fetchone()
    sent = outcome not in ("interrupted", "unsignable", "blocked")
    queue.execute(
        """INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
             sent_timestamp, sign, key_id, body_sha256) VALUES (?, ?, ?, 5, ?, 1, ?, ?, ?, ?)""",
        (callback, seq, midnight + seq, outcome, midnight + seq if sent else None,
         f"sign{some.random()}" if sent else None, "ກ" if sent else None,
         f"{some.getrandbits(256):064x}" if sent else None))
    queue.execute("UPDATE callback_queue SET attempt_seq = ?, last_outcome = ? WHERE id = ?",
                  (seq, outcome, callback))


def move(callback, state):
    leased = "NULL" if state != "leased" else "1"
    state = "pending" if state == "leased" else state
    due, end = ("1", "NULL") if state == "pending" else ("NULL", "1")
    queue.execute(
        f"""UPDATE callback_queue SET state = ?, next_attempt_at = {due}, finished_at = {end},
              leased_until = {leased}, leased_at = {leased}, lease_token = {leased}
            WHERE id = ?""", (state, callback))


def live(callback):
    """One of the things that can happen to a callback, once more or for the first time."""
    what = some.random()
    if what < 0.5:
        attempt(callback, "acknowledged")
        move(callback, "delivered")
    elif what < 0.6:
        attempt(callback, some.choice(["refused", "timeout", "interrupted", "unsignable"]))
        move(callback, "pending")
    elif what < 0.7:
        attempt(callback, "http_status")
        move(callback, "exhausted")
    elif what < 0.9:
        move(callback, some.choice(["cancelled", "pending", "leased"]))


queue.execute("BEGIN IMMEDIATE")
first, = queue.execute("SELECT coalesce(max(id), 0) + 1 FROM callback_queue").fetchone()
for number in range(first, first + some.randrange(25)):
    enqueue(f"{seed}-{number}")
callbacks = [row[0] for row in queue.execute("SELECT id FROM callback_queue ORDER BY id")]
for callback in callbacks:
    if callback >= first or some.random() < 0.3:
        live(callback)
queue.execute("COMMIT")
