//! One server: its folder, its port, and who sees to its end.
//!
//! A shell stands between us and the server and reads a pipe that only we write to. When that is
//! closed, which it is however this process ends, the shell ends the server and removes its
//! folder. It is in a process group of its own, so that nobody ends it along with the test.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use super::{Database, programs, template};

/// How long a server may take to come up or go down.
const PATIENCE: Duration = Duration::from_secs(20);

/// `sh -c KEEPER sh FOLDER POSTGRES...`: the line that it reads is a signal to end the server with.
const KEEPER: &str = r#"
folder=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
(
  if read -r signal <&3; then
    kill -s "$signal" "$server"
  else
    kill -s QUIT "$server"
    while kill -0 "$server"; do sleep 0.02; done
    rm -rf -- "$folder"
  fi
) >/dev/null 2>&1 &
exec 3<&-
wait "$server"
"#;

/// A server that runs, unless it was stopped.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    settings: Vec<&'static str>,
    running: Mutex<Option<Running>>,
    databases: AtomicUsize,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    /// What the server says; it ends when the last of its processes has.
    said: mpsc::Receiver<String>,
}

impl Server {
    /// The one of this process, for whoever only wants a database.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::own)
    }

    /// One that the test may stop; it ends when this is dropped.
    pub(crate) fn own() -> Self {
        // A crash of the machine is not among what is tested.
        Self::with(&["fsync=off", "full_page_writes=off", "shared_buffers=32MB"])
    }

    /// One with `settings` of its own.
    pub(crate) fn with(settings: &[&'static str]) -> Self {
        // Removed by the keeper, which outlives us.
        let folder = template::folder("postgres-").keep();
        template::copy_to(&folder);
        // Another process may take a port between our looking and the server's.
        for _ in 0..5 {
            let port = free_port();
            if let Some(running) = Running::start(&folder, port, settings) {
                return Self {
                    folder,
                    port,
                    settings: settings.to_vec(),
                    running: Mutex::new(Some(running)),
                    databases: AtomicUsize::new(0),
                };
            }
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("no PostgreSQL after five tries:\n{log}");
    }

    /// An empty database in UTF8.
    pub(crate) fn create_database(&self) -> Database {
        self.create_database_with("")
    }

    /// The same with `options` of CREATE DATABASE.
    pub(crate) fn create_database_with(&self, options: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        let database = Database::new(self.port, format!("test_{number}"));
        let first = Database::new(self.port, "postgres".to_owned());
        let created = first.psql(&format!("CREATE DATABASE test_{number} {options}"));
        created.unwrap_or_else(|error| panic!("no database: {error}"));
        database
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Has its log (`log`), its data and its socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// As an operator does: connections are ended, nothing is lost.
    pub(crate) fn stop(&self) {
        self.end("INT");
    }

    /// As a crash does: what was committed is recovered at the next start.
    pub(crate) fn crash(&self) {
        self.end("QUIT");
    }

    /// At the same port.
    pub(crate) fn start(&self) {
        let mut running = self.running.lock().expect("no test panics with it");
        assert!(running.is_none(), "it runs already");
        let started = Running::start(&self.folder, self.port, &self.settings);
        *running = Some(started.unwrap_or_else(|| {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            panic!("PostgreSQL does not start again:\n{log}")
        }));
    }

    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    fn end(&self, signal: &str) {
        let running = self.running.lock().expect("no test panics with it").take();
        running.expect("it runs").end(signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = self.running.get_mut().ok().and_then(Option::take);
        if let Some(mut running) = running {
            drop(running.keeper.stdin.take());
            let _ = running.keeper.wait();
        }
        // The keeper does so too, but nobody waits for that.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// Returns once it takes connections; `None` if it ends before.
    fn start(folder: &Path, port: u16, settings: &[&str]) -> Option<Self> {
        let postgres = programs::server_command("postgres");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(folder);
        command
            .arg(postgres.get_program())
            .args(postgres.get_args());
        for (name, _) in postgres.get_envs() {
            command.env_remove(name);
        }
        command.arg("-D").arg(folder.join("data"));
        let socket = format!("unix_socket_directories={}", folder.display());
        let port = format!("port={port}");
        for setting in [
            socket.as_str(),
            port.as_str(),
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            "lc_messages=C",
            "log_destination=stderr",
            "logging_collector=off",
        ]
        .iter()
        .chain(settings)
        {
            command.arg("-c").arg(setting);
        }
        let spawned = command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut keeper = spawned.unwrap_or_else(|error| panic!("sh: {error}"));
        let complaints = keeper.stderr.take().expect("it is piped");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .expect("the folder is writable");
        let said = follow(complaints, log);
        loop {
            match said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("ready to accept connections") => {
                    return Some(Self { keeper, said });
                }
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    // Told a word, so that the keeper leaves the folder for another try.
                    Self { keeper, said }.end("QUIT");
                    return None;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                    panic!("PostgreSQL is not up after {PATIENCE:?}:\n{log}");
                }
            }
        }
    }

    fn end(mut self, signal: &str) {
        let mut stdin = self.keeper.stdin.take().expect("it is piped");
        // The keeper of a server that could not start may be gone.
        let _ = writeln!(stdin, "{signal}");
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("PostgreSQL is not down after {PATIENCE:?}")
                }
            }
        }
        self.keeper.wait().expect("our child");
    }
}

/// Into the log, and line by line to whoever waits.
fn follow(stream: impl Read + Send + 'static, mut log: File) -> mpsc::Receiver<String> {
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            let _ = say.send(line);
        }
    });
    said
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
