"""A gateway: another process that queues rows with its own SQLite, and keeps a ledger of its own.

    gateway.py DATABASE LEDGER SEED ROWS URL...

queues ROWS rows and then more, a few at a time, until its standard input ends. With SEED 0 it ends
after the first ROWS. A row stands in the ledger, as a line of JSON, only after its commit; it gives
the URL, the number by which the row is known, and the members that the merchant must get.
"""

import json
import random
import select
import sqlite3
import sys

DATABASE, LEDGER, SEED, ROWS = sys.argv[1:5]
URLS = sys.argv[5:]
COLUMNS = (
    "kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no, order_no,"
    " newpay_refund_order_no, refund_order_no, subject, extra, result, trans_info, settlement_status"
)
TEXTS = ["", "1", "a=b&c=d", "ສະບາຍດີ", '"quoted" \\ back', "  spaces  "]


def callback(chance, number):
    """A row, and the members of its message."""
    url = chance.choice(URLS)
    amount = f"{chance.randrange(1, 10**6)}.{chance.randrange(100):02}"
    currency = chance.choice(["LAK", "USD"])
    method = chance.choice([1, 4])
    order, newpay = f"M{number}", f"N{number}"
    result = chance.choice(["success", "failure"])
    info = chance.choice(TEXTS)
    shared = {"appId": "6", "payMethod": method, "currency": currency, "newpayOrderNo": newpay,
              "orderNo": order, "transInfo": info}
    if chance.random() < 0.7:
        subject, extra, settled = chance.choice(TEXTS), chance.choice(TEXTS), chance.choice([1, 2])
        row = ("payment", url, "6", method, amount, currency, newpay, order, None, None, subject,
               extra, result, info, settled)
        members = shared | {"orderAmt": amount, "subject": subject, "extra": extra,
                            "settlementStatus": settled,
                            "transStatus": 0 if result == "success" else 1}
        known_as = newpay
    else:
        known_as, refund = f"NR{number}", f"MR{number}"
        row = ("refund", url, "6", method, amount, currency, newpay, order, known_as, refund, "",
               "", result, info, None)
        members = shared | {"refundOrderAmt": amount, "newpayRefundOrderNo": known_as,
                            "refundOrderNo": refund,
                            "tranStatus": 1 if result == "success" else 0}
    return row, {"number": known_as, "url": url, "members": members}


def connect():
    return sqlite3.connect(DATABASE, timeout=120, isolation_level=None)


def queue(database, ledger, callbacks):
    database.execute("BEGIN IMMEDIATE")
    statement = f"INSERT INTO callback_queue ({COLUMNS}) VALUES ({', '.join('?' * 15)})"
    database.executemany(statement, [row for row, _ in callbacks])
    database.execute("COMMIT")
    for _, entry in callbacks:
        ledger.write(json.dumps(entry) + "\n")
    ledger.flush()


def told_to_end(seconds):
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready)


def main():
    chance = random.Random(int(SEED) or None)
    # Two gateways of one queue must not use the same numbers.
    prefix = chance.randrange(10**9)
    numbers = iter(f"{prefix}-{number}" for number in range(10**9))
    some = lambda count: [callback(chance, next(numbers)) for _ in range(count)]
    with open(LEDGER, "a", encoding="utf-8") as ledger:
        database = connect()
        left = int(ROWS)
        while left > 0:
            queue(database, ledger, some(min(left, 100)))
            left -= 100
        if SEED == "0":
            return
        print("queued", flush=True)
        while not told_to_end(chance.uniform(0, 0.2)):
            # A connection that is closed leaves the recovery after a crash to the dispatcher.
            if database is None:
                database = connect()
            queue(database, ledger, some(chance.randrange(1, 20)))
            if chance.random() < 0.5:
                database.close()
                database = None


main()
