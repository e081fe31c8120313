//! The program under test: which build of it, under which limits, and how it ends.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::world::World;
use super::{has_happened, until};

/// The build that ships; without it, the one that the tests were built with.
const SHIPPED: &str = "CRASH_PROGRAM";

/// The build with failpoints; without it, nothing is killed at one.
const WITH_FAILPOINTS: &str = "CRASH_PROGRAM_WITH_FAILPOINTS";

/// What the daemon says when signals are heard and the queue is open.
pub(super) const READY: &str = "dispatching";

/// How the program is started.
#[derive(Debug)]
pub(super) struct Program {
    binary: PathBuf,
    failpoint: Option<(&'static str, u64)>,
    /// For `prlimit`, such as `--nofile=64`.
    limit: Option<String>,
}

impl Default for Program {
    fn default() -> Self {
        let built = env!("CARGO_BIN_EXE_callback-dispatcher");
        Self {
            binary: std::env::var_os(SHIPPED).map_or_else(|| built.into(), PathBuf::from),
            failpoint: None,
            limit: None,
        }
    }
}

impl Program {
    /// Whether there is a build with failpoints.
    pub(super) fn has_failpoints() -> bool {
        std::env::var_os(WITH_FAILPOINTS).is_some()
    }

    /// Kills itself when it comes to the place called `name` for the `hits`th time.
    pub(super) fn dying_at(name: &'static str, hits: u64) -> Self {
        let binary = std::env::var_os(WITH_FAILPOINTS).expect("a build with failpoints");
        Self {
            binary: binary.into(),
            failpoint: Some((name, hits)),
            limit: None,
        }
    }

    /// Under a limit of `prlimit`.
    pub(super) fn limited(limit: impl Into<String>) -> Self {
        Self {
            limit: Some(limit.into()),
            ..Self::default()
        }
    }

    pub(super) fn command(&self, world: &World, subcommand: &str) -> Command {
        let mut command = match &self.limit {
            None => Command::new(&self.binary),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(limit).arg("--").arg(&self.binary);
                command
            }
        };
        command
            .arg(subcommand)
            .current_dir(world.folder())
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null());
        if let Some((name, hits)) = self.failpoint {
            command.env("CALLBACK_DISPATCHER_FAILPOINT", format!("{name}:{hits}"));
        }
        command
    }

    /// Starts the daemon.
    pub(super) fn start(&self, world: &World) -> Daemon {
        // Not in the world's folder, which may be full or read-only.
        let log = tempfile::NamedTempFile::new().expect("a file for its words");
        let stream = |file: &File| Stdio::from(file.try_clone().expect("another handle"));
        let child = self
            .command(world, "run")
            .stdout(stream(log.as_file()))
            .stderr(stream(log.as_file()))
            .spawn();
        Daemon {
            child: child.expect("the program starts"),
            log,
        }
    }
}

/// A running daemon; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Daemon {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub(super) fn said(&self) -> String {
        let mut said = String::new();
        let mut file = fs::File::open(self.log.path()).expect("our file");
        file.read_to_string(&mut said).expect("UTF-8");
        said
    }

    /// Returns when it has said `words`.
    pub(super) async fn says(&mut self, words: &str) {
        let said = has_happened(|| {
            let ended = self.ended();
            let said = self.said();
            let has_said_it = said.contains(words);
            assert!(has_said_it || ended.is_none(), "{ended:?}: {said}");
            has_said_it
        });
        assert!(
            said.await,
            "the program has not said {words:?}:\n{}",
            self.said()
        );
    }

    /// Sends a signal, for instance `TERM`.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill is there").success(), "kill -s {name}");
    }

    /// SIGSTOP; returns when none of its threads is in a system call any more.
    pub(super) async fn halts(&self) {
        self.signal("STOP");
        until("each thread stands still", || self.stands_still()).await;
    }

    /// Whether each thread is stopped by a signal: state `T` in proc_pid_stat(5).
    fn stands_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("our child");
        threads
            .map(|thread| thread.expect("our child").path())
            .all(|thread| {
                let stat = fs::read_to_string(thread.join("stat")).expect("our child");
                // The thread's name, in parentheses, may hold anything.
                let (_, behind_the_name) =
                    stat.rsplit_once(") ").expect("a line of proc_pid_stat(5)");
                behind_the_name.starts_with('T')
            })
    }

    /// `kill -9`, and gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// Waits for its end.
    pub(super) async fn ends(&mut self) -> ExitStatus {
        if has_happened(|| self.ended().is_some()).await {
            return self.ended().expect("that was waited for");
        }
        panic!("the program has not ended:\n{}", self.said());
    }

    /// SIGTERM, and its end.
    pub(super) async fn stops(&mut self) -> ExitStatus {
        self.says(READY).await;
        self.signal("TERM");
        self.ends().await
    }

    /// Waits until it has killed itself.
    pub(super) async fn dies(&mut self) {
        let status = self.ends().await;
        assert_eq!(status.signal(), Some(9), "{status:?}: {}", self.said());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails if the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
