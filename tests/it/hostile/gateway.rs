//! The gateway: another process that INSERTs, so that the daemon hears of rows as it does in life.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use super::{Place, insert};

/// What a merchant's JSON and its signature's text must carry unharmed, as SQL.
const SUBJECT: &str = r#"'ເສື້ອ 😀 & a=b \u0041 "7" </p> + %20'"#;

/// A `sqlite3` program that stays.
pub(super) struct Gateway {
    child: Child,
}

impl Gateway {
    pub(super) fn of(place: &Place) -> Self {
        let child = Command::new("sqlite3")
            .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
            .arg(place.path("queue.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sqlite3 is not there; install the package sqlite3");
        Self { child }
    }

    /// Queues a payment of app 6 for each URL and order, all in one transaction.
    pub(super) fn queue<'a>(&self, callbacks: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let rows = callbacks.into_iter();
        let more = [
            ("subject", SUBJECT),
            // The daemon's clock stands still.
            ("created_at", "1"),
            ("next_attempt_at", "1"),
        ];
        let rows: Vec<String> = rows.map(|(url, order)| insert(url, order, &more)).collect();
        let mut stdin = self.child.stdin.as_ref().expect("it is piped");
        writeln!(stdin, "BEGIN;\n{}\nCOMMIT;", rows.join("\n")).expect("sqlite3 reads");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = self.child.wait().expect("our child");
        if !std::thread::panicking() {
            assert!(ended.success(), "sqlite3 refused a row");
        }
    }
}
