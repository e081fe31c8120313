"""Takes NewPay's payment and refund callbacks: verifies, stores, acknowledges.

Python 3.9 or newer and its standard library. It speaks plain HTTP on loopback; put a web server
that speaks TLS in front of it. What it is configured by stands in ../README.md, what it does and
why in docs/merchants.md.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sqlite3
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/newpay/callback"
BODY_BYTES_MAX = 64 * 1024


class Number(str):
    """A JSON integer as it was written."""


class Refused(Exception):
    """The callback is not acknowledged."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


# Every member of either message, and its type. Exactly these: the signed text has no quotes, so a
# message that lacks a member, or has one more, could be another one's text cut up differently.
PAYMENT = {
    "appId": str, "payMethod": Number, "orderAmt": str, "currency": str, "newpayOrderNo": str,
    "orderNo": str, "subject": str, "transStatus": Number, "transInfo": str,
    "settlementStatus": Number, "timestamp": str, "extra": str, "sign": str,
}
REFUND = {
    "appId": str, "payMethod": Number, "refundOrderAmt": str, "currency": str,
    "newpayOrderNo": str, "newpayRefundOrderNo": str, "orderNo": str, "refundOrderNo": str,
    "tranStatus": Number, "transInfo": str, "timestamp": str, "sign": str,
}


def parse(body):
    """The members of a flat JSON object; numbers stay as they were written."""

    def members(pairs):
        message = dict(pairs)
        if len(message) != len(pairs):
            raise Refused(400, "a member is there twice")
        return message

    def no_integer(text):
        raise Refused(400, f"{text} is not an integer")

    try:
        message = json.loads(
            body.decode("utf-8"), object_pairs_hook=members, parse_int=Number,
            parse_float=no_integer, parse_constant=no_integer)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(message, dict):
        raise Refused(400, "the body is not a JSON object")
    return message


def check_members(message):
    """Whether it is one of the two messages, whole and unambiguous."""
    expected = REFUND if "newpayRefundOrderNo" in message else PAYMENT
    if message.keys() != expected.keys():
        raise Refused(400, "members are missing, or there are others")
    for name, kind in expected.items():
        # bool is no Number here, and Number no str.
        if type(message[name]) is not kind:
            raise Refused(400, f"{name} has the wrong type")
    if is_ambiguous(message):
        raise Refused(400, "another message could have the same signed text")


def is_ambiguous(message):
    """Whether another message could have the same signed text: docs/merchants.md, "Ambiguous texts"."""
    names = sorted(name for name in message if name != "sign")
    for at, name in enumerate(names):
        own_and_next = names[max(at, 1):at + 2]
        if any(f"&{begun}=" in message[name] for begun in own_and_next):
            return True
    other = PAYMENT if "newpayRefundOrderNo" in message else REFUND
    rest = canonical_form(message)
    for name in sorted(other.keys() - {"appId", "sign"}):
        _, found, rest = rest.partition(f"&{name}=")
        if not found:
            return False
    return True


def canonical_form(message):
    """The text that is signed."""
    names = sorted(name for name in message if name != "sign")
    return "&".join(f"{name}={message[name]}" for name in names)


def is_signed(message, secrets):
    """Whether the sign holds with one of the secrets."""
    try:
        text = canonical_form(message).encode("utf-8")
        sign = message["sign"].encode("ascii")
    except UnicodeEncodeError:  # half a surrogate pair; a sign that is no Base64
        return False
    holds = False
    for secret in secrets:
        digest = hmac.new(secret, text, hashlib.sha256).digest()
        holds |= hmac.compare_digest(base64.b64encode(digest), sign)
    return holds


def check_age(timestamp, max_age_seconds):
    """Each attempt has a timestamp of its own, so an old one is not a late retry but a replay."""
    if not re.fullmatch(r"[0-9]{1,15}", timestamp):
        raise Refused(400, "timestamp is not a number of milliseconds")
    if abs(time.time() * 1000 - int(timestamp)) > max_age_seconds * 1000:
        raise Refused(403, "the timestamp is too old, or in the future")


def read_result(message):
    """What the message says, for the table below. The two status members are each other's opposite."""
    if "newpayRefundOrderNo" in message:
        kind, number = "refund", message["newpayRefundOrderNo"]
        words = {"1": "success", "0": "failure"}
        status, amount = message["tranStatus"], message["refundOrderAmt"]
    else:
        kind, number = "payment", message["newpayOrderNo"]
        words = {"0": "success", "1": "failure"}
        status, amount = message["transStatus"], message["orderAmt"]
    if status not in words:
        raise Refused(400, "the status is neither 0 nor 1")
    refund_order = message.get("refundOrderNo", "")
    return (kind, number, words[status], amount, message["currency"], message["orderNo"],
            refund_order)


class Results:
    """The table of results, one row for each payment and each refund."""

    COLUMNS = "kind, number, result, amount, currency, order_no, refund_order_no"

    def __init__(self, path):
        self.path = path
        with closing(self.connect()) as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS result (kind TEXT NOT NULL, number TEXT NOT NULL, "
                "result TEXT NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL, "
                "order_no TEXT NOT NULL, refund_order_no TEXT NOT NULL, "
                "received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (kind, number))")

    def connect(self):
        return sqlite3.connect(self.path, timeout=5)

    def store(self, result):
        """Returns once the result is on disk; whether it was new."""
        with closing(self.connect()) as connection:
            with connection:  # one transaction
                marks = ", ".join("?" * len(result))
                added = connection.execute(
                    f"INSERT INTO result ({self.COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING",
                    result).rowcount == 1
            stored = connection.execute(
                f"SELECT {self.COLUMNS} FROM result WHERE kind = ? AND number = ?",
                result[:2]).fetchone()
        if stored != result:
            raise Refused(409, "another result is stored under this number")
        return added


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds without a byte

    def do_POST(self):
        try:
            result = self.receive()
        except Refused as refused:
            self.log(f"refused: {refused}")
            self.answer(refused.status, {"transResult": "FAIL", "reason": str(refused)})
        except sqlite3.Error as error:
            self.log(f"not stored: {error}")
            self.answer(503, {"transResult": "FAIL", "reason": "the result could not be stored"})
        else:
            self.log(result)
            self.answer(200, {"transResult": "SUCCESS"})

    def receive(self):
        body = self.read_body()
        if self.path != PATH:
            raise Refused(404, "callbacks go to " + PATH)
        message = parse(body)
        check_members(message)
        if message["appId"] != self.server.app_id:
            raise Refused(403, "the appId is another")
        if not is_signed(message, self.server.secrets):
            raise Refused(403, "the sign does not hold")
        check_age(message["timestamp"], self.server.max_age_seconds)
        result = read_result(message)
        added = self.server.results.store(result)
        return ("stored: " if added else "known: ") + " ".join(result[:3])

    def read_body(self):
        # A body that is not read would be taken for the next request.
        closes, self.close_connection = self.close_connection, True
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length):
            raise Refused(411, "Content-Length is missing")
        if int(length) > BODY_BYTES_MAX:
            raise Refused(413, "the body is too large")
        body = self.rfile.read(int(length))
        self.close_connection = closes
        return body

    def answer(self, status, members):
        body = json.dumps(members).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log(self, text):
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)

    def log_message(self, format, *arguments):
        """Nothing: what matters is logged above, and requests of others may hold anything."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    if "NEWPAY_PUBLIC_KEY_FILE" in os.environ:
        sys.exit("Python's standard library has no RSA; see README.md")
    try:
        with open(os.environ["NEWPAY_SECRETS_FILE"], "rb") as file:
            secrets = [line for line in file.read().splitlines() if line]
        if not secrets:
            sys.exit("NEWPAY_SECRETS_FILE is empty; write one secret per line into it")
        app_id = os.environ["NEWPAY_APP_ID"]
    except KeyError as missing:
        sys.exit(f"{missing.args[0]} is not set; see README.md")
    server = Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Receiver)
    server.app_id, server.secrets = app_id, secrets
    server.max_age_seconds = int(os.environ.get("MAX_AGE_SECONDS", "300"))
    server.results = Results(os.environ.get("RESULTS", "results.db"))
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
