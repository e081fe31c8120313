//! The diff: one callback's row and attempts, as the database has them, against the POSTs that the
//! merchant's own journal has. A pure function, with a table of what it must find.
//!
//! It holds whenever no dispatcher is at work: after a death, or while its store is out of reach.

use std::collections::BTreeMap;

use super::merchants::{Answer, Post};

/// Counted attempts that a callback gets, by the settings of the campaign.
pub(super) const ATTEMPTS_MAX: i64 = 4;

/// Between two of them, in milliseconds.
pub(super) const WAIT_MS: i64 = 150;

/// A row of `callback_queue`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) attempt_seq: i64,
    pub(super) leased_at: Option<i64>,
    pub(super) last_outcome: Option<String>,
    /// Its part of the log, by `seq`.
    pub(super) log: Vec<Attempt>,
}

/// A row of `callback_attempt`.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) seq: i64,
    pub(super) started_at: i64,
    pub(super) outcome: String,
    pub(super) counted: bool,
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

    fn is_interrupted(&self) -> bool {
        self.outcome == "interrupted"
    }
}

/// What is wrong with a callback; nothing, if nothing is.
pub(super) fn faults(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = faults_of_what_stands(row, posts);
    faults.extend(of_the_uncovered(row, posts));
    faults
}

/// The same, where the end of the database's log was lost, and with it attempts that were made.
pub(super) fn faults_of_what_stands(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = of_the_row(row);
    faults.extend(of_the_schedule(row));
    faults.extend(of_the_answers(row, posts));
    faults
}

/// The faults with the callback that they are of.
pub(super) fn named(number: &str, row: &Row, faults: Vec<String>) -> impl Iterator<Item = String> {
    let shown = format!("{number}: {row:?}");
    faults
        .into_iter()
        .map(move |fault| format!("{fault}: {shown}"))
}

/// The row against its log.
fn of_the_row(row: &Row) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    let log = &row.log;
    let last = log.last();
    let counted = log.iter().filter(|attempt| attempt.counted).count();
    let acknowledged = log
        .iter()
        .position(|attempt| attempt.outcome == "acknowledged");
    expect(
        log.iter()
            .map(|attempt| attempt.seq)
            .eq(1..=row.attempt_seq),
        "the log has a gap, or the row another number of attempts",
    );
    expect(
        i64::try_from(counted) == Ok(row.attempts),
        "the row counts other attempts than the log",
    );
    expect(row.attempts <= ATTEMPTS_MAX, "too many counted attempts");
    expect(
        row.last_outcome.as_deref() == last.map(|attempt| attempt.outcome.as_str()),
        "the row's last outcome is not the log's",
    );
    expect(
        acknowledged.is_none_or(|position| position + 1 == log.len()),
        "an attempt after the acknowledgement",
    );
    expect(
        (row.state == "delivered") == acknowledged.is_some(),
        "delivered without an acknowledgement, or the other way round",
    );
    let is_exhausted = acknowledged.is_none() && row.attempts == ATTEMPTS_MAX;
    expect(
        (row.state == "exhausted") == is_exhausted,
        "exhausted with attempts left, or the other way round",
    );
    expect(
        row.leased_at.is_none() || row.state == "pending",
        "finished and in flight",
    );
    expect(
        log.iter()
            .all(|attempt| !attempt.is_interrupted() || !attempt.counted),
        "an interrupted attempt is counted",
    );
    faults
}

/// No attempt earlier than the schedule has it.
fn of_the_schedule(row: &Row) -> Vec<String> {
    let starts = row.log.iter().map(|attempt| attempt.started_at);
    let starts: Vec<i64> = starts.chain(row.leased_at).collect();
    let mut faults = Vec::new();
    for (attempt, next) in row.log.iter().zip(starts.iter().skip(1)) {
        let wait = if attempt.counted { WAIT_MS } else { 0 };
        if *next < attempt.started_at + wait {
            faults.push(format!(
                "the attempt after number {} is too early",
                attempt.seq
            ));
        }
    }
    faults
}

/// The log against what the merchant answered.
fn of_the_answers(row: &Row, posts: &[&Post]) -> Vec<String> {
    let mut faults = Vec::new();
    if posts.iter().any(|post| !post.sign_holds) {
        faults.push("a signature does not hold".to_owned());
    }
    for attempt in &row.log {
        let sent = posts.iter().copied();
        let sent: Vec<&Post> = sent
            .filter(|post| attempt.sign.as_ref() == Some(&post.sign))
            .collect();
        faults.extend(of_the_answer(attempt, &sent));
    }
    faults
}

/// What is recorded of an attempt against what the merchant answered.
fn of_the_answer(attempt: &Attempt, sent: &[&Post]) -> Option<String> {
    let needed = match attempt.outcome.as_str() {
        "acknowledged" => Answer::Acknowledged,
        "refused" => Answer::Refused,
        "http_status" => Answer::Status,
        _ => return None,
    };
    if !sent.iter().any(|post| post.answer == needed) {
        return Some(format!(
            "attempt {} is recorded as {}, but the merchant never said so",
            attempt.seq, attempt.outcome
        ));
    }
    let digest = attempt.body_sha256.as_deref();
    let same = |post: &&Post| Some(post.body_sha256.as_str()) == digest;
    (!sent.iter().all(same)).then(|| format!("attempt {} had another body", attempt.seq))
}

/// Each POST that is in no attempt of the log must be one that was interrupted, or in flight: begun
/// after the claim, before the next attempt, and at most two for each claim: a second sending has a sign of
/// its own.
fn of_the_uncovered(row: &Row, posts: &[&Post]) -> Vec<String> {
    let is_recorded = |post: &&&Post| {
        let mut log = row.log.iter();
        log.any(|attempt| attempt.records(post))
    };
    let unrecorded: BTreeMap<&str, i64> = posts
        .iter()
        .filter(|post| !is_recorded(post))
        .map(|post| (&*post.sign, post.timestamp))
        .collect();
    let mut unrecorded: Vec<i64> = unrecorded.into_values().collect();
    unrecorded.sort_unstable();
    let log = row.log.iter();
    let sendings = |is_interrupted| if is_interrupted { 2 } else { 0 };
    let mut claims: Vec<(i64, u8)> = log
        .map(|attempt| (attempt.started_at, sendings(attempt.is_interrupted())))
        .chain(row.leased_at.map(|claimed_at| (claimed_at, sendings(true))))
        .collect();
    let mut faults = Vec::new();
    for sent_at in unrecorded {
        let claim = claims.iter_mut().rev().find(|(at, _)| *at <= sent_at);
        match claim {
            Some((_, left @ 1..)) => *left -= 1,
            _ => faults.push(format!(
                "the POST of {sent_at} has no attempt, and no interrupted one covers it"
            )),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(timestamp: i64, answer: Answer) -> Post {
        Post {
            came_at: timestamp,
            number: "N1".to_owned(),
            timestamp,
            sign: format!("sign-{timestamp}"),
            sign_holds: true,
            body_sha256: format!("sha-{timestamp}"),
            members: serde_json::Map::new(),
            answer,
        }
    }

    fn attempt(seq: i64, started_at: i64, outcome: &str) -> Attempt {
        let is_sent = outcome != "interrupted";
        Attempt {
            seq,
            started_at,
            outcome: outcome.to_owned(),
            counted: is_sent,
            sign: is_sent.then(|| format!("sign-{started_at}")),
            body_sha256: is_sent.then(|| format!("sha-{started_at}")),
            sent_before: None,
        }
    }

    fn row(state: &str, log: Vec<Attempt>) -> Row {
        Row {
            state: state.to_owned(),
            attempts: i64::try_from(log.iter().filter(|attempt| attempt.counted).count())
                .expect("few"),
            attempt_seq: i64::try_from(log.len()).expect("few"),
            leased_at: None,
            last_outcome: log.last().map(|attempt| attempt.outcome.clone()),
            log,
        }
    }

    /// Refused, interrupted on its way, then acknowledged: as it should be.
    fn good() -> (Row, Vec<Post>) {
        let log = vec![
            attempt(1, 1000, "refused"),
            attempt(2, 1200, "interrupted"),
            attempt(3, 1500, "acknowledged"),
        ];
        let posts = vec![
            post(1000, Answer::Refused),
            post(1210, Answer::Acknowledged),
            post(1500, Answer::Acknowledged),
        ];
        (row("delivered", log), posts)
    }

    fn found(row: &Row, posts: &[Post]) -> Vec<String> {
        faults(row, &posts.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_sound_callback_passes() {
        let (row, posts) = good();
        assert_eq!(found(&row, &posts), Vec::<String>::new());
        let mut in_flight = super::tests::row("pending", vec![attempt(1, 1000, "refused")]);
        in_flight.leased_at = Some(1150);
        let posts = [post(1000, Answer::Refused), post(1151, Answer::None)];
        assert_eq!(found(&in_flight, &posts), Vec::<String>::new());
        let (mut twice, mut posts) = good();
        twice.log[2].sent_before = Some(1499);
        posts.insert(2, post(1499, Answer::None));
        assert_eq!(found(&twice, &posts), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_wrong_is_found() {
        type Breaks = fn(&mut Row, &mut Vec<Post>);
        let table: &[(&str, Breaks)] = &[
            (
                "sent again after the acknowledgement was recorded",
                |_, posts| {
                    posts.push(post(2000, Answer::Acknowledged));
                },
            ),
            ("sent, but neither claimed nor recorded", |_, posts| {
                posts.push(post(900, Answer::Refused));
            }),
            ("sent three times under one claim", |_, posts| {
                posts.extend([post(1220, Answer::None), post(1230, Answer::None)]);
            }),
            ("an acknowledgement that was never given", |_, posts| {
                posts[2].answer = Answer::Refused;
            }),
            (
                "an acknowledgement of a POST that never came",
                |_, posts| {
                    posts.pop();
                },
            ),
            ("a signature that does not hold", |_, posts| {
                posts[0].sign_holds = false;
            }),
            ("another body than the one recorded", |_, posts| {
                posts[2].body_sha256 = "another".to_owned();
            }),
            ("an interrupted attempt is forgotten", |row, _| {
                row.log.remove(1);
                row.log[1].seq = 2;
                row.attempt_seq = 2;
            }),
            ("an attempt is missing in the log", |row, _| {
                row.log.remove(0);
            }),
            ("an interrupted attempt is counted", |row, _| {
                row.log[1].counted = true;
                row.attempts = 3;
            }),
            ("the row moved on without its log", |row, _| {
                row.attempts += 1;
            }),
            ("acknowledged, but pending", |row, _| {
                row.state = "pending".to_owned();
            }),
            ("exhausted too early", |row, posts| {
                *row = super::tests::row("exhausted", vec![attempt(1, 1000, "refused")]);
                posts.truncate(1);
            }),
            ("a fifth attempt", |row, posts| {
                let starts = [1000, 2000, 3000, 4000, 5000];
                let log = (1..)
                    .zip(starts)
                    .map(|(seq, at)| attempt(seq, at, "refused"));
                *row = super::tests::row("exhausted", log.collect());
                *posts = starts.map(|at| post(at, Answer::Refused)).to_vec();
            }),
            ("finished and in flight", |row, _| {
                row.leased_at = Some(1600);
            }),
            ("too early", |row, posts| {
                row.log[1].started_at = 1100;
                posts[1] = post(1110, Answer::Acknowledged);
            }),
            ("another last outcome", |row, _| {
                row.last_outcome = Some("refused".to_owned());
            }),
        ];
        for (what, breaks) in table {
            let (mut row, mut posts) = good();
            breaks(&mut row, &mut posts);
            assert!(!found(&row, &posts).is_empty(), "not found: {what}");
        }
    }
}
