"""Usage: lifecycle.py ROOT PACKAGE UPGRADE

The life of the Debian package in the Debian tree ROOT, as an administrator and a gateway see it:
installed, given keys, started, upgraded, removed, installed again, purged. scripts/test-package calls it
in namespaces of its own. What must hold is said where it is checked; the first thing that does not
ends it with exit code 1.
"""

import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

UNIT = "callback-dispatcher.service"
STATE = "var/lib/callback-dispatcher"
ETC = "etc/callback-dispatcher"
SECRET = "newpay-demo-secret"
MERCHANT = "http://127.0.0.1:8081"
# Nobody listens there.
NOBODY = "http://127.0.0.1:8099"
ADMIN = "http://127.0.0.1:9464"
PATIENCE_SECONDS = 30

# The administrator's own line in the settings, which an upgrade must leave alone.
OWN_SETTINGS = """
[egress]
allow_http = true
allow_networks = ["127.0.0.1"]
"""

KEYS = f"""
[[key]]
app_id = "6"
id = "2026-11"
secret = "{SECRET}"
"""


def fail(what):
    print(f"scripts/test-package: FAILED: {what}", file=sys.stderr)
    sys.exit(1)


def expect(condition, what):
    if not condition:
        fail(what)


def equal(found, expected, what):
    if found != expected:
        fail(f"{what}: expected {expected!r}, found {found!r}")


def until(what, probe):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.05)
    return fail(f"waited in vain: {what}")


def step(what):
    print(f"-- {what}", flush=True)


class Tree:
    """The Debian tree, and what goes on in it."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.journal = []

    def prepare(self, packages):
        """Devices, /proc, a journal to write to, and the stand-in for systemctl."""
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.root / "proc"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", self.root / "dev"], check=True)
        raise_loopback()
        for package in packages:
            shutil.copy(package, self.root / "srv")
        (self.root / "run/systemd/system").mkdir(parents=True)
        stand_in = pathlib.Path(__file__).with_name("systemctl")
        shutil.copy(stand_in, self.root / "usr/local/bin/systemctl")
        self.listen_as_journal()

    def listen_as_journal(self):
        path = self.root / "run/systemd/journal/socket"
        path.parent.mkdir(parents=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(path))
        path.chmod(0o666)

        def listen():
            while True:
                self.journal.append(listener.recv(65536).decode("utf-8", "replace"))

        threading.Thread(target=listen, daemon=True).start()

    def run(self, *command, code=0, text=None):
        """Runs a command in the tree; returns what it said."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["chroot", self.root, *command],
            env=environment,
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != code:
            fail(f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{done.stdout}")
        return done.stdout

    def install(self, package):
        said = self.run("dpkg", "--install", f"/srv/{pathlib.Path(package).name}")
        expect(SECRET not in said, "dpkg's output has the secret")
        return said

    def sql(self, statement):
        database = f"/{STATE}/queue.db"
        answer = self.run("sqlite3", "-json", "-cmd", ".timeout 10000", database, statement)
        return json.loads(answer) if answer.strip() else []

    def rows(self):
        return self.sql(
            "SELECT id, order_no, amount, state, attempts, last_outcome FROM callback_queue ORDER BY id"
        )

    def state(self, order):
        return self.sql(f"SELECT state FROM callback_queue WHERE order_no = '{order}'")[0]["state"]

    def queue(self, order, url):
        """A payment, as a gateway queues it that has joined the group."""
        self.run(
            "setpriv", "--reuid=gateway", "--regid=gateway", "--init-groups",
            "sqlite3", "-cmd", ".timeout 10000", f"/{STATE}/queue.db",
            f"""INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
                  newpay_order_no, order_no, subject, result, trans_info, settlement_status)
                VALUES ('payment', '{url}/callback', '6', 1, '123.00', 'LAK', 'N-{order}', '{order}',
                  '1', 'success', 'Transaction Success', 1)""",
        )

    def unit(self):
        path = self.root / f"run/stand-in/{UNIT}.json"
        return json.loads(path.read_text()) if path.exists() else {"state": "inactive"}

    def log(self):
        path = self.root / "run/stand-in/log"
        return path.read_text() if path.exists() else ""

    def mode(self, path):
        status = (self.root / path).stat()
        owner = self.run("stat", "--format=%U:%G", f"/{path}").strip()
        return f"{status.st_mode & 0o7777:o} {owner}"

    def exists(self, path):
        return (self.root / path).exists()

    def merchant(self, answer, journal):
        """A merchant in the tree that answers so; returns its process."""
        merchant = subprocess.Popen(
            ["chroot", self.root, "callback-dispatcher", "mock-merchant", "--answer", answer,
             "--journal", f"/srv/{journal}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        merchant.stdout.readline()
        return merchant

    def posts(self, journal):
        path = self.root / "srv" / journal
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def raise_loopback():
    """The namespace's own; no program for it needs to be installed."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(handle, siocgifflags, request))[1]
        fcntl.ioctl(handle, siocsifflags, struct.pack("16sH14s", b"lo", flags | iff_up, b""))


def installed_without_keys(tree, package):
    step("a fresh installation: complete, and it starts nothing")
    said = tree.install(package)
    expect("it has no keys" in said, f"the administrator is not told about the keys:\n{said}")
    equal(tree.unit()["state"], "inactive", "the service without keys")
    expect("condition not met" in tree.log(), "it was to be started, and its condition to hold it back")
    expect("enabled" in tree.run("systemctl", "is-enabled", UNIT), "the service is not enabled")
    equal(tree.mode(STATE), "2770 callback-dispatcher:callback-dispatcher", "the queue's folder")
    for name in ("queue.db", "queue.db.lock"):
        equal(tree.mode(f"{STATE}/{name}"), "660 callback-dispatcher:callback-dispatcher", name)
    equal(tree.mode(f"{ETC}/dispatcher.toml"), "644 root:root", "the settings")
    expect(not tree.exists(f"{ETC}/keys.toml"), "the package brings live keys")
    commands = re.findall(r"^  ([a-z-]+) ", tree.run("callback-dispatcher", "help"), re.M)
    expect(len(commands) > 5, f"the commands are {commands}")
    pages = [f"callback-dispatcher-{name}" for name in commands if name != "help"]
    for page in ["callback-dispatcher", *pages]:
        expect(tree.exists(f"usr/share/man/man1/{page}.1.gz"), f"no manual page {page}")
    completion = "/usr/share/bash-completion/completions/callback-dispatcher"
    expect(
        "callback-dispatcher" in tree.run("bash", "-c", f". {completion} && complete -p callback-dispatcher"),
        "bash completes nothing",
    )


def the_example_of_keys_is_refused(tree):
    step("the example of keys is none to sign with")
    example = "/usr/share/doc/callback-dispatcher/examples/keys.toml"
    tree.run("install", "-m", "600", example, f"/{ETC}/")
    said = tree.run("callback-dispatcher", "check", code=78)
    expect("secret is empty" in said, f"check does not name the empty secret:\n{said}")


def started_with_keys(tree):
    step("with keys it starts, and a gateway's callback is delivered")
    (tree.root / ETC / "keys.toml").write_text(KEYS)
    with open(tree.root / ETC / "dispatcher.toml", "a", encoding="utf-8") as settings:
        settings.write(OWN_SETTINGS)
    said = tree.run("callback-dispatcher", "check")
    expect("fault" not in said, said)
    tree.run("useradd", "--user-group", "gateway")
    tree.run("usermod", "--append", "--groups", "callback-dispatcher", "gateway")
    tree.run("systemctl", "start", UNIT)
    equal(tree.unit()["state"], "active", "the service with keys")
    for path in ("/healthz", "/readyz"):
        until(path, lambda path=path: answers(path))
    until("the journal hears of the start", lambda: any("dispatching" in entry for entry in tree.journal))
    merchant = tree.merchant("ack", "first.ndjson")
    tree.queue("M1", MERCHANT)
    until("the callback is delivered", lambda: tree.state("M1") == "delivered")
    merchant.terminate()
    merchant.wait()
    posts = tree.posts("first.ndjson")
    equal(len(posts), 1, "POSTs that the merchant received")
    equal(posts[0]["sign_holds"], True, "the signature at the merchant")
    # An operator, without more rights than the group's.
    said = tree.run(
        "setpriv", "--reuid=gateway", "--regid=gateway", "--init-groups",
        "callback-dispatcher", "show", "M1",
    )
    expect("acknowledged" in said, said)


def answers(path):
    try:
        with urllib.request.urlopen(ADMIN + path, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def upgraded(tree, package):
    step("an upgrade waits for what is in flight, and keeps what is pending")
    for order in ("M2", "M3"):
        tree.queue(order, NOBODY)
    until("two attempts have failed", lambda: [row["last_outcome"] for row in tree.rows()[1:3]] == ["connect"] * 2)
    merchant = tree.merchant("slow:3s", "second.ndjson")
    tree.queue("M4", MERCHANT)
    until("an attempt is under way", lambda: tree.sql("SELECT 1 FROM callback_queue WHERE leased_until IS NOT NULL"))
    before = tree.unit()["pid"]
    tree.install(package)
    after = tree.unit()
    equal(after["state"], "active", "the service after the upgrade")
    expect(after["pid"] != before, "the old process still runs")
    expect("had to be killed" not in tree.log(), "the old process did not drain")
    merchant.terminate()
    merchant.wait()
    equal(len(tree.posts("second.ndjson")), 1, "POSTs of the callback that was in flight")
    rows = tree.rows()
    equal([row["state"] for row in rows], ["delivered", "pending", "pending", "delivered"], "the queue")
    equal([row["attempts"] for row in rows], [1, 1, 1, 1], "attempts in the queue")
    expect(OWN_SETTINGS in (tree.root / ETC / "dispatcher.toml").read_text(), "the settings were replaced")
    return rows


def upgraded_while_stopped(tree, package):
    step("what an operator has stopped, an upgrade leaves stopped")
    tree.run("systemctl", "stop", UNIT)
    tree.install(package)
    equal(tree.unit()["state"], "inactive", "the service after an upgrade while it was stopped")
    tree.run("systemctl", "start", UNIT)
    equal(tree.unit()["state"], "active", "the service")


def upgraded_with_a_fault(tree, package):
    step("an upgrade that would not start leaves the old process at work")
    settings = tree.root / ETC / "dispatcher.toml"
    good = settings.read_text()
    settings.write_text(good + "\n[log]\nlevle = \"info\"\n")
    before = tree.unit()["pid"]
    tree.install(package)
    after = tree.unit()
    equal((after["state"], after["pid"]), ("active", before), "the service after an upgrade with a fault")
    settings.write_text(good)


def removed_and_installed_again(tree, package, rows):
    step("removed, the queue, the settings and the keys stay; installed again, it goes on")
    tree.run("dpkg", "--remove", "callback-dispatcher")
    equal(tree.unit()["state"], "inactive", "the service after the removal")
    expect("had to be killed" not in tree.log(), "it did not drain")
    equal(tree.rows(), rows, "the queue after the removal")
    expect(tree.exists(f"{ETC}/keys.toml") and tree.exists(f"{ETC}/dispatcher.toml"), "configuration is lost")
    tree.install(package)
    equal(tree.unit()["state"], "active", "the service after it was installed again")
    equal(tree.rows(), rows, "the queue after it was installed again")


def purged_without_a_word(tree, rows):
    step("purged with nobody to ask: no configuration, but the queue")
    said = tree.run("dpkg", "--purge", "callback-dispatcher")
    expect("the queue is kept" in said, f"the administrator is not told where the queue is:\n{said}")
    expect(not tree.exists(ETC), "configuration or secrets are left")
    equal(tree.rows(), rows, "the queue after the purge")
    equal(tree.sql("PRAGMA integrity_check")[0]["integrity_check"], "ok", "the file")
    equal(tree.mode(f"{STATE}/queue.db"), "660 callback-dispatcher:callback-dispatcher", "the queue's owner")


def installed_where_no_systemd_runs(tree, package, rows):
    step("installed over a kept queue, where no systemd runs")
    shutil.rmtree(tree.root / "run/systemd/system")
    tree.install(package)
    equal(tree.rows(), rows, "the queue")


def purged_on_request(tree):
    step("purged by an administrator who said that the queue may go")
    answer = "callback-dispatcher callback-dispatcher/delete-queue boolean true\n"
    tree.run("debconf-set-selections", text=answer)
    tree.run("dpkg", "--purge", "callback-dispatcher")
    expect(not tree.exists(STATE), "the queue is still there")
    leftovers = tree.run("find", "/etc", "/usr", "/var/lib/systemd", "-name", "*callback-dispatcher*")
    equal(leftovers, "", "files that are left")


def main():
    root, package, upgrade = sys.argv[1:]
    tree = Tree(root)
    tree.prepare([package, upgrade])
    installed_without_keys(tree, package)
    the_example_of_keys_is_refused(tree)
    started_with_keys(tree)
    rows = upgraded(tree, upgrade)
    upgraded_while_stopped(tree, upgrade)
    upgraded_with_a_fault(tree, upgrade)
    removed_and_installed_again(tree, upgrade, rows)
    purged_without_a_word(tree, rows)
    installed_where_no_systemd_runs(tree, upgrade, rows)
    purged_on_request(tree)
    print("scripts/test-package: the package lives as it should")


main()
