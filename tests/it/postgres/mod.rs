//! A PostgreSQL server of the tests' own: its data, its port and its sockets are nobody else's.
//!
//! As root it runs as the user `postgres`, which Debian's package makes: the server refuses root. A
//! shell between the server and this process ends it when this process ends, however that happens,
//! and takes its folder away.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callback_dispatcher::clock::Stopwatch;
use tempfile::TempDir;

/// Ends the server with the signal that it reads. When there is nothing to read any more, the process
/// that has started it is gone.
const KEEPER: &str = r#"
"$@" </dev/null & server=$!
read -r signal || gone=yes
kill -"${signal:-QUIT}" "$server"
wait "$server"
[ -z "$gone" ] || rm -rf "$0"
"#;

/// How long the server may take to do what takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether it is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A server.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Child>>,
    databases: AtomicUsize,
}

/// A database of it.
pub(crate) struct Database {
    name: String,
    port: u16,
}

impl Server {
    /// The one that the tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::own)
    }

    /// One for whoever wants to stop it.
    pub(crate) fn own() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        hand_over(folder.path());
        copy_cluster(&folder.path().join("data"));
        // Free at this moment. Others are given other ports for a while.
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        drop(listener);
        let server = Self {
            folder,
            port,
            process: Mutex::new(None),
            databases: AtomicUsize::new(0),
        };
        server.start();
        server
    }

    /// A new, empty database.
    pub(crate) fn create_database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("queue_{number}");
        let database = Database {
            name: "postgres".to_owned(),
            port: self.port,
        };
        database.sql(&format!("CREATE DATABASE {name}"));
        Database {
            name,
            port: self.port,
        }
    }

    /// Starts it again after [`Server::stop`].
    pub(crate) fn start(&self) {
        let server = as_server("postgres");
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER])
            .arg(self.folder.path())
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=200"])
            // A crash of the server's machine is not among what is tested here.
            .args(["-c", "fsync=off"])
            .stdin(Stdio::piped())
            .stdout(self.log())
            .stderr(self.log())
            // Ctrl-C at a terminal is for this process.
            .process_group(0);
        let child = command.spawn().expect("the server starts");
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let since = Stopwatch::start();
        while !self.is_ready() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                since.elapsed() < PATIENCE,
                "no PostgreSQL after {PATIENCE:?}:\n{log}"
            );
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Stops it as an administrator does who can't wait: clients are cut off, nothing is lost.
    pub(crate) fn stop(&self) {
        self.end("INT");
    }

    /// Both, one after the other.
    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    fn end(&self, signal: &str) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = process.take() {
            let mut keeper = child.stdin.take().expect("it is piped");
            let told = writeln!(keeper, "{signal}");
            told.expect("the server is told to end");
            child.wait().expect("the server ends");
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(program("pg_isready"));
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.status().is_ok_and(|status| status.success())
    }

    fn log(&self) -> File {
        let path = self.folder.path().join("log");
        let opened = File::options().create(true).append(true).open(path);
        opened.expect("a file for the server's log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("QUIT");
    }
}

impl Database {
    /// As `store.url` takes it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The same once more. Whoever is connected to this one is cut off.
    pub(crate) fn copy(&self) -> Self {
        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}_copy_{number}", self.name);
        let administrator = Self {
            name: "postgres".to_owned(),
            port: self.port,
        };
        administrator.sql(&format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{0}';
             CREATE DATABASE {name} TEMPLATE {0};",
            self.name
        ));
        Self {
            name,
            port: self.port,
        }
    }

    /// Runs `sql` through `psql`, each statement by itself; returns what it printed: a line for each
    /// row, columns apart by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql)
            .unwrap_or_else(|complaint| panic!("{sql}: {complaint}"))
    }

    /// A session that runs what it reads.
    pub(crate) fn psql(&self) -> Command {
        let mut command = Command::new(program("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url())
            .env("PGCONNECT_TIMEOUT", "10")
            .stdin(Stdio::piped());
        command
    }

    /// The same, or the complaint.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        let mut command = self.psql();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that can't connect does not read it.
        let _ = stdin.write_all(sql.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("psql ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }
}

/// A program of the server's package, which puts most of them past the PATH.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.exists());
        found.unwrap_or_else(|| panic!("{name} is missing; install the package postgresql"))
    })
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}

/// A program run as the server's user, which ends with its parent.
fn as_server(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program(name));
    command
}

fn hand_over(path: &Path) {
    if is_root() {
        let mut command = Command::new("chown");
        let status = command
            .arg("-R")
            .arg("postgres:postgres")
            .arg(path)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "chown {}",
            path.display()
        );
    }
}

/// A cluster is made once in the target folder, which takes a second, and copied from there.
fn copy_cluster(to: &Path) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).expect("a folder for the template");
    let lock = File::create(folder.join("postgres.lock")).expect("a lock");
    lock.lock().expect("the lock");
    let template = folder.join("postgres-template");
    if !template.join("complete").exists() {
        // What a test that was killed has left.
        let _ = fs::remove_dir_all(&template);
        let made = TempDir::new().expect("a temporary folder");
        hand_over(made.path());
        let output = as_server("initdb")
            .arg("-D")
            .arg(made.path().join("data"))
            .args([
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()
            .expect("initdb runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {complaint}");
        copy(&made.path().join("data"), &template);
        File::create(template.join("complete")).expect("a mark");
    }
    copy(&template, to);
    hand_over(to);
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cp {}",
        from.display()
    );
}

#[test]
fn a_server_serves_stops_and_goes_on() {
    let server = Server::own();
    let database = server.create_database();
    database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (7)");
    server.restart();
    assert_eq!(database.sql("SELECT a FROM t"), "7");
    server.stop();
    assert!(database.try_sql("SELECT 1").is_err());
}
