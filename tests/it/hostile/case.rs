//! A row of a table: what a server does, and how the attempt must be recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::store::AttemptRow;
use rustls::ServerConfig;

use super::server::{Act, send};
use super::{CONNECT_LIMIT, MARGIN};
use crate::support::table::rows;

/// The row.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) acts: Vec<Act>,
    pub(super) ending: Ending,
}

/// What stands at the port, and how the callback's URL calls it.
pub(super) enum Target {
    /// http to a server without TLS.
    Plain,
    /// https to a server with TLS.
    Tls(Arc<ServerConfig>),
    /// https to a server whose acts are its handshake.
    Raw,
    /// http to a server with TLS.
    Mistaken(Arc<ServerConfig>),
    /// https to somebody else's server.
    Elsewhere(SocketAddr),
}

/// How the attempt must be recorded.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) outcome: &'static str,
    /// The other outcome that it may be, where two events race.
    pub(super) or: Option<&'static str>,
    pub(super) status: Option<i64>,
    /// What the detail says, among other things.
    pub(super) words: &'static str,
    /// The limit that the attempt waits for. Without one it must end well before.
    pub(super) limit: Option<Duration>,
}

impl Ending {
    pub(super) fn of(outcome: &'static str, words: &'static str) -> Self {
        Self {
            outcome,
            or: None,
            status: None,
            words,
            limit: None,
        }
    }

    /// An answer with status 200 came whole.
    pub(super) fn answered(outcome: &'static str, words: &'static str) -> Self {
        Self::of(outcome, words).status(200)
    }

    pub(super) fn acknowledged() -> Self {
        Self::answered("acknowledged", "")
    }

    pub(super) fn status(mut self, status: i64) -> Self {
        self.status = Some(status);
        self
    }

    pub(super) fn or(mut self, outcome: &'static str) -> Self {
        self.or = Some(outcome);
        self
    }

    /// Not before this limit has passed.
    pub(super) fn after(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// As a table has it: `ok`, or an outcome, the answer's status if one came, and after a colon words of the detail.
    pub(super) fn parse(text: &'static str) -> Self {
        if text == "ok" {
            return Self::acknowledged();
        }
        let (outcome, words) = text.split_once(": ").unwrap_or((text, ""));
        match outcome.split_once(' ') {
            Some((outcome, status)) => {
                Self::of(outcome, words).status(status.parse().expect("a status"))
            }
            None => Self::of(outcome, words),
        }
    }

    /// What is wrong with `attempt`.
    pub(super) fn faults(&self, attempt: &AttemptRow) -> Vec<&'static str> {
        let took = Duration::from_millis(u64::try_from(attempt.duration_ms).unwrap_or(u64::MAX));
        let in_time = match self.limit {
            // The column has whole milliseconds.
            Some(limit) => took + Duration::from_millis(1) >= limit && took < limit + MARGIN,
            None => took < CONNECT_LIMIT,
        };
        let expected = [Some(self.outcome), self.or];
        let is_expected = expected.contains(&Some(attempt.outcome.as_str()));
        let checks = [
            ("outcome", is_expected),
            ("status", attempt.http_status == self.status),
            ("words", attempt.detail.contains(self.words)),
            ("duration", in_time),
            ("counted", attempt.counted),
        ];
        let failed = checks.into_iter().filter(|(_, holds)| !holds);
        failed.map(|(what, _)| what).collect()
    }
}

/// A row over plain TCP.
pub(super) fn plain(name: &str, acts: impl Into<Vec<Act>>, ending: Ending) -> Case {
    Case {
        name: name.to_owned(),
        target: Target::Plain,
        acts: acts.into(),
        ending,
    }
}

/// A row for each line `name | what the server says to a request | ending` of a table. In the second
/// column `\r`, `\n` and `\0` stand for the characters, and `ACK` for the acknowledgement; `frame` makes the
/// whole answer of it.
pub(super) fn answers(table: &'static str, frame: impl Fn(&str) -> String) -> Vec<Case> {
    let case = |[name, said, ending]: [&'static str; 3]| {
        let answer = send(frame(&spelled_out(said)));
        plain(name, [Act::Request, answer], Ending::parse(ending))
    };
    rows(table).into_iter().map(case).collect()
}

/// See [`answers`].
pub(super) fn spelled_out(said: &str) -> String {
    let said = said
        .replace(r"\r", "\r")
        .replace(r"\n", "\n")
        .replace(r"\0", "\0");
    said.replace("ACK", "{\"transResult\":\"SUCCESS\"}")
}

/// The same rows again over TLS.
pub(super) fn and_over_tls(mut cases: Vec<Case>, config: &Arc<ServerConfig>) -> Vec<Case> {
    let again = cases.iter().map(|case| Case {
        name: format!("{}, over TLS", case.name),
        target: Target::Tls(Arc::clone(config)),
        acts: case.acts.clone(),
        ending: case.ending.clone(),
    });
    let again: Vec<Case> = again.collect();
    cases.extend(again);
    cases
}
