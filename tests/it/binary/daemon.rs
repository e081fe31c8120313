//! A process that stays: its log is read while it runs, and it does not outlive its test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{assert_silent_on_secrets, until};

/// A running program. It is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Both its streams must be piped.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let said = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            read(child.stdout.take().expect("it is piped"), said.clone()),
            read(child.stderr.take().expect("it is piped"), said.clone()),
        ];
        Self {
            child,
            said,
            readers,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far, on both streams.
    pub(super) fn said(&self) -> String {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the first line with `words` in it.
    pub(super) async fn says(&mut self, words: &str) -> String {
        until(&format!("the program says {words:?}"), || {
            let said = self.said();
            let ended = self.child.try_wait().expect("our child");
            let line = said.lines().find(|line| line.contains(words));
            assert!(line.is_some() || ended.is_none(), "{ended:?}: {said}");
            line.map(str::to_owned)
        })
        .await
    }

    /// Returns once it dispatches.
    pub(crate) async fn ready(mut self) -> Self {
        self.says("dispatching").await;
        self
    }

    /// Sends a signal, for instance `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success(), "kill -s {name}");
    }

    /// `kill -9`, and gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    /// Waits for its end; returns what it printed.
    pub(super) async fn ends(mut self) -> (ExitStatus, String) {
        let status = until("the program ends", || {
            self.child.try_wait().expect("our child")
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        let said = self.said();
        assert_silent_on_secrets(&said);
        (status, said)
    }

    /// SIGTERM, and exit code 0.
    pub(crate) async fn stops(self) -> String {
        self.signal("TERM");
        let (status, said) = self.ends().await;
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails if the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            assert_silent_on_secrets(&self.said());
        }
    }
}

/// Ends with the stream.
fn read(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let line = line.expect("UTF-8");
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&line);
            said.push('\n');
        }
    })
}
