//! What the dispatcher meets: the clock, the merchants, the faults, and the oracle that watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use callback_dispatcher::clock::{Clock, ManualClock, Stopwatch};
use callback_dispatcher::delivery::transport::{PhaseTimes, Post, PostReport};
use callback_dispatcher::domain::{CappedBody, Cause, Exchange, ExchangeFault, Phase};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::capacity::Capacity;
use super::faults::Faults;
use super::operation::{CrashPoint, Reply};
use super::oracle::Oracle;
use super::order::MERCHANTS;
use super::posts::{Fate, Posted};
use super::records::Database;
use super::terms::TIMEOUT;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) database: Database,
    pub(super) oracle: Oracle,
    pub(super) faults: Faults,
    /// What each merchant answers; `None`: it waits for the test.
    pub(super) moods: [Option<Reply>; MERCHANTS as usize],
    /// The merchant that answers as its workers can, if there is one now.
    pub(super) capacity: Option<Capacity>,
    waiting: Vec<Waiting>,
    /// Rises with all that the dispatcher does.
    pub(super) activity: u64,
    /// What it was when all was quiet the last time.
    pub(super) quiet_at: u64,
}

/// What an answer of 429 asks for.
const RETRY_AFTER: Duration = Duration::from_secs(40);

/// A POST that waits for its answer.
#[derive(Debug)]
struct Waiting {
    tell: oneshot::Sender<Reply>,
    since: Stopwatch,
}

/// A world that several tasks look at.
#[derive(Clone, Debug)]
pub(super) struct SharedWorld(Arc<Mutex<World>>);

impl SharedWorld {
    pub(super) fn new(clock: ManualClock, database: Database) -> Self {
        Self(Arc::new(Mutex::new(World {
            clock,
            database,
            oracle: Oracle::default(),
            faults: Faults::default(),
            moods: [Some(Reply::Acknowledge); MERCHANTS as usize],
            capacity: None,
            waiting: Vec::new(),
            activity: 0,
            quiet_at: 0,
        })))
    }

    /// Held for moments.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More activity than this without a moment's rest: the dispatcher spins.
const RESTLESS: u64 = 3000;

impl World {
    /// The dispatcher does something. Returns whether it does so without end.
    pub(super) fn acts(&mut self) -> bool {
        self.activity += 1;
        let spins = self.activity - self.quiet_at > RESTLESS;
        if spins {
            self.oracle.violation("the dispatcher spins");
        }
        spins
    }

    /// Unix milliseconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// Takes up what the log has of these rows by now.
    pub(super) fn absorb(&mut self, ids: &[i64]) {
        for id in ids {
            let logged = self.database.log_after(*id, self.oracle.seq(*id));
            let now = self.now();
            self.oracle.absorb(*id, logged, now);
        }
    }

    /// Takes up how far the commands have come by now.
    pub(super) fn absorb_commands(&mut self) {
        for command in self.oracle.open_commands() {
            let (answer, items) = self.database.answer(command);
            let now = self.now();
            self.oracle.judge_skip(command, now);
            // What came of attempts before it was touched is in the log.
            let rows: Vec<i64> = items.keys().copied().collect();
            self.absorb(&rows);
            let subject = self.oracle.subject(command);
            self.absorb(subject.as_slice());
            self.oracle.judge_skip(command, now);
            self.oracle.carried_out(command, &answer, &items);
        }
    }

    /// Answers a POST that waits, if there is one.
    pub(super) fn answer(&mut self, which: u8, reply: Reply) {
        self.forget_the_cut();
        if !self.waiting.is_empty() {
            let waiting = self.waiting.remove(usize::from(which) % self.waiting.len());
            // The process may die at the same moment.
            let _ = waiting.tell.send(reply);
        }
    }

    /// Answers all that wait.
    pub(super) fn answer_all(&mut self, reply: Reply) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.tell.send(reply);
        }
    }

    /// How long until the next POST has waited for as long as it may.
    pub(super) fn next_timeout(&mut self) -> Option<Duration> {
        self.forget_the_cut();
        let left = |waiting: &Waiting| TIMEOUT.saturating_sub(waiting.since.elapsed());
        self.waiting.iter().map(left).min()
    }

    /// How long until the merchant with workers gives its next answer.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        let next = self.capacity.as_ref()?.next_answer()?;
        Some(next.saturating_sub(self.clock.steady()))
    }

    /// It has worked until now.
    pub(super) fn merchant_works(&mut self) {
        let now = self.clock.steady();
        if let Some(capacity) = &mut self.capacity {
            capacity.work(now);
        }
    }

    fn forget_the_cut(&mut self) {
        self.waiting.retain(|waiting| !waiting.tell.is_closed());
    }

    /// A POST arrives; returns its number and how it is answered.
    fn arrives(&mut self, generation: usize, url: &str, body: Vec<u8>) -> Arrival {
        self.activity += 1;
        if self.faults.dies(CrashPoint::BeforeSend) {
            return Arrival::Never;
        }
        let body_sha256 = hex::encode(Sha256::digest(&body));
        let body = String::from_utf8(body).expect("JSON is UTF-8");
        let Some((id, merchant)) = self.addressee(&body) else {
            self.oracle
                .violation(format!("sent, and owed to nobody: {body}"));
            return Arrival::Never;
        };
        let number = self.oracle.posted(Posted {
            id,
            url: url.to_owned(),
            at: self.now(),
            generation,
            body,
            body_sha256,
            sign: String::new(),
            key_id: String::new(),
            fate: Fate::Waiting,
        });
        if self.faults.dies(CrashPoint::AfterSend) {
            return Arrival::Lost(number);
        }
        let now = self.clock.steady();
        if let Some(capacity) = self.capacity.as_mut().filter(|of| of.merchant == merchant) {
            return Arrival::Waits(number, capacity.arrives(now));
        }
        match self.moods[usize::from(merchant)] {
            None | Some(Reply::Hang) => Arrival::Waits(number, self.wait()),
            Some(reply) => Arrival::Answered(number, reply),
        }
    }

    fn wait(&mut self) -> oneshot::Receiver<Reply> {
        let (tell, reply) = oneshot::channel();
        let since = Stopwatch::start();
        self.waiting.push(Waiting { tell, since });
        reply
    }

    /// The row that a body belongs to, and its merchant.
    fn addressee(&self, body: &str) -> Option<(i64, u8)> {
        let members: serde_json::Value = serde_json::from_str(body).ok()?;
        let refund = members.get("newpayRefundOrderNo");
        let number = refund.or(members.get("newpayOrderNo"))?.as_str()?;
        let id = self.oracle.find(refund.is_some(), number)?;
        Some((id, self.oracle.callbacks[&id].order.merchant))
    }

    fn ended(&mut self, number: usize, reply: Reply) {
        let at = self.now();
        self.activity += 1;
        self.oracle.ended(number, reply, at);
    }
}

enum Arrival {
    /// The process has died before a byte left.
    Never,
    /// The process dies before it hears the answer.
    Lost(usize),
    Waits(usize, oneshot::Receiver<Reply>),
    Answered(usize, Reply),
}

/// The way out under one state of the configuration.
#[derive(Debug)]
pub(super) struct SimulatedPost {
    pub(super) world: SharedWorld,
    pub(super) generation: usize,
}

#[async_trait]
impl Post for SimulatedPost {
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport {
        let arrival = self.world.lock().arrives(self.generation, url, body);
        let (number, reply) = match arrival {
            Arrival::Never => std::future::pending().await,
            Arrival::Lost(number) => {
                let _cut = Cut(&self.world, number);
                std::future::pending().await
            }
            Arrival::Answered(number, reply) => (number, reply),
            Arrival::Waits(number, reply) => {
                let cut = Cut(&self.world, number);
                let reply = tokio::time::timeout(TIMEOUT, reply).await;
                cut.averted();
                (
                    number,
                    reply.ok().and_then(Result::ok).unwrap_or(Reply::Hang),
                )
            }
        };
        self.world.lock().ended(number, reply);
        if reply == Reply::Panic {
            // Without the message that a panic prints.
            std::panic::resume_unwind(Box::new("simulated"));
        }
        PostReport {
            exchange: exchange(reply),
            phases: PhaseTimes::default(),
            retry_after: (reply == Reply::Status(429)).then_some(RETRY_AFTER),
        }
    }
}

/// Notes that a POST's process died, if it is dropped.
struct Cut<'a>(&'a SharedWorld, usize);

impl Cut<'_> {
    fn averted(self) {
        std::mem::forget(self);
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.0.lock().oracle.posts[self.1].fate = Fate::Cut;
    }
}

fn exchange(reply: Reply) -> Exchange {
    let answered = |status, body: &str, oversized| Exchange::Answered {
        status,
        body: CappedBody {
            bytes: body.as_bytes().to_vec(),
            oversized,
        },
        remote_addr: None,
    };
    let failed = |phase, cause| {
        Exchange::Failed(ExchangeFault {
            phase,
            cause,
            detail: format!("{reply:?}"),
            status: None,
            remote_addr: None,
        })
    };
    const SUCCESS: &str = r#"{"transResult":"SUCCESS"}"#;
    match reply {
        Reply::Acknowledge => answered(200, SUCCESS, false),
        Reply::Refuse => answered(200, r#"{"transResult":"FAILURE"}"#, false),
        Reply::Html => answered(200, "<html>SUCCESS</html>", false),
        Reply::Oversized => answered(200, SUCCESS, true),
        Reply::Status(status) => answered(status, SUCCESS, false),
        Reply::Hang => failed(Phase::Head, Cause::Deadline),
        Reply::Dns => failed(Phase::Dns, Cause::Remote),
        Reply::DnsSilence => failed(Phase::Dns, Cause::Deadline),
        Reply::ConnectSilence => failed(Phase::Connect, Cause::Deadline),
        Reply::Connect => failed(Phase::Connect, Cause::Remote),
        Reply::Tls => failed(Phase::Tls, Cause::Remote),
        Reply::Reset => failed(Phase::Head, Cause::Remote),
        Reply::Local => failed(Phase::Connect, Cause::Local),
        Reply::NoResolver => failed(Phase::Dns, Cause::Local),
        Reply::Blocked => Exchange::Blocked {
            reason: "simulated".to_owned(),
        },
        Reply::Panic => unreachable!("the caller has panicked"),
    }
}
