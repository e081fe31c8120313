//! PostgreSQL for the tests: a server of their own, made and ended by the test's process.
//!
//! [`Server::shared`] serves the tests that only want a database, [`Server::own`] those that stop
//! it. Nothing of it is left when the process has ended, however it did; and nothing but the
//! programs of the Debian packages `postgresql` and `postgresql-client` is needed.

mod programs;
mod server;
mod template;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use server::Server;

/// Between the values of a row, and between rows: no text of a test has them.
const BETWEEN_VALUES: &str = "\u{1f}";
const BETWEEN_ROWS: &str = "\u{1e}";

/// A database of a [`Server`], which goes away with it.
#[derive(Debug)]
pub(crate) struct Database {
    port: u16,
    name: String,
}

impl Database {
    fn new(port: u16, name: String) -> Self {
        Self { port, name }
    }

    /// As the superuser `postgres`.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// As another role, which needs no password.
    pub(crate) fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The same through a proxy at `port`.
    pub(crate) fn url_by(&self, port: u16) -> String {
        Self::new(port, self.name.clone()).url()
    }

    /// What a script prints, and what it complains of; it goes on after a fault. `options` are of
    /// `psql`.
    pub(crate) fn script(&self, options: &[&str], script: &str) -> (String, String) {
        self.script_as("postgres", options, script)
    }

    /// What a script complains of; it goes on after a fault.
    pub(crate) fn complaints(&self, script: &str) -> String {
        self.script(&[], script).1
    }

    /// The same as [`script`](Self::script) for another role.
    pub(crate) fn script_as(&self, role: &str, options: &[&str], script: &str) -> (String, String) {
        let said = self.run(role, options, script);
        (said.printed, said.complaints)
    }

    /// The same once more. Whoever is connected to this one is cut off.
    pub(crate) fn copy(&self) -> Self {
        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}_copy_{number}", self.name);
        let administrator = Self::new(self.port, "postgres".to_owned());
        administrator.sql(&format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{0}';
             CREATE DATABASE {name} TEMPLATE {0};",
            self.name
        ));
        Self::new(self.port, name)
    }

    /// All of it as SQL, by `pg_dump`.
    pub(crate) fn dump(&self) -> String {
        let mut command = programs::command("pg_dump", "postgresql-client");
        command.arg(self.url());
        let said = feed(command, "");
        assert!(said.succeeded, "{}", said.complaints);
        said.printed
    }

    /// A session that runs what it reads.
    pub(crate) fn session(&self) -> Command {
        let mut command = programs::command("psql", "postgresql-client");
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url())
            .stdin(Stdio::piped());
        command
    }

    fn run(&self, role: &str, options: &[&str], script: &str) -> Said {
        let mut command = programs::command("psql", "postgresql-client");
        command
            .args(["-X", "-q", "-A", "-t", "-f", "-"])
            .args(options)
            .arg(self.url_as(role));
        feed(command, script)
    }

    /// The rows of the one query that `sql` has, or the first complaint; NULL reads as nothing.
    pub(crate) fn psql(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        self.psql_as("postgres", sql)
    }

    /// The same for another role.
    pub(crate) fn psql_as(&self, role: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let options = [
            "-v",
            "ON_ERROR_STOP=1",
            "-F",
            BETWEEN_VALUES,
            "-R",
            BETWEEN_ROWS,
        ];
        let said = self.run(role, &options, sql);
        if !said.succeeded {
            return Err(said.complaints);
        }
        let printed = said.printed.strip_suffix('\n').unwrap_or(&said.printed);
        if printed.is_empty() {
            return Ok(Vec::new());
        }
        let values = |row: &str| row.split(BETWEEN_VALUES).map(str::to_owned).collect();
        Ok(printed.split(BETWEEN_ROWS).map(values).collect())
    }

    /// Runs `sql`; returns what was printed: a line for each row, columns apart by `|`.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql)
            .unwrap_or_else(|complaint| panic!("{sql}: {complaint}"))
    }

    /// The same, or the complaint.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        let said = self.run("postgres", &["-v", "ON_ERROR_STOP=1"], sql);
        match said.succeeded {
            true => Ok(said.printed.trim().to_owned()),
            false => Err(said.complaints),
        }
    }

    /// The one value that `sql` gives.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.psql(sql).unwrap_or_else(|error| panic!("{error}"));
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }
}

/// What a program has said.
pub(crate) struct Said {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
    pub(crate) complaints: String,
}

/// Gives `input` to a program.
pub(crate) fn feed(mut command: Command, input: &str) -> Said {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("scripts/check installs it");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // Apart from the reading below, so that neither side waits for the other's pipe. A program that
    // can't connect reads nothing.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer does not panic");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said {
        succeeded: output.status.success(),
        printed: text(output.stdout),
        complaints: text(output.stderr),
    }
}

#[test]
fn a_database_answers_and_complains() {
    let database = Server::shared().create_database();
    let rows = database.psql("SELECT 1, 'a' || chr(10) || 'b' UNION ALL SELECT 2, NULL ORDER BY 1");
    let expected = [["1", "a\nb"], ["2", ""]].map(|row| row.map(str::to_owned).to_vec());
    assert_eq!(rows, Ok(expected.to_vec()));
    let complaint = database.psql("SELECT 1 / 0").expect_err("infinity");
    assert!(complaint.contains("division by zero"), "{complaint}");
    assert_ne!(
        Server::shared().create_database().url(),
        database.url(),
        "each has its own"
    );
}

#[test]
fn a_server_stops_and_starts_with_what_it_had() {
    let server = Server::own();
    let database = server.create_database();
    let made = database.psql("CREATE TABLE t AS SELECT 7 AS n");
    assert_eq!(made, Ok(vec![]));
    server.restart();
    assert_eq!(database.value("SELECT n FROM t"), "7");
    let inserted = database.psql("INSERT INTO t VALUES (8)");
    assert_eq!(inserted, Ok(vec![]));
    server.crash();
    let complaint = database.psql("SELECT n FROM t").expect_err("stopped");
    assert!(complaint.contains("onnection"), "{complaint}");
    server.start();
    assert_eq!(database.value("SELECT sum(n) FROM t"), "15");
}

#[test]
fn nothing_is_left_of_a_server() {
    let server = Server::own();
    let (folder, database) = (server.folder().to_owned(), server.create_database());
    assert!(folder.join("data/postmaster.pid").exists());
    drop(server);
    assert!(!folder.exists(), "{}", folder.display());
    assert!(database.psql("SELECT 1").is_err());
}
