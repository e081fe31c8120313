//! Attempts at the addresses of an origin, staggered (RFC 8305): the first that comes to a connection sends
//! the request.
//!
//! Invariants:
//!
//! - The request is written at most once. Attempts are polled in turn, and as soon as one is past TCP (or has
//!   taken a kept connection) the others are dropped; before that, none has a connection to write to.
//! - Once one is past TCP, how it ends is how the exchange ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::{Body, Response};
use tokio::time::{Sleep, sleep};

use super::connector::BoxError;
use super::fault;
use super::pool::Routes;
use super::progress::Progress;
use super::route::Route;
use crate::clock::Stopwatch;
use crate::delivery::egress::Target;
use crate::domain::Phase;

/// How long one address is tried alone before the next is tried as well.
const STAGGER: Duration = Duration::from_millis(250);

/// What the last of many addresses has at least.
const LIMIT_MIN: Duration = Duration::from_secs(1);

/// Why no answer came.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client's error.
    Request(BoxError),
    /// No connection came about within the limit.
    ConnectDeadline,
}

/// Sends the request by the first of `routes` that leads to a connection. `progress` is left as that of
/// the attempt whose outcome it is.
pub(super) async fn send(
    progress: &Arc<Progress>,
    routes: &Routes,
    target: &Target,
    connect_timeout: Duration,
    body: &(impl Fn() -> Body + Sync),
) -> Result<Response, Broken> {
    let mut race = Race {
        progress,
        begun: Stopwatch::start(),
        connect_timeout,
        running: Vec::with_capacity(1),
        is_decided: false,
        failed: None,
        stagger: None,
    };
    let mut waiting = routes.in_order().peekable();
    poll_fn(|context| {
        loop {
            if let Poll::Ready((route, result)) = race.poll(context) {
                if result.is_ok() {
                    routes.prefer(&route);
                }
                return Poll::Ready(result);
            }
            if race.is_decided {
                return Poll::Pending;
            }
            match waiting.peek() {
                Some(_) if race.wants_another(context) => {}
                None if race.running.is_empty() => {
                    return Poll::Ready(Err(race.failure()));
                }
                _ => return Poll::Pending,
            }
            if let Some(route) = waiting.next() {
                race.start(route, target, body());
            }
        }
    })
    .await
}

struct Race<'a> {
    progress: &'a Arc<Progress>,
    begun: Stopwatch,
    connect_timeout: Duration,
    running: Vec<Attempt>,
    /// Whether one is past TCP, and alone now.
    is_decided: bool,
    /// The failed attempt that says most.
    failed: Option<(Broken, Arc<Progress>)>,
    /// When the next attempt is due; none while it is due at once.
    stagger: Option<Pin<Box<Sleep>>>,
}

struct Attempt {
    route: Arc<Route>,
    progress: Arc<Progress>,
    sending: BoxFuture<'static, Result<Response, BoxError>>,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Race<'_> {
    fn start(&mut self, route: &Arc<Route>, target: &Target, body: Body) {
        let is_first = self.running.is_empty() && self.failed.is_none();
        let (progress, limit) = match is_first {
            true => (Arc::clone(self.progress), self.connect_timeout),
            false => {
                let left = self.connect_timeout.saturating_sub(self.begun.elapsed());
                let least = LIMIT_MIN.min(self.connect_timeout);
                (self.progress.sibling(), left.max(least))
            }
        };
        progress.dials(route.address());
        let sending = route.client().post(target.url.clone(), body);
        let following = Arc::clone(&progress);
        self.running.push(Attempt {
            route: Arc::clone(route),
            progress,
            sending: Box::pin(async move { following.follow(sending).await }),
            limit,
            timer: None,
        });
        self.stagger = Some(Box::pin(sleep(STAGGER)));
    }

    /// Polls every attempt; ready when one has decided the exchange and ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Arc<Route>, Result<Response, Broken>)> {
        let mut index = 0;
        while let Some(attempt) = self.running.get_mut(index) {
            let polled = attempt.poll(context);
            let is_past_tcp = attempt.progress.phase() >= Phase::Tls;
            match polled {
                Poll::Ready(result) => {
                    let attempt = self.running.swap_remove(index);
                    match result {
                        Err(broken) if !is_past_tcp => self.fell(broken, attempt.progress),
                        result => {
                            self.progress.adopt(&attempt.progress);
                            return Poll::Ready((attempt.route, result));
                        }
                    }
                }
                Poll::Pending if is_past_tcp => {
                    self.progress.adopt(&attempt.progress);
                    self.running.swap(0, index);
                    self.running.truncate(1);
                    self.is_decided = true;
                    break;
                }
                Poll::Pending => index += 1,
            }
        }
        Poll::Pending
    }

    /// An attempt came to no connection. A failure of this host says less than one of the other side.
    fn fell(&mut self, broken: Broken, progress: Arc<Progress>) {
        self.stagger = None;
        match &self.failed {
            Some((before, its)) if !before.is_local(its) || broken.is_local(&progress) => {}
            _ => self.failed = Some((broken, progress)),
        }
    }

    fn wants_another(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.stagger {
            Some(stagger) => stagger.poll_unpin(context).is_ready(),
            None => true,
        }
    }

    fn failure(&mut self) -> Broken {
        let (broken, progress) = self.failed.take().expect("every attempt has failed");
        self.progress.adopt(&progress);
        broken
    }
}

impl Attempt {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Response, Broken>> {
        if let Poll::Ready(result) = self.sending.poll_unpin(context) {
            return Poll::Ready(result.map_err(Broken::Request));
        }
        if self.progress.is_connecting() {
            let limit = self.limit;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            if timer.poll_unpin(context).is_ready() {
                return Poll::Ready(Err(Broken::ConnectDeadline));
            }
        }
        Poll::Pending
    }
}

impl Broken {
    fn is_local(&self, progress: &Progress) -> bool {
        let dialled = progress.remote_addr().map(|address| address.ip());
        match self {
            Self::Request(error) => fault::is_of_this_host(&**error, dialled),
            Self::ConnectDeadline => false,
        }
    }
}
