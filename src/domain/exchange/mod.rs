//! What happened on the network, as data, and the judgement on it.
//!
//! A failed delivery is not an `Err` anywhere in this program: it is an [`Exchange`] that
//! [`judge`] turns into a [`Verdict`].

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use super::acknowledgement::{Answer, read_answer};
use super::outcome::Outcome;
use super::reason::FOR_OPERATOR;

/// How a POST went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// An answer came, head and as much of the body as the cap lets in.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: CappedBody,
        /// Who answered.
        remote_addr: Option<SocketAddr>,
    },
    /// The connection broke, or the deadline passed.
    Failed(ExchangeFault),
    /// The egress policy forbids the address; nothing was sent.
    Blocked {
        /// What was forbidden and which setting would allow it.
        reason: String,
    },
}

/// A body as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CappedBody {
    /// At most the cap.
    pub bytes: Vec<u8>,
    /// Whether there was more than the cap.
    pub oversized: bool,
}

/// Where and why an exchange came to no complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeFault {
    /// How far it had come.
    pub phase: Phase,
    /// What went wrong there.
    pub cause: Cause,
    /// In words, with the sizes or times that matter.
    pub detail: String,
    /// The status, when the head of an answer had come.
    pub status: Option<u16>,
    /// Who was dialled, as far as known.
    pub remote_addr: Option<SocketAddr>,
}

/// What ended an exchange early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A deadline passed.
    Deadline,
    /// The other side, or the way to it, failed.
    Remote,
    /// The other side answered a TLS handshake with something else.
    NotTls,
    /// This host failed: no route, no file descriptor, no resolver. Not the merchant's doing.
    Local,
}

/// The stages of an exchange, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Resolving the host's name.
    Dns,
    /// The TCP handshake.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request and waiting for the head of the answer.
    Head,
    /// Reading the body of the answer.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Head => "waiting for the head of the answer",
            Self::Body => "reading the body of the answer",
        })
    }
}

impl Phase {
    /// The word in the attempt log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// How long the completed stages of an exchange took. A stage that it broke in, or never came
/// to, has no time; a kept connection has none of the first three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// Resolving the name; also absent for a literal address.
    pub dns: Option<Duration>,
    /// The TCP handshake.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// Sending the request and waiting for the head of the answer.
    pub head: Option<Duration>,
    /// Reading the body, to its end or to the cap.
    pub body: Option<Duration>,
}

impl PhaseTimes {
    /// Those that have a time, in their order.
    pub fn measured(&self) -> impl Iterator<Item = (Phase, Duration)> {
        [
            (Phase::Dns, self.dns),
            (Phase::Connect, self.connect),
            (Phase::Tls, self.tls),
            (Phase::Head, self.head),
            (Phase::Body, self.body),
        ]
        .into_iter()
        .filter_map(|(phase, time)| Some((phase, time?)))
    }

    /// Milliseconds by the phase, as a JSON object; `None` if nothing was measured.
    pub fn to_json(&self) -> Option<String> {
        let mut text = String::with_capacity(64);
        for (phase, time) in self.measured() {
            text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
            text.push_str(phase.as_str());
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            write!(text, "\":{millis}").expect("a String takes every write");
        }
        if text.is_empty() {
            return None;
        }
        text.push('}');
        Some(text)
    }
}

/// How far an exchange came: what it tells of our own way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The other side has answered something, be it a refusal or rubbish.
    Reached,
    /// No connection came about, whoever is to blame.
    Unreached,
    /// A connection stood, and then nothing came: the other side is silent, or the way to it has
    /// broken.
    Silent,
    /// Nothing was tried.
    NotTried,
}

impl Exchange {
    /// How far it came.
    pub fn reach(&self) -> Reach {
        match self {
            Self::Answered { .. } => Reach::Reached,
            Self::Blocked { .. } => Reach::NotTried,
            Self::Failed(fault) => fault.reach(),
        }
    }
}

impl ExchangeFault {
    fn reach(&self) -> Reach {
        match (self.status, self.phase, self.cause) {
            (Some(_), _, _) => Reach::Reached,
            (None, Phase::Dns | Phase::Connect, _) => Reach::Unreached,
            (None, _, Cause::Remote | Cause::NotTls) => Reach::Reached,
            (None, _, Cause::Deadline | Cause::Local) => Reach::Silent,
        }
    }
}

/// The judgement on an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The contract's word for it.
    pub outcome: Outcome,
    /// Whether the merchant's budget is charged.
    pub counted: bool,
    /// Why, in words, for the operator.
    pub detail: String,
}

/// Turns what happened into the contract's outcome.
pub fn judge(exchange: &Exchange) -> Verdict {
    match exchange {
        Exchange::Answered { status, body, .. } => judge_answer(*status, body),
        Exchange::Failed(fault) => judge_fault(fault),
        Exchange::Blocked { reason } => verdict(Outcome::Blocked, reason.clone()),
    }
}

fn judge_answer(status: u16, body: &CappedBody) -> Verdict {
    if !is_success(status) {
        // 304 says that nothing has changed, and leads nowhere.
        let hint = match status {
            304 => "",
            300..=399 => "; redirects are not followed, correct the callBackUrl",
            _ => "",
        };
        return verdict(Outcome::HttpStatus, format!("HTTP status {status}{hint}"));
    }
    if body.oversized {
        let cap = body.bytes.len();
        return verdict(
            Outcome::Unreadable,
            format!(
                "the body is larger than {cap} bytes{FOR_OPERATOR}delivery.max_response_bytes sets the limit"
            ),
        );
    }
    match read_answer(&body.bytes) {
        Answer::Acknowledged => verdict(Outcome::Acknowledged, String::new()),
        Answer::Refused(why) => verdict(Outcome::Refused, why),
        Answer::Unreadable(why) => verdict(Outcome::Unreadable, why),
    }
}

fn judge_fault(fault: &ExchangeFault) -> Verdict {
    // A status outside 2xx has decided already: the rest of the body can't make it better.
    if let Some(status) = fault.status.filter(|status| !is_success(*status)) {
        return verdict(
            Outcome::HttpStatus,
            format!("HTTP status {status}; then {}", fault.detail),
        );
    }
    let outcome = match (fault.cause, fault.phase) {
        (Cause::Deadline, _) => Outcome::Timeout,
        (_, Phase::Dns) => Outcome::Dns,
        (_, Phase::Connect) => Outcome::Connect,
        (_, Phase::Tls) => Outcome::Tls,
        (_, Phase::Head | Phase::Body) => Outcome::Protocol,
    };
    Verdict {
        outcome,
        counted: fault.cause != Cause::Local,
        detail: fault.detail.clone(),
    }
}

const fn is_success(status: u16) -> bool {
    status >= 200 && status < 300
}

const fn verdict(outcome: Outcome, detail: String) -> Verdict {
    Verdict {
        outcome,
        counted: outcome.is_counted(),
        detail,
    }
}

#[cfg(test)]
mod tests;
