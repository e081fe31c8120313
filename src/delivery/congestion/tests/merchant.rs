//! A modelled merchant: workers, service times, and a backlog that is never told of a caller who hung
//! up. A request that timed out is worked on all the same.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::{Bounds, Ending, LearnedLimit, RoundId, Signal};

const DEADLINE: Duration = Duration::from_secs(10);
const RETRY_WAIT: Duration = Duration::from_secs(300);
const ATTEMPTS_MAX: u32 = 4;
pub(super) const CEILING: usize = 64;

/// How long a request takes a worker, around its mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    None,
    /// From half to one and a half times the mean.
    Even,
    /// One in ten takes ten times as long as the others.
    Tail,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merchant {
    pub(super) workers: usize,
    pub(super) service: Duration,
    pub(super) spread: Spread,
    /// Requests that wait for a worker; more are refused.
    pub(super) backlog: usize,
    /// Until then nothing is answered, and nothing is worked on.
    pub(super) down_until: Duration,
    /// From then on a request takes twice as long.
    pub(super) slower_from: Duration,
    /// One request in so many is never answered, and takes no worker. 0: none.
    pub(super) hangs_each: u64,
    /// A request that comes sooner after the last that was let in is answered with 429.
    pub(super) one_each: Duration,
}

impl Merchant {
    pub(super) const fn new(workers: usize, service: Duration, spread: Spread) -> Self {
        Self {
            workers,
            service,
            spread,
            backlog: 128,
            down_until: Duration::ZERO,
            slower_from: Duration::MAX,
            hangs_each: 0,
            one_each: Duration::ZERO,
        }
    }

    fn service(&self, chance: &mut Chance, now: Duration) -> Duration {
        let mean = match now < self.slower_from {
            true => self.service,
            false => self.service * 2,
        };
        match self.spread {
            Spread::None => mean,
            Spread::Even => mean / 2 + mean * chance.below(1_000) / 1_000,
            Spread::Tail if chance.below(10) == 0 => mean * 100 / 19,
            Spread::Tail => mean * 10 / 19,
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) posts: u64,
    pub(super) exhausted: u64,
    pub(super) timed_out: u64,
    pub(super) took: Duration,
    pub(super) in_flight_most: usize,
    pub(super) throttled: u64,
}

/// xorshift64
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) const fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }
}

enum Event {
    Served(usize),
    DeadlinePassed(usize),
    DueAgain(u32),
    Reopened,
}

struct Request {
    /// Attempts of its callback, this one included.
    attempt: u32,
    began_at: Duration,
    round: RoundId,
    is_open: bool,
}

/// A merchant with callbacks due, and the limit that is learned of it.
pub(super) struct Simulation {
    merchant: Merchant,
    chance: Chance,
    now: Duration,
    pub(super) limit: LearnedLimit,
    /// Callbacks due, as the number of attempts that they have had.
    due: VecDeque<u32>,
    requests: Vec<Request>,
    in_flight: usize,
    busy: usize,
    backlog: VecDeque<usize>,
    unfinished: u64,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    /// The newest that is scheduled.
    reopens_at: Duration,
    let_in_at: Duration,
    report: Report,
}

impl Simulation {
    pub(super) fn new(merchant: Merchant, seed: u64) -> Self {
        Self {
            merchant,
            chance: Chance(seed * 7919 + 12_345),
            now: Duration::ZERO,
            limit: LearnedLimit::default(),
            due: VecDeque::new(),
            requests: Vec::new(),
            in_flight: 0,
            busy: 0,
            backlog: VecDeque::new(),
            unfinished: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            reopens_at: Duration::ZERO,
            let_in_at: Duration::ZERO,
            report: Report::default(),
        }
    }

    /// Sends `callbacks` until each is delivered or exhausted; returns the whole report.
    pub(super) fn deliver(&mut self, callbacks: u64) -> Report {
        self.due.extend((0..callbacks).map(|_| 0));
        self.unfinished += callbacks;
        while self.unfinished > 0 {
            self.send();
            self.step();
        }
        self.report.took = self.now;
        self.report
    }

    /// Lets time pass with nothing due.
    pub(super) fn rest(&mut self, span: Duration) {
        self.now += span;
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    fn at(&mut self, moment: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((moment, self.scheduled), event);
    }

    fn send(&mut self) {
        self.limit.advance(self.now);
        while self.in_flight < self.limit.slots(CEILING, self.now)
            && let Some(attempts) = self.due.pop_front()
        {
            self.in_flight += 1;
            self.report.posts += 1;
            self.report.in_flight_most = self.report.in_flight_most.max(self.in_flight);
            let request = self.requests.len();
            self.requests.push(Request {
                attempt: attempts + 1,
                began_at: self.now,
                round: self.limit.began(self.in_flight, self.now),
                is_open: true,
            });
            self.at(self.now + DEADLINE, Event::DeadlinePassed(request));
            self.arrive(request);
        }
        if !self.due.is_empty()
            && let Some(moment) = self.limit.reopens_at()
            && moment != self.reopens_at
        {
            self.reopens_at = moment;
            self.at(moment, Event::Reopened);
        }
    }

    fn arrive(&mut self, request: usize) {
        let Merchant {
            workers,
            backlog,
            down_until,
            hangs_each,
            ..
        } = self.merchant;
        let hangs = hangs_each > 0 && self.report.posts.is_multiple_of(hangs_each);
        if self.now < down_until || hangs {
            return;
        }
        if self.now < self.let_in_at + self.merchant.one_each {
            self.end(request, Signal::Throttled(None));
            return;
        }
        self.let_in_at = self.now;
        if self.busy < workers {
            self.serve(request);
        } else if self.backlog.len() < backlog {
            self.backlog.push_back(request);
        } else {
            self.end(request, Signal::Failed);
        }
    }

    fn serve(&mut self, request: usize) {
        self.busy += 1;
        let service = self.merchant.service(&mut self.chance, self.now);
        self.at(self.now + service, Event::Served(request));
    }

    fn step(&mut self) {
        let ((now, _), event) = self.events.pop_first().expect("an attempt ends or is due");
        self.now = now;
        match event {
            Event::Served(request) => {
                self.busy -= 1;
                self.end(request, Signal::Answered);
                if let Some(next) = self.backlog.pop_front() {
                    self.serve(next);
                }
            }
            Event::DeadlinePassed(request) => self.end(request, Signal::TimedOut),
            Event::DueAgain(attempts) => self.due.push_back(attempts),
            Event::Reopened => {}
        }
    }

    fn end(&mut self, request: usize, signal: Signal) {
        let Request {
            attempt,
            began_at,
            round,
            ref mut is_open,
        } = self.requests[request];
        if !std::mem::take(is_open) {
            return;
        }
        self.in_flight -= 1;
        let latency = self.now - began_at;
        let bounds = Bounds {
            ceiling: CEILING,
            deadline: DEADLINE,
        };
        self.limit.ended(
            Ending {
                round,
                latency,
                signal,
            },
            bounds,
            self.now,
        );
        if signal == Signal::Answered {
            self.unfinished -= 1;
            return;
        }
        self.report.throttled += u64::from(signal == Signal::Throttled(None));
        self.report.timed_out += u64::from(signal == Signal::TimedOut);
        if attempt < ATTEMPTS_MAX {
            self.at(began_at + RETRY_WAIT, Event::DueAgain(attempt));
        } else {
            self.report.exhausted += 1;
            self.unfinished -= 1;
        }
    }
}
