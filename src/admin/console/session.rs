//! Who has shown the token: sessions, and how often the token may be guessed.
//!
//! A session is a cookie with 256 random bits, of which only the digest is kept here, and a second
//! such secret that every form has to carry. It ends an hour after its last use, twelve hours after
//! its beginning, with the process, or as soon as another token is loaded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::domain::{Secret, Timestamp};

/// How long a session stands without being used.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// How long a session lasts at most.
pub(super) const AGE_MAX: Duration = Duration::from_secs(12 * 3600);

/// More than this many people do not run one queue; the session that was used least recently goes.
const SESSIONS_MAX: usize = 64;

/// How many guesses there are in [`GUESSES_PER`], whoever makes them.
const GUESSES_MAX: usize = 5;

/// See [`GUESSES_MAX`].
const GUESSES_PER: Duration = Duration::from_secs(60);

/// What operators show to be let in. Only its digest is kept: comparing digests tells nothing about
/// the token, however long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Token(Fingerprint);

type Fingerprint = [u8; 32];

fn fingerprint(text: &str) -> Fingerprint {
    Sha256::digest(text.as_bytes()).into()
}

impl Token {
    /// The token whose text is `secret`.
    pub fn new(secret: &Secret) -> Self {
        Self(fingerprint(secret.expose()))
    }

    fn is(&self, guess: &str) -> bool {
        self.0.ct_eq(&fingerprint(guess)).into()
    }

    fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Somebody who has shown the token.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    /// What they call themselves; actions are recorded with it.
    pub(super) name: String,
    /// What a form of theirs has to carry.
    pub(super) csrf: String,
}

impl Operator {
    /// Whether a form that carries `csrf` is theirs.
    pub(super) fn has_made(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No token is configured, so none is right.
    NoToken,
    /// It is another token.
    WrongToken,
    /// Guessing is over for this long.
    TooManyGuesses(Duration),
}

#[derive(Debug)]
struct Session {
    operator: Operator,
    /// The token that it was opened with.
    token: Token,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    /// A clock that was set back by more than a session may idle ends it too: it would last until
    /// the clock has caught up.
    fn is_valid(&self, token: &Token, now: Timestamp) -> bool {
        self.token.same_as(token)
            && now.since(self.opened_at) < AGE_MAX
            && now.since(self.used_at) < IDLE_MAX
            && self.used_at.since(now) < IDLE_MAX
    }
}

/// Every session there is.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the digest of what the cookie holds.
    open: Mutex<HashMap<Fingerprint, Session>>,
    /// When the newest guesses were made.
    guesses: Mutex<VecDeque<Timestamp>>,
}

impl Sessions {
    /// Lets `name` in if `guess` is the token; returns what their cookie is to hold.
    pub(super) fn open(
        &self,
        token: Option<&Token>,
        guess: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, Refused> {
        let token = token.ok_or(Refused::NoToken)?;
        self.guess(now)?;
        if !token.is(guess) {
            return Err(Refused::WrongToken);
        }
        self.guesses().pop_back();
        let cookie = random();
        let session = Session {
            operator: Operator {
                name: name.to_owned(),
                csrf: random().to_string(),
            },
            token: *token,
            opened_at: now,
            used_at: now,
        };
        let mut open = self.sessions();
        open.retain(|_, session| session.is_valid(token, now));
        if open.len() >= SESSIONS_MAX
            && let Some(stalest) = stalest(&open)
        {
            open.remove(&stalest);
        }
        open.insert(fingerprint(&cookie), session);
        Ok(cookie)
    }

    /// Whose cookie this is, if its session stands.
    pub(super) fn operator(
        &self,
        token: Option<&Token>,
        cookie: &str,
        now: Timestamp,
    ) -> Option<Operator> {
        let mut open = self.sessions();
        let session = open.get_mut(&fingerprint(cookie))?;
        if !session.is_valid(token?, now) {
            return None;
        }
        session.used_at = now;
        Some(session.operator.clone())
    }

    /// Ends the session of this cookie.
    pub(super) fn close(&self, cookie: &str) {
        self.sessions().remove(&fingerprint(cookie));
    }

    /// Counts a guess before it is judged, so that many at once are not more than their number.
    fn guess(&self, now: Timestamp) -> Result<(), Refused> {
        let mut guesses = self.guesses();
        // One from the future is of a clock that was set back since.
        guesses.retain(|at| *at <= now && now.since(*at) < GUESSES_PER);
        match guesses.front() {
            Some(oldest) if guesses.len() >= GUESSES_MAX => {
                let wait = oldest.after(GUESSES_PER).since(now);
                Err(Refused::TooManyGuesses(wait))
            }
            _ => {
                guesses.push_back(now);
                Ok(())
            }
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Fingerprint, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guesses(&self) -> std::sync::MutexGuard<'_, VecDeque<Timestamp>> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stalest(open: &HashMap<Fingerprint, Session>) -> Option<Fingerprint> {
    let by_use = open.iter().min_by_key(|(_, session)| session.used_at);
    by_use.map(|(digest, _)| *digest)
}

/// 256 random bits in hex.
fn random() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).expect("the kernel gives random bytes, as it does for TLS");
    Zeroizing::new(hex::encode(bytes.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

    fn token(text: &str) -> Token {
        Token::new(&Secret::new(text.to_owned()))
    }

    const fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn the_token_opens_a_session_and_nothing_else_does() {
        let (sessions, token) = (Sessions::default(), token("right"));
        let refused = |guess: &str| {
            sessions
                .open(Some(&token), guess, "night shift", NOON)
                .err()
        };
        assert_eq!(refused("wrong"), Some(Refused::WrongToken));
        assert_eq!(refused(""), Some(Refused::WrongToken));
        assert_eq!(
            sessions.open(None, "", "night shift", NOON).err(),
            Some(Refused::NoToken)
        );
        let cookie = sessions
            .open(Some(&token), "right", "night shift", NOON)
            .expect("right");
        let operator = sessions.operator(Some(&token), &cookie, NOON).expect("in");
        assert_eq!(operator.name, "night shift");
        assert!(operator.has_made(&operator.csrf.clone()));
        assert!(!operator.has_made("") && !operator.has_made(&cookie));
        assert!(sessions.operator(Some(&token), "right", NOON).is_none());
        assert!(sessions.operator(Some(&token), "", NOON).is_none());
        sessions.close(&cookie);
        assert!(sessions.operator(Some(&token), &cookie, NOON).is_none());
    }

    #[test]
    fn a_session_ends_when_idle_when_old_and_with_its_token() {
        let (sessions, right) = (Sessions::default(), token("right"));
        let open = || {
            sessions
                .open(Some(&right), "right", "night shift", NOON)
                .expect("right")
        };
        let is_valid = |cookie: &str, token: &Token, at: Timestamp| {
            sessions.operator(Some(token), cookie, at).is_some()
        };
        let idle = open();
        assert!(is_valid(&idle, &right, NOON.after(minutes(59))));
        assert!(
            is_valid(&idle, &right, NOON.after(minutes(118))),
            "it was used"
        );
        assert!(!is_valid(&idle, &right, NOON.after(minutes(178))));
        let old = open();
        for minute in (30..720).step_by(30) {
            assert!(
                is_valid(&old, &right, NOON.after(minutes(minute))),
                "{minute}"
            );
        }
        assert!(!is_valid(&old, &right, NOON.after(minutes(720))));
        let set_back = open();
        assert!(is_valid(&set_back, &right, NOON.before(minutes(59))));
        assert!(!is_valid(&set_back, &right, NOON.before(minutes(120))));
        let rotated = open();
        assert!(!is_valid(&rotated, &token("another"), NOON));
        assert!(sessions.operator(None, &rotated, NOON).is_none());
    }

    #[test]
    fn guesses_run_out_and_come_back() {
        let (sessions, token) = (Sessions::default(), token("right"));
        let open =
            |guess: &str, at: Timestamp| sessions.open(Some(&token), guess, "night shift", at);
        for _ in 0..20 {
            open("right", NOON).expect("those who know it are not counted");
        }
        for _ in 0..GUESSES_MAX {
            assert_eq!(open("wrong", NOON).err(), Some(Refused::WrongToken));
        }
        let later = NOON.after(Duration::from_secs(20));
        let over = Refused::TooManyGuesses(Duration::from_secs(40));
        assert_eq!(open("right", later).err(), Some(over), "nor the right one");
        open("right", NOON.after(GUESSES_PER)).expect("a minute has passed");
    }

    #[test]
    fn there_is_an_end_to_sessions() {
        let (sessions, token) = (Sessions::default(), token("right"));
        let open = |at| {
            sessions
                .open(Some(&token), "right", "night shift", at)
                .expect("right")
        };
        let first = open(NOON);
        let second = open(NOON.after(minutes(1)));
        for _ in 0..SESSIONS_MAX - 1 {
            open(NOON.after(minutes(2)));
        }
        let now = NOON.after(minutes(2));
        assert!(sessions.operator(Some(&token), &first, now).is_none());
        assert!(sessions.operator(Some(&token), &second, now).is_some());
    }
}
