//! A merchant as small servers are: so many workers, first come, first served, and nobody tells it of
//! a caller who has hung up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::operation::Reply;

/// See the module. Moments are those of the steady clock.
#[derive(Debug)]
pub(super) struct Capacity {
    pub(super) merchant: u8,
    workers: usize,
    service: Duration,
    backlog: VecDeque<oneshot::Sender<Reply>>,
    /// With the moment at which each is done.
    at_work: Vec<(Duration, oneshot::Sender<Reply>)>,
}

impl Capacity {
    pub(super) const fn new(merchant: u8, workers: usize, service: Duration) -> Self {
        Self {
            merchant,
            workers,
            service,
            backlog: VecDeque::new(),
            at_work: Vec::new(),
        }
    }

    pub(super) fn arrives(&mut self, now: Duration) -> oneshot::Receiver<Reply> {
        let (tell, reply) = oneshot::channel();
        self.backlog.push_back(tell);
        self.work(now);
        reply
    }

    /// Answers what is done by now, and goes on with what waits.
    pub(super) fn work(&mut self, now: Duration) {
        let done = self.at_work.extract_if(.., |(ends, _)| *ends <= now);
        for (_, tell) in done {
            // The caller may have hung up.
            let _ = tell.send(Reply::Acknowledge);
        }
        while self.at_work.len() < self.workers
            && let Some(tell) = self.backlog.pop_front()
        {
            self.at_work.push((now + self.service, tell));
        }
    }

    /// When the next answer is due.
    pub(super) fn next_answer(&self) -> Option<Duration> {
        self.at_work.iter().map(|(ends, _)| *ends).min()
    }

    /// Answers all that wait.
    pub(super) fn close(self) {
        let at_work = self.at_work.into_iter().map(|(_, tell)| tell);
        for tell in at_work.chain(self.backlog) {
            let _ = tell.send(Reply::Acknowledge);
        }
    }
}
