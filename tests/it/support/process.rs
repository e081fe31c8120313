//! The program as a process: its log is read while it runs, and it does not outlive its test. No
//! output may have a secret in it: each is looked through.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::NamedTempFile;

use super::waiting::{PATIENCE, holds_within};
use crate::secrets;

/// The build that the tests were built with.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_callback-dispatcher");

/// The program in `folder`, free of what a service manager may have told this process.
pub(crate) fn command(program: impl AsRef<Path>, folder: &Path, arguments: &[&str]) -> Command {
    unmanaged(Command::new(program.as_ref()), folder, arguments)
}

/// The same for a program that starts ours.
pub(crate) fn unmanaged(mut command: Command, folder: &Path, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdin(Stdio::null());
    command
}

/// What a command that has ended printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Runs a command that reads `input`.
    pub(crate) fn by(mut command: Command, input: &str) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that refuses early does not read it all.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        secrets::assert_none_in("standard output", &output.stdout);
        secrets::assert_none_in("standard error", &output.stderr);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// It succeeded; returns what it printed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done()).expect("JSON")
    }

    /// It failed with `code`, nothing on standard output, and `words` on standard error.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_has(&self.err, words);
    }
}

/// `text` has all of these words in it.
#[track_caller]
pub(crate) fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?}: {text}");
    }
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Not in the program's own folder, which may be full or read-only.
    log: NamedTempFile,
    patience: Duration,
}

impl Process {
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_patiently(command, PATIENCE)
    }

    /// The same with another deadline for what is waited for.
    pub(crate) fn spawn_patiently(mut command: Command, patience: Duration) -> Self {
        let log = NamedTempFile::new().expect("a file for its log");
        let stream = || Stdio::from(log.as_file().try_clone().expect("another handle"));
        let child = command.stdout(stream()).stderr(stream()).spawn();
        Self {
            child: child.expect("the program starts"),
            log,
            patience,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far, on both streams.
    pub(crate) fn said(&self) -> String {
        let said = fs::read(self.log.path()).expect("our file");
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// Waits for a line with `words` in it.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let mut found = None;
        let said = holds_within(self.patience, async || {
            let ended = self.ended();
            let said = self.said();
            // The last line may be half written.
            let mut lines = said
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            found = lines
                .find(|line| line.contains(words))
                .map(|line| line.trim_end().to_owned());
            assert!(found.is_some() || ended.is_none(), "{ended:?}: {said}");
            found.is_some()
        });
        said.await;
        found.unwrap_or_else(|| panic!("the program has not said {words:?}:\n{}", self.said()))
    }

    /// Returns once it dispatches.
    pub(crate) async fn ready(mut self) -> Self {
        self.says("dispatching").await;
        self
    }

    /// Sends a signal, for instance `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill is there").success(), "kill -s {name}");
    }

    /// `kill -9`, and gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    /// Waits for its end.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = holds_within(self.patience, async || {
            status = self.ended();
            status.is_some()
        });
        ended.await;
        status.unwrap_or_else(|| panic!("the program has not ended:\n{}", self.said()))
    }

    /// SIGTERM, and exit code 0; returns all it printed.
    pub(crate) async fn stops(mut self) -> String {
        self.signal("TERM");
        let status = self.ends().await;
        let said = self.said();
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails if the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            secrets::assert_none_in("the program's log", self.said().as_bytes());
        }
    }
}
