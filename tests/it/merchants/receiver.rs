//! A receiver that runs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use callback_dispatcher::delivery::egress::Policy;
use callback_dispatcher::delivery::transport::{Post as _, Transport, TransportSettings};
use callback_dispatcher::domain::{Exchange, Outcome, judge};
use serde_json::Value;
use tempfile::TempDir;

use super::message::SECRET;
use crate::support::program::Program;

/// A language, and how its receiver is started and looked into.
#[derive(Debug)]
pub(super) struct Language {
    program: &'static str,
    /// Before the file.
    arguments: &'static [&'static str],
    file: &'static str,
    /// What to install if the program is not there.
    package: &'static str,
    /// How many processes may share the results.
    processes: usize,
    /// Whether its standard library knows RSA.
    pub(super) knows_rsa: bool,
    /// Whether the results are in SQLite; else they are lines of JSON.
    in_sqlite: bool,
}

impl Language {
    pub(super) const PYTHON: Self = Self {
        program: "python3",
        arguments: &["-B"],
        file: "python/receiver.py",
        package: "python3",
        processes: 2,
        knows_rsa: false,
        in_sqlite: true,
    };
    pub(super) const PHP: Self = Self {
        program: "php",
        arguments: &["-S", "127.0.0.1:0"],
        file: "php/receiver.php",
        package: "php-cli",
        processes: 3,
        knows_rsa: true,
        in_sqlite: false,
    };
    pub(super) const NODE: Self = Self {
        program: "node",
        arguments: &[],
        file: "node/receiver.js",
        package: "nodejs",
        processes: 1,
        knows_rsa: true,
        in_sqlite: false,
    };
    pub(super) const JAVA: Self = Self {
        program: "java",
        // It lives for a moment only.
        arguments: &["-XX:TieredStopAtLevel=1"],
        file: "java/Receiver.java",
        package: "default-jdk-headless",
        processes: 1,
        knows_rsa: true,
        in_sqlite: false,
    };
}

/// A folder with the secrets and the results, which outlive the processes.
pub(super) struct Shop {
    language: &'static Language,
    folder: TempDir,
    /// How a receiver is to check signs, and how old a message may be.
    settings: Vec<(&'static str, String)>,
}

impl Shop {
    /// It has the secret of app 6, and a newer one.
    pub(super) fn new(language: &'static Language) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let secrets = folder.path().join("secrets");
        fs::write(&secrets, format!("a-newer-secret\n{SECRET}\n")).expect("room for it");
        let secrets = secrets.to_str().expect("a plain path").to_owned();
        Self {
            language,
            folder,
            settings: vec![("NEWPAY_SECRETS_FILE", secrets)],
        }
    }

    /// It has the platform's public key and no secret.
    pub(super) fn with_public_key(language: &'static Language, pem: &Path) -> Self {
        let pem = pem.to_str().expect("a plain path").to_owned();
        Self {
            settings: vec![("NEWPAY_PUBLIC_KEY_FILE", pem)],
            ..Self::new(language)
        }
    }

    /// Messages may be of any age.
    pub(super) fn of_any_age(language: &'static Language) -> Self {
        let mut shop = Self::new(language);
        let forever = u32::MAX.to_string();
        shop.settings.push(("MAX_AGE_SECONDS", forever));
        shop
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    /// As many processes as may share the results.
    pub(super) fn open(&self) -> Receiver {
        let processes = (0..self.language.processes).map(|_| self.start()).collect();
        let policy = Policy {
            allow_http: true,
            allow_networks: vec!["127.0.0.1/32".parse().expect("a network")],
            ..Policy::default()
        };
        let transport = Transport::new(TransportSettings {
            policy,
            ..TransportSettings::default()
        });
        Receiver {
            processes,
            transport: transport.expect("a transport"),
        }
    }

    /// It must end by itself, and say why.
    pub(super) fn assert_does_not_start(&self, why: &str) {
        let (mut program, said) = Program::start(self.command(), self.language.package);
        // The channel ends with what the process writes to.
        let said: Vec<String> = said.iter().collect();
        assert!(said.iter().any(|line| line.contains(why)), "{said:?}");
        assert!(!program.wait().success(), "{said:?}");
    }

    fn start(&self) -> Process {
        let (program, port, said) = Program::overheard(self.command(), self.language.package);
        Process {
            program,
            port,
            said,
        }
    }

    fn command(&self) -> Command {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/merchants");
        let mut command = Command::new(self.language.program);
        command
            .args(self.language.arguments)
            .arg(examples.join(self.language.file))
            .current_dir(self.folder.path())
            .env("NEWPAY_APP_ID", "6")
            .env("PORT", "0")
            .env("RESULTS", self.results())
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What is recorded: kind, number, result, amount and currency of each, in order.
    pub(super) fn recorded(&self) -> Vec<String> {
        let mut recorded = if self.language.in_sqlite {
            self.rows()
        } else {
            self.lines()
        };
        recorded.sort();
        recorded
    }

    fn rows(&self) -> Vec<String> {
        let sql = "SELECT kind || ' ' || number || ' ' || result || ' ' || amount || ' ' || currency \
                   FROM result";
        let output = Command::new("sqlite3")
            .arg("-batch")
            .arg(self.results())
            .arg(sql)
            .output()
            .expect("sqlite3 is not there; install the package sqlite3");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    fn lines(&self) -> Vec<String> {
        // Without a result there need not be a file.
        let text = fs::read_to_string(self.results()).unwrap_or_default();
        let line = |line: &str| {
            let result: Value = serde_json::from_str(line).expect("a line is JSON");
            let members = ["kind", "number", "result", "amount", "currency"];
            members
                .map(|name| result[name].as_str().expect("text").to_owned())
                .join(" ")
        };
        text.lines().map(line).collect()
    }

    /// A crash has left half a line; SQLite has a journal of its own for that.
    pub(super) fn cut_off_a_line(&self) {
        if !self.language.in_sqlite {
            let file = OpenOptions::new().append(true).open(self.results());
            let mut file = file.expect("there are results");
            file.write_all(br#"{"kind":"payment","number":"N"#)
                .expect("room for it");
        }
    }
}

/// A receiver under way; its processes end when this is dropped.
pub(super) struct Receiver {
    processes: Vec<Process>,
    transport: Transport,
}

struct Process {
    program: Program,
    port: u16,
    said: mpsc::Receiver<String>,
}

impl Receiver {
    /// Where the process that serves the `n`th request listens.
    pub(super) fn url(&self, n: usize) -> String {
        let process = &self.processes[n % self.processes.len()];
        format!("http://127.0.0.1:{}/newpay/callback", process.port)
    }

    /// POSTs as the dispatcher does; how it judges the answer.
    pub(super) async fn take(&self, body: &[u8]) -> Outcome {
        self.take_by(0, body).await
    }

    pub(super) async fn take_by(&self, n: usize, body: &[u8]) -> Outcome {
        let report = self.transport.post(&self.url(n), body.to_vec()).await;
        judge(&report.exchange).outcome
    }

    /// The status of the answer to a body that must not be acknowledged.
    pub(super) async fn refuse(&self, body: &[u8]) -> Result<u16, String> {
        let report = self.transport.post(&self.url(0), body.to_vec()).await;
        match (judge(&report.exchange).outcome, report.exchange) {
            (Outcome::HttpStatus, Exchange::Answered { status, .. }) => Ok(status),
            (outcome, exchange) => Err(format!("{outcome}: {exchange:?}")),
        }
    }

    /// Ends it with SIGKILL. It must not have said a secret.
    pub(super) fn kill(self) {
        for Process { program, said, .. } in self.processes {
            drop(program);
            for line in said.try_iter() {
                assert!(!line.contains(SECRET), "a secret in {line:?}");
                assert!(!line.contains("PHP Warning"), "{line}");
            }
        }
    }
}
