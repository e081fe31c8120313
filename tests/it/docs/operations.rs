//! `docs/operations.md`: its backup and restore are done as it says, and each alert has its section.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use tempfile::TempDir;

use super::{document, sqlite3};

/// A host in a folder: the paths of the document lead into it.
struct Host {
    folder: TempDir,
    document: String,
}

impl Host {
    /// With a populated queue, and a `systemctl` that writes down what it was asked.
    fn new() -> Self {
        let host = Self {
            folder: TempDir::new().expect("a temporary folder"),
            document: document("operations.md"),
        };
        for folder in [
            "bin",
            "var/lib/callback-dispatcher",
            "etc/callback-dispatcher",
        ] {
            fs::create_dir_all(host.path(folder)).expect("writable");
        }
        host.write("etc/callback-dispatcher/dispatcher.toml", "", 0o644);
        let keys = "[[key]]\napp_id = \"6\"\nid = \"1\"\nsecret = \"s\"\n";
        host.write("etc/callback-dispatcher/keys.toml", keys, 0o600);
        let log = host.path("systemctl.log");
        let systemctl = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", log.display());
        host.write("bin/systemctl", &systemctl, 0o755);
        // Here is no such account; what counts is that the file gets in place.
        let install =
            "#!/bin/sh\nexec /usr/bin/install $(echo \"$@\" | sed 's/ -[og] [a-z-]*//g')\n";
        host.write("bin/install", install, 0o755);
        sqlite3(&host.queue(), &[], include_str!("../../../schema.sql"));
        // Its closed days are samples; here the chain is verified.
        let callbacks = super::POPULATION.split("-- Two closed days").next();
        sqlite3(
            &host.queue(),
            &["-bail"],
            callbacks.expect("split gives one at least"),
        );
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn queue(&self) -> PathBuf {
        self.path("var/lib/callback-dispatcher/queue.db")
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).expect("writable");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our file");
    }

    /// Runs the block of the document that is marked with `name`.
    fn run(&self, name: &str) -> String {
        let mark = format!("<!-- run: {name} -->\n```sh\n");
        let begin = self
            .document
            .find(&mark)
            .unwrap_or_else(|| panic!("no block {name}"));
        let begin = begin + mark.len();
        let end = begin
            + self.document[begin..]
                .find("\n```")
                .expect("the block ends");
        let root = self.folder.path().to_str().expect("UTF-8");
        let script = self.document[begin..end]
            .replace("/var/", &format!("{root}/var/"))
            .replace("/etc/", &format!("{root}/etc/"));
        let program = Path::new(env!("CARGO_BIN_EXE_callback-dispatcher"));
        let program = program.parent().expect("it is in a folder").display();
        let path = std::env::var("PATH").expect("a PATH");
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("PATH", format!("{root}/bin:{program}:{path}"))
            .env_remove("CREDENTIALS_DIRECTORY")
            .current_dir(self.folder.path())
            .output();
        said(output.expect("bash"), &script)
    }

    /// Commits `sql` and stays.
    fn gateway(&self, sql: &str) -> Gateway {
        let mut child = Command::new("sqlite3")
            .args(["-batch", "-bail"])
            .arg(self.queue())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sqlite3 is installed by scripts/check");
        let mut stdin = child.stdin.take().expect("it is piped");
        writeln!(stdin, "{sql}\n.print done").expect("it listens");
        let stdout = child.stdout.as_mut().expect("it is piped");
        let mut done = String::new();
        BufReader::new(stdout)
            .read_line(&mut done)
            .expect("it answers");
        assert_eq!(done, "done\n");
        Gateway { child, stdin }
    }

    fn ask(&self, sql: &str) -> String {
        sqlite3(&self.queue(), &[], sql).trim().to_owned()
    }
}

/// A process that has the queue open.
struct Gateway {
    child: Child,
    /// Closed, it ends the process.
    stdin: ChildStdin,
}

impl Gateway {
    fn leave(mut self) {
        drop(self.stdin);
        assert!(self.child.wait().expect("it ends").success());
    }
}

fn said(output: Output, script: &str) -> String {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, complaint) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{script}\n{out}{complaint}");
    out
}

/// A backup; then acknowledgements, a new result and a pause; then the file is lost. What was acknowledged is not
/// sent again, though it was queued a second time; the pause is kept, and nothing else is left of the broken file.
#[test]
fn a_backup_is_restored_as_the_document_says() {
    let host = Host::new();
    let all = "SELECT group_concat(id || state) FROM callback_queue";
    let before = host.ask(all);
    // While somebody has the queue open, what is newest is not in the file that `cp` would take.
    let gateway = host.gateway("UPDATE callback_queue SET last_outcome = 'dns' WHERE id = 7;");
    assert_eq!(host.run("backup").trim(), "ok");
    gateway.leave();

    // One that waited, and one that was in flight as the backup was made.
    host.ask(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
           VALUES (9, 1, 1, 1, 'acknowledged', 1), (10, 1, 1, 1, 'acknowledged', 1);
         UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1,
           leased_until = NULL, leased_at = NULL, lease_token = NULL WHERE id IN (9, 10);",
    );
    let queue_new = |id: u32| {
        format!(
            "INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, currency, newpay_order_no,
               order_no, result, settlement_status)
             VALUES ({id}, 'payment', 'https://new.example/', '6', 1, '1', 'LAK', 'new', 'new', 'success', 1);"
        )
    };
    host.ask(&format!(
        "{} INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted)
           VALUES (5000, 1, 1, 1, 'acknowledged', 1);
         UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1 WHERE id = 5000;
         DELETE FROM paused;
         INSERT INTO operator_command (id, action, app_id, actor, reason) VALUES (900, 'pause', '6', 'noy', 'they move');
         INSERT INTO paused VALUES ('app', '6', 900, 1);",
        queue_new(5000)
    ));
    assert_eq!(host.run("restore").trim(), "ok");
    assert_eq!(host.ask(all), before, "the queue is what it was");
    assert_eq!(
        host.ask("SELECT last_outcome FROM callback_queue WHERE id = 7"),
        "dns"
    );
    let mode = fs::metadata(host.queue())
        .expect("it is in place")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660, "the gateway's group can write");
    let paused = host.ask("SELECT count(*) FROM paused");
    assert_eq!(
        host.run("pauses"),
        format!("1 pauses are taken over\n{paused} pauses had ended\n")
    );
    let asked = "SELECT action, app_id, actor, reason FROM operator_command WHERE status = 'waiting' AND actor = 'noy'";
    assert_eq!(host.ask(asked), "pause|6|noy|restored: they move");
    host.ask(&queue_new(6000));
    assert_eq!(
        host.run("spare").trim(),
        "3 were acknowledged after the backup and are not sent again"
    );
    assert_eq!(
        host.ask("SELECT group_concat(id) FROM callback_queue WHERE state = 'cancelled'"),
        "9,10,11,6000"
    );
    assert_eq!(
        host.ask("PRAGMA auto_vacuum; PRAGMA application_id"),
        "2\n1313882946"
    );
    let started = host.run("start");
    assert!(started.contains("schema version"), "{started}");
    let asked = fs::read_to_string(host.path("systemctl.log")).expect("it was asked");
    assert_eq!(
        asked,
        "stop callback-dispatcher\nstart callback-dispatcher\n"
    );
}

#[test]
fn an_rsa_key_is_made_that_the_program_takes() {
    let host = Host::new();
    host.run("rsa");
    let keys = host.path("etc/callback-dispatcher/keys.toml");
    let key = host.path("platform-2027.pem");
    let entry = format!(
        "[[key]]\napp_id = \"6\"\nid = \"1\"\nalgorithm = \"rsa-sha256\"\nprivate_key_file = \"{}\"\n",
        key.display()
    );
    fs::write(keys, entry).expect("writable");
    let settings = host.path("etc/callback-dispatcher/dispatcher.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_callback-dispatcher"))
        .args(["check", "--config"])
        .arg(settings)
        .env_remove("CREDENTIALS_DIRECTORY")
        .current_dir(host.path("var/lib/callback-dispatcher"))
        .output();
    let said = said(output.expect("the program"), "check");
    assert!(said.contains("for app 6"), "{said}");
}

/// The table of sizes is what is measured, to a tenth.
#[test]
fn callbacks_are_as_large_as_the_document_says() {
    let document = document("operations.md");
    let said = |row: &str| -> f64 {
        let line = document
            .lines()
            .find(|line| line.starts_with(&format!("| {row} |")));
        let line = line.unwrap_or_else(|| panic!("no row {row}"));
        let bytes = line.split('|').nth(2).expect("a second column").trim();
        bytes.parse().expect("bytes")
    };
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("queue.db");
    sqlite3(&path, &[], include_str!("../../../schema.sql"));
    let measured = sqlite3(&path, &["-bail"], include_str!("capacity.sql"));
    let bytes = |name: &str| -> f64 {
        let line = measured
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}|")));
        line.expect("measured").parse().expect("bytes")
    };
    let delivered = bytes("delivered");
    for (row, measured) in [
        ("a callback that waits", bytes("waiting")),
        ("delivered at the first attempt", delivered),
        ("each further attempt", bytes("two attempts") - delivered),
    ] {
        let said = said(row);
        assert!(
            (said / measured - 1.0).abs() < 0.1,
            "{row}: {said}, measured {measured}"
        );
    }
}

/// The anchors that the rules lead to.
#[test]
fn each_alert_has_a_section() {
    let document = document("operations.md");
    let sections: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### alert-"))
        .collect();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring/alerts.yml");
    let rules = fs::read_to_string(rules).expect("the rules are there");
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(sections, alerts);
}

/// Links within the documents lead somewhere.
#[test]
fn links_between_the_documents_hold() {
    for name in ["operations.md", "sql.md", "reconcile.md"] {
        let text = document(name);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().expect("split gives one at least");
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
            let path = path.join(if file.is_empty() { name } else { file });
            let other = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name}: {target}"));
            let found = anchor.is_empty() || other.lines().any(|line| anchor_of(line) == anchor);
            assert!(found, "{name}: there is no {target}");
        }
    }
}

/// The anchor that a heading gets on the usual hosts of repositories.
fn anchor_of(line: &str) -> String {
    let heading = line.trim_start_matches('#');
    if heading == line {
        return String::new();
    }
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}
