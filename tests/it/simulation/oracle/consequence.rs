//! What an attempt must have become in the log, and what follows for its callback: the contract's
//! table of outcomes, said once more.

use super::{Callback, LOCAL_FAULT_WAIT, Lease, Oracle, State};
use crate::simulation::operation::Reply;
use crate::simulation::posts::Fate;
use crate::simulation::records::Logged;
use crate::simulation::terms::millis;

/// What follows an attempt.
pub(super) struct Consequence {
    pub(super) state: State,
    pub(super) counts: bool,
    pub(super) due: Vec<i64>,
}

impl Oracle {
    pub(super) fn after_post(
        &self,
        callback: &Callback,
        number: usize,
        entry: &Logged,
    ) -> Result<Consequence, String> {
        let post = &self.posts[number];
        let Fate::Ended { reply, at } = post.fate else {
            return Err(format!(
                "its POST is {:?} and in the log: {entry:?}",
                post.fate
            ));
        };
        let generation = &self.generations[post.generation];
        let (outcome, status, counts) = meaning(reply, generation.shield);
        let excused = counts && !entry.counted;
        let counts = counts && !excused;
        if excused {
            self.check_excuse(number, &entry.detail)?;
        }
        if (entry.outcome.as_str(), entry.counted) != (outcome, counts) {
            return Err(format!("{reply:?} was recorded as {entry:?}"));
        }
        let sent = match reply {
            Reply::Panic | Reply::Blocked => None,
            _ => Some(post),
        };
        let same = entry.http_status == status
            && entry.started_at == post.at
            && entry.sent_timestamp == sent.map(|post| post.at)
            && entry.sign.as_deref() == sent.map(|post| post.sign.as_str())
            && entry.key_id.as_deref() == sent.map(|post| post.key_id.as_str())
            && entry.body_sha256.as_deref() == sent.map(|post| post.body_sha256.as_str());
        if !same {
            return Err(format!("the log has {entry:?}\nof {post:?}"));
        }
        let due = |wait| vec![entry.started_at + wait];
        let (state, due) = match (outcome, counts) {
            ("acknowledged", _) => (State::Delivered, Vec::new()),
            ("interrupted", _) => (
                State::Pending,
                due(generation.current_wait(callback.counted)),
            ),
            (_, false) => (State::Pending, vec![at + LOCAL_FAULT_WAIT]),
            (_, true) => match generation.waits.get(callback.counted) {
                Some(wait) => (State::Pending, due(millis(*wait))),
                None => (State::Exhausted, Vec::new()),
            },
        };
        Ok(Consequence { state, counts, due })
    }

    /// An attempt that nothing was sent for: right if there was no key, or the row can't be read.
    pub(super) fn unsent(
        &self,
        callback: &Callback,
        lease: &Lease,
        entry: &Logged,
    ) -> Result<Consequence, String> {
        if (entry.outcome.as_str(), entry.counted) != ("unsignable", false) {
            return Err(format!("nothing was sent, and the log has {entry:?}"));
        }
        if entry.sent_timestamp.is_some() || entry.sign.is_some() {
            return Err(format!(
                "nothing was sent, and the log says it was: {entry:?}"
            ));
        }
        let app = callback.order.app;
        let possible = self.generations[lease.generation..]
            .iter()
            .filter(|generation| {
                !callback.readable || generation.key(app, entry.started_at).is_none()
            });
        let due: Vec<i64> = possible
            .map(|generation| entry.started_at + generation.current_wait(callback.counted))
            .collect();
        if due.is_empty() {
            return Err(format!("app {app} has a key, and the log has {entry:?}"));
        }
        Ok(Consequence {
            state: State::Pending,
            counts: false,
            due,
        })
    }
}

pub(super) fn interrupted(lease: &Lease, entry: &Logged, now: i64) -> Result<Consequence, String> {
    let right = entry.outcome == "interrupted"
        && !entry.counted
        && entry.started_at == lease.claimed_at
        && entry.sent_timestamp.is_none();
    if !right {
        return Err(format!("a start has written {entry:?}"));
    }
    Ok(Consequence {
        state: State::Pending,
        counts: false,
        due: vec![now],
    })
}

/// The contract's table: outcome, HTTP status in the log, whether it counts.
fn meaning(reply: Reply, shield: bool) -> (&'static str, Option<i64>, bool) {
    match reply {
        Reply::Acknowledge => ("acknowledged", Some(200), true),
        Reply::Refuse => ("refused", Some(200), true),
        Reply::Html | Reply::Oversized => ("unreadable", Some(200), true),
        Reply::Status(status) => ("http_status", Some(i64::from(status)), true),
        Reply::Hang => ("timeout", None, true),
        Reply::Dns => ("dns", None, true),
        Reply::DnsSilence | Reply::ConnectSilence => ("timeout", None, true),
        Reply::Connect => ("connect", None, true),
        Reply::Tls => ("tls", None, true),
        Reply::Reset => ("protocol", None, true),
        Reply::Local => ("connect", None, !shield),
        Reply::NoResolver => ("dns", None, !shield),
        Reply::Blocked => ("blocked", None, true),
        Reply::Panic => ("interrupted", None, false),
    }
}
