//! Other people's servers, started by a test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a server may take to begin; Java compiles it first.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs; it ends when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// Connections that it has told of.
    connections: Arc<AtomicUsize>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts it; `package` is what to install if it is not there. What it says comes out of the
    /// channel.
    pub(crate) fn start(mut command: Command, package: &str) -> (Self, mpsc::Receiver<String>) {
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let name = command.get_program().display().to_string();
        let mut child = spawned
            .unwrap_or_else(|error| panic!("{name}: {error}; install the package {package}"));
        let connections: Arc<AtomicUsize> = Arc::default();
        let (say, said) = mpsc::channel();
        let output = child.stdout.take().expect("it is piped");
        let complaints = child.stderr.take().expect("it is piped");
        let readers = vec![
            read(output, Arc::clone(&connections), say.clone()),
            read(complaints, Arc::clone(&connections), say),
        ];
        let program = Self {
            child,
            connections,
            readers,
        };
        (program, said)
    }

    /// Starts one that says where it listens.
    pub(crate) fn listening(command: Command, package: &str) -> (Self, u16) {
        let (program, port, _) = Self::overheard(command, package);
        (program, port)
    }

    /// The same, with what it says after that.
    pub(crate) fn overheard(
        command: Command,
        package: &str,
    ) -> (Self, u16, mpsc::Receiver<String>) {
        let (program, said) = Self::start(command, package);
        let mut before = Vec::new();
        let port = loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                panic!("it does not say where it listens, but {before:?}");
            };
            match port_in(&line) {
                Some(port) => break port,
                None => before.push(line),
            }
        };
        (program, port, said)
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Ends with the stream.
fn read(
    stream: impl Read + Send + 'static,
    connections: Arc<AtomicUsize>,
    say: mpsc::Sender<String>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // PHP says "Accepted" of each, the others are ours.
            if line == "connection" || line.ends_with(" Accepted") {
                connections.fetch_add(1, Ordering::SeqCst);
            }
            // Nobody listens after the first words.
            let _ = say.send(line);
        }
    })
}

/// The port in `listening on PORT`, or in what PHP says instead.
fn port_in(line: &str) -> Option<u16> {
    let rest = match line.split_once("listening on ") {
        Some((_, rest)) => rest,
        None => line.split_once("(http://127.0.0.1:")?.1,
    };
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
