//! When a failure may be excused by an outage of our own: if attempts for five apps came to no
//! connection, and between the first and the last of them no merchant answered anything.

use std::collections::BTreeSet;

use super::{NOT_COUNTED, Oracle, State};
use crate::simulation::operation::Reply;
use crate::simulation::posts::Fate;
use crate::simulation::records::Logged;

/// As many apps must be out of reach.
const APPS_MIN: usize = 5;

/// How far an exchange came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Answered,
    NoConnection,
    /// A connection, and no answer; it speaks neither for an outage nor against it.
    Silent,
    NotTried,
}

const fn reach(reply: Reply) -> Reach {
    match reply {
        Reply::Acknowledge
        | Reply::Refuse
        | Reply::Html
        | Reply::Oversized
        | Reply::Status(_)
        | Reply::Tls
        | Reply::Reset => Reach::Answered,
        Reply::Dns
        | Reply::DnsSilence
        | Reply::Connect
        | Reply::ConnectSilence
        | Reply::Local
        | Reply::NoResolver => Reach::NoConnection,
        Reply::Hang => Reach::Silent,
        Reply::Blocked | Reply::Panic => Reach::NotTried,
    }
}

impl Oracle {
    /// A POST has ended; the order of these decides what an outage is.
    pub(in crate::simulation) fn ended(&mut self, number: usize, reply: Reply, at: i64) {
        self.posts[number].fate = Fate::Ended { reply, at };
        self.endings.push(number);
    }

    /// Checks that the failure of a POST may be excused.
    pub(super) fn check_excuse(&self, number: usize, detail: &str) -> Result<(), String> {
        let post = &self.posts[number];
        if !detail.contains(NOT_COUNTED) {
            return Err(format!("it was not charged, without a reason: {detail:?}"));
        }
        let at = self.endings.iter().position(|ended| *ended == number);
        let at = at.ok_or("it has not ended, and was excused")?;
        let how = |number: &usize| match self.posts[*number].fate {
            Fate::Ended { reply, .. } => reach(reply),
            Fate::Waiting | Fate::Cut => Reach::NotTried,
        };
        if !matches!(how(&number), Reach::NoConnection | Reach::Silent) {
            return Err(format!("it was answered and not charged: {:?}", post.fate));
        }
        let unanswered = |number: &&usize| how(number) != Reach::Answered;
        let before = self.endings[..at].iter().rev().take_while(unanswered);
        let after = self.endings[at..].iter().take_while(unanswered);
        let out_of_reach: BTreeSet<&str> = before
            .chain(after)
            .filter(|number| how(number) == Reach::NoConnection)
            .filter_map(|number| self.callbacks.get(&self.posts[*number].id))
            .map(|callback| callback.order.app)
            .collect();
        if out_of_reach.len() < APPS_MIN {
            return Err(format!(
                "only {out_of_reach:?} were out of reach, and it was not charged"
            ));
        }
        Ok(())
    }

    /// A charged attempt was given back; `logged` is what the log has now.
    pub(in crate::simulation) fn refunded(
        &mut self,
        id: i64,
        seq: i64,
        due: i64,
        logged: &[Logged],
    ) {
        let Err(wrong) = self.give_back(id, seq, due, logged) else {
            return;
        };
        self.violation(format!("row {id}: attempt {seq} was given back: {wrong}"));
    }

    fn give_back(&mut self, id: i64, seq: i64, due: i64, logged: &[Logged]) -> Result<(), String> {
        let at = usize::try_from(seq - 1).map_err(|error| error.to_string())?;
        let callback = self.callbacks.get(&id).ok_or("it is of no callback")?;
        let known = callback.log.get(at).ok_or("it is not in the log")?;
        let now = logged.get(at).ok_or("it has left the log")?;
        if known == now {
            // It was excused before it was recorded.
            return Ok(());
        }
        let excused = Logged {
            counted: false,
            detail: now.detail.clone(),
            ..known.clone()
        };
        if *now != excused || !known.counted || !now.detail.starts_with(&known.detail) {
            return Err(format!("the log had {known:?}\nand has {now:?}"));
        }
        let post = callback.attempted[at].ok_or("nothing was sent")?;
        self.check_excuse(post, &now.detail)?;
        *self.logged.entry("given back".to_owned()).or_default() += 1;
        let callback = self.callbacks.get_mut(&id).expect("it was there");
        callback.log[at] = excused;
        callback.counted = callback.counted.saturating_sub(1);
        let is_newest = callback.log.len() == at + 1;
        match callback.state {
            State::Exhausted if is_newest => {
                callback.state = State::Pending;
                callback.finished_at = None;
                callback.due = vec![due];
            }
            State::Pending if is_newest && callback.current_lease().is_none() => {
                callback.due = callback.due.iter().map(|its| due.min(*its)).collect();
            }
            State::Pending | State::Exhausted | State::Cancelled | State::Delivered => {}
        }
        Ok(())
    }
}
