//! The diff: one callback's row and attempts, as the database has them in the end, against the POSTs
//! that the merchants' journal has. A pure function, with a table of what it must find.

use std::collections::HashSet;

use crate::campaign::merchants::{Answer, Post};

/// A row of `callback_queue`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) attempt_seq: i64,
    /// Its part of the log, by `seq`.
    pub(super) log: Vec<Attempt>,
}

/// A row of `callback_attempt`.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) seq: i64,
    pub(super) outcome: String,
    pub(super) counted: bool,
    pub(super) started_at: i64,
    pub(super) duration_ms: i64,
    pub(super) sign: Option<String>,
    pub(super) body_sha256: Option<String>,
    /// The timestamp of a first sending that met a closing connection.
    pub(super) sent_before: Option<i64>,
}

impl Attempt {
    /// Whether it records that `post` was sent.
    fn records(&self, post: &Post) -> bool {
        self.sign.as_ref() == Some(&post.sign) || self.sent_before == Some(post.timestamp)
    }

    fn is(&self, outcome: &str) -> bool {
        self.outcome == outcome
    }

    /// Before this moment it was not recorded.
    fn ended_at(&self) -> i64 {
        self.started_at + self.duration_ms
    }
}

/// What is wrong with a callback; nothing, if nothing is. `posts` in the order in which they came.
pub(super) fn faults(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = of_the_row(row);
    faults.extend(of_the_answers(row, posts));
    faults.extend(of_the_posts(row, posts));
    faults
}

/// The row against its log.
fn of_the_row(row: &Row) -> Vec<String> {
    let log = &row.log;
    let counted = log.iter().filter(|attempt| attempt.counted).count();
    let acknowledged = log.iter().filter(|attempt| attempt.is("acknowledged"));
    let ends_well = log.last().is_some_and(|last| last.is("acknowledged"));
    let rules = [
        (row.state == "delivered", "not delivered in the end"),
        (
            acknowledged.count() == 1 && ends_well,
            "the log does not end with its only acknowledgement",
        ),
        (
            log.iter()
                .map(|attempt| attempt.seq)
                .eq(1..=row.attempt_seq),
            "the log has a gap, or the row another number of attempts",
        ),
        (
            i64::try_from(counted) == Ok(row.attempts),
            "the row counts other attempts than the log",
        ),
        (
            !log.iter()
                .any(|attempt| attempt.counted && attempt.is("interrupted")),
            "an interrupted attempt is counted",
        ),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, fault)| fault.to_owned()).collect()
}

/// The log against what the merchant answered.
fn of_the_answers(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = Vec::new();
    for attempt in &row.log {
        let needed = match attempt.outcome.as_str() {
            "acknowledged" => Answer::Acknowledged,
            "refused" => Answer::Refused,
            _ => continue,
        };
        let said = posts.iter().any(|post| {
            post.answer == needed
                && attempt.sign.as_ref() == Some(&post.sign)
                && attempt.body_sha256.as_ref() == Some(&post.body_sha256)
        });
        if !said {
            faults.push(format!(
                "attempt {} is recorded as {}, but the merchant never said so",
                attempt.seq, attempt.outcome
            ));
        }
    }
    faults
}

/// The POSTs against the log: each is of an attempt, and none came when another had its turn.
fn of_the_posts(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = Vec::new();
    if posts.iter().any(|post| !post.sign_holds) {
        faults.push("a signature does not hold".to_owned());
    }
    let signs: HashSet<&str> = posts.iter().map(|post| &*post.sign).collect();
    if signs.len() < posts.len() {
        faults.push("two POSTs have the same signature".to_owned());
    }
    let twice = row.log.iter().filter(|it| it.sent_before.is_some()).count();
    if posts.len() > row.log.len() + twice {
        faults.push(format!(
            "{} POSTs of {} attempts",
            posts.len(),
            row.log.len()
        ));
    }
    // What was interrupted has left no signature: its POST is one that no other attempt explains.
    let known = |post: &&&Post| row.log.iter().any(|attempt| attempt.records(post));
    let unexplained: Vec<&&Post> = posts.iter().filter(|post| !known(post)).collect();
    let interrupted = row.log.iter().filter(|attempt| attempt.is("interrupted"));
    if unexplained.len() > interrupted.count() {
        faults.push("a POST that no attempt explains".to_owned());
    }
    let Some(last) = row.log.last().filter(|last| last.is("acknowledged")) else {
        return faults;
    };
    for post in posts {
        if last.records(post) {
            continue;
        }
        if post.came_at > last.ended_at() {
            faults.push(format!(
                "sent again {} ms after the acknowledgement that is recorded",
                post.came_at - last.ended_at()
            ));
        } else if post.came_at > last.started_at {
            faults.push(format!(
                "sent {} ms after the next attempt had begun",
                post.came_at - last.started_at
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn attempt(seq: i64, outcome: &str) -> Attempt {
        let leaves_a_trace = outcome != "interrupted";
        Attempt {
            seq,
            outcome: outcome.to_owned(),
            counted: leaves_a_trace,
            started_at: seq * 1000,
            duration_ms: 50,
            sign: leaves_a_trace.then(|| format!("sign {seq}")),
            body_sha256: leaves_a_trace.then(|| format!("digest {seq}")),
            sent_before: None,
        }
    }

    /// Came 10 ms after its attempt had begun.
    fn post(seq: i64, answer: Answer) -> Post {
        Post {
            came_at: seq * 1000 + 10,
            number: "N1".to_owned(),
            timestamp: seq * 1000,
            sign: format!("sign {seq}"),
            sign_holds: true,
            body_sha256: format!("digest {seq}"),
            members: Map::new(),
            answer,
        }
    }

    /// Refused, cut off after the merchant had acknowledged it, and acknowledged again.
    fn sound() -> (Row, Vec<Post>) {
        let row = Row {
            state: "delivered".to_owned(),
            attempts: 2,
            attempt_seq: 3,
            log: vec![
                attempt(1, "refused"),
                attempt(2, "interrupted"),
                attempt(3, "acknowledged"),
            ],
        };
        let posts = vec![
            post(1, Answer::Refused),
            post(2, Answer::Acknowledged),
            post(3, Answer::Acknowledged),
        ];
        (row, posts)
    }

    #[test]
    fn every_fault_is_found() {
        type Breaks = fn(&mut Row, &mut Vec<Post>);
        let cases: &[(&str, Breaks, &str)] = &[
            ("sound", |_, _| {}, ""),
            (
                "the cut off one was not sent",
                |_, posts| drop(posts.remove(1)),
                "",
            ),
            (
                "sent twice, and both are recorded",
                |row, posts| {
                    row.log[2].sent_before = Some(4000);
                    posts.push(post(4, Answer::Acknowledged));
                },
                "",
            ),
            (
                "left over",
                |row, _| row.state = "pending".to_owned(),
                "not delivered",
            ),
            (
                "acknowledged twice",
                |row, _| {
                    row.log[1] = attempt(2, "acknowledged");
                    row.attempts = 3;
                },
                "its only acknowledgement",
            ),
            (
                "sent after the acknowledgement",
                |_, posts| posts[1].came_at = 3051,
                "sent again 1 ms after",
            ),
            (
                "sent when another had its turn",
                |_, posts| posts[1].came_at = 3007,
                "sent 7 ms after the next",
            ),
            (
                "a gap",
                |row, _| {
                    row.log.remove(1);
                },
                "a gap",
            ),
            ("a wrong count", |row, _| row.attempts = 3, "counts other"),
            (
                "an interruption that counts",
                |row, _| {
                    row.log[1].counted = true;
                    row.attempts = 3;
                },
                "is counted",
            ),
            (
                "made up",
                |_, posts| posts[2].answer = Answer::Refused,
                "never said so",
            ),
            (
                "another body",
                |_, posts| posts[2].body_sha256.clear(),
                "never said so",
            ),
            (
                "an attempt that is not in the log",
                |_, posts| posts.insert(0, post(0, Answer::Refused)),
                "that no attempt explains",
            ),
            (
                "the same again",
                |_, posts| posts.insert(1, posts[0].clone()),
                "the same signature",
            ),
            (
                "forged",
                |_, posts| posts[0].sign_holds = false,
                "does not hold",
            ),
        ];
        for (case, breaks, found) in cases {
            let (mut row, mut posts) = sound();
            breaks(&mut row, &mut posts);
            let posts: Vec<&Post> = posts.iter().collect();
            let faults = faults(&row, &posts);
            let is_found = faults.iter().any(|fault| fault.contains(found));
            assert!(
                is_found || (found.is_empty() && faults.is_empty()),
                "{case}: {faults:?}"
            );
            assert!(!found.is_empty() || faults.is_empty(), "{case}: {faults:?}");
        }
    }
}
