//! How far an exchange has come.
//!
//! reqwest gives one error for everything before the head and takes no observer. So the exchange's
//! task carries a [`Progress`], and the resolver, the connector and the TLS sessions report to the
//! one of the task that polls them.
//!
//! That is right although connections are shared. hyper polls a new connection first in the task
//! that wants it. If another connection becomes free meanwhile, the exchange takes that one, and the
//! half-made connection moves to a task of its own, which carries no progress. The mark `connecting`
//! shows whether the exchange still waits for its connector: it is cleared before each poll of the
//! exchange, and set by the connector if that poll reaches it.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use tokio::time::Instant;

use super::PhaseTimes;
use super::retry_after::retry_after;
use crate::clock::Stopwatch;
use crate::domain::Phase;

tokio::task_local! {
    static CURRENT: Arc<Progress>;
}

/// The two ends of a TCP connection; no two open ones are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// One exchange's progress.
#[derive(Debug)]
pub(super) struct Progress {
    watch: Stopwatch,
    // Locked by one task at a time, for a few stores.
    marks: Mutex<Marks>,
    /// Only for a probe.
    notes: Option<Mutex<Notes>>,
}

/// What came from outside, unchanged.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Every address that the resolver answered, before the policy judged them.
    pub(super) addresses: Vec<IpAddr>,
    /// The headers of the answer.
    pub(super) headers: HeaderMap,
}

/// Moments are counted from the start of the exchange.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    sent_at: Duration,
    connecting: bool,
    connector_called: Option<Duration>,
    dns_begun: Option<Duration>,
    dns_ended: Option<Duration>,
    tls_begun: Option<Duration>,
    connected: Option<Duration>,
    made: Option<Ends>,
    dialled: Option<SocketAddr>,
    head: Option<(Duration, u16)>,
    /// The connection that the answer came along.
    along: Option<Ends>,
    ended: Option<Duration>,
    retry_after: Option<Duration>,
    waits_for_place: bool,
}

impl Progress {
    pub(super) fn start(watch: Stopwatch) -> Arc<Self> {
        Arc::new(Self {
            watch,
            marks: Mutex::default(),
            notes: None,
        })
    }

    /// A progress that also takes [`Notes`].
    pub(super) fn with_notes(watch: Stopwatch) -> Arc<Self> {
        Arc::new(Self {
            watch,
            marks: Mutex::default(),
            notes: Some(Mutex::default()),
        })
    }

    /// The instant `wait` after the start of the exchange.
    pub(super) fn deadline(&self, wait: Duration) -> Instant {
        self.watch.deadline(wait)
    }

    /// What was noted, if anything was to be.
    pub(super) fn notes(&self) -> Notes {
        let notes = self.notes.as_ref().map(|notes| locked(notes).clone());
        notes.unwrap_or_default()
    }

    /// Notes the headers of the answer.
    pub(super) fn note_headers(&self, headers: &HeaderMap) {
        self.marks().retry_after = retry_after(headers);
        if let Some(notes) = &self.notes {
            locked(notes).headers = headers.clone();
        }
    }

    /// Runs `sending`, whose parts report to this progress.
    pub(super) async fn follow<F: Future>(self: &Arc<Self>, sending: F) -> F::Output {
        let mut sending = pin!(CURRENT.scope(Arc::clone(self), sending));
        poll_fn(|context| {
            self.marks().connecting = false;
            sending.as_mut().poll(context)
        })
        .await
    }

    /// A progress for another attempt at the same exchange, at another address.
    pub(super) fn sibling(&self) -> Arc<Self> {
        let mut marks = *self.marks();
        marks.forget_connector();
        Arc::new(Self {
            watch: self.watch,
            marks: Mutex::new(marks),
            notes: None,
        })
    }

    /// Takes over what `other`, a sibling or this one itself, has come to.
    pub(super) fn adopt(self: &Arc<Self>, other: &Arc<Self>) {
        if !Arc::ptr_eq(self, other) {
            let marks = *other.marks();
            *self.marks() = marks;
        }
    }

    /// The name is being looked up.
    pub(super) fn lookup_begun(&self) {
        let now = self.watch.elapsed();
        let mut marks = self.marks();
        marks.connecting = true;
        marks.dns_begun = Some(now);
        marks.dns_ended = None;
    }

    /// The resolver has answered; nothing is judged yet.
    pub(super) fn lookup_ended(&self, addresses: &[IpAddr]) {
        let now = self.watch.elapsed();
        let mut marks = self.marks();
        marks.connecting = false;
        marks.dns_ended = Some(now);
        marks.sent_at = now;
        drop(marks);
        if let Some(notes) = &self.notes {
            locked(notes).addresses = addresses.to_vec();
        }
    }

    /// The lookup waits until others of the same app have ended, or no more.
    pub(super) fn waits_for_place(&self, waits: bool) {
        self.marks().waits_for_place = waits;
    }

    pub(super) fn is_waiting_for_place(&self) -> bool {
        self.marks().waits_for_place
    }

    /// An attempt at this address begins; `None` if only the proxy knows it.
    pub(super) fn dials(&self, address: Option<IpAddr>) {
        // Port 0 stands for the URL's.
        self.marks().dialled = address.map(|address| SocketAddr::new(address, 0));
    }

    /// Whether the exchange waits for its connector.
    pub(super) fn is_connecting(&self) -> bool {
        let marks = self.marks();
        marks.connecting && marks.head.is_none()
    }

    /// The exchange starts over on a connection of its own.
    pub(super) fn resend(&self) {
        let sent_at = self.watch.elapsed();
        *self.marks() = Marks {
            sent_at,
            ..Marks::default()
        };
    }

    /// The head of the answer has come. `ends` are those of its connection.
    pub(super) fn head_came(&self, status: u16, ends: Option<Ends>) {
        let now = self.watch.elapsed();
        let mut marks = self.marks();
        marks.head = Some((now, status));
        marks.along = ends;
        marks.dialled = ends.map(|ends| ends.remote);
        if ends != marks.made {
            marks.forget_connector();
        }
    }

    /// The body is read.
    pub(super) fn ended(&self) {
        let now = self.watch.elapsed();
        self.marks().ended = Some(now);
    }

    /// Whether a connection with these ends was made before this exchange wanted one.
    pub(super) fn is_kept(&self, ends: Ends) -> bool {
        self.marks().made != Some(ends)
    }

    /// The connection that an answer has come along.
    pub(super) fn along(&self) -> Option<Ends> {
        self.marks().along
    }

    /// The status of the answer whose head has come.
    pub(super) fn status(&self) -> Option<u16> {
        self.marks().head.map(|(_, status)| status)
    }

    /// For how long the answer asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.marks().retry_after
    }

    /// The dialled address, as far as known. Port 0 stands for the URL's.
    pub(super) fn remote_addr(&self) -> Option<SocketAddr> {
        self.marks().dialled
    }

    /// The stage the exchange is in.
    pub(super) fn phase(&self) -> Phase {
        let marks = *self.marks();
        if marks.head.is_some() {
            Phase::Body
        } else if !marks.connecting {
            Phase::Head
        } else if marks.tls_begun.is_some() {
            Phase::Tls
        } else if marks.dns_begun.is_some() && marks.dns_ended.is_none() {
            Phase::Dns
        } else {
            Phase::Connect
        }
    }

    pub(super) fn phase_times(&self) -> PhaseTimes {
        self.marks().phase_times()
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        locked(&self.marks)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Marks {
    /// The lookup stays: an exchange makes it before it wants a connection.
    fn forget_connector(&mut self) {
        *self = Self {
            sent_at: self.sent_at,
            head: self.head,
            along: self.along,
            dialled: self.dialled,
            dns_begun: self.dns_begun,
            dns_ended: self.dns_ended,
            ..Self::default()
        };
    }

    fn phase_times(&self) -> PhaseTimes {
        // Behind a proxy the connector looks its name up.
        let tcp_begun = self.connector_called.max(self.dns_ended);
        let tcp_begun = self.connector_called.and(tcp_begun);
        let tcp_ended = self.tls_begun.or(self.connected);
        let head_begun = self.connected.unwrap_or(self.sent_at);
        let head_ended = self.head.map(|(at, _)| at);
        PhaseTimes {
            dns: between(self.dns_begun, self.dns_ended),
            connect: between(tcp_begun, tcp_ended),
            tls: between(self.tls_begun, self.connected),
            head: between(Some(head_begun), head_ended),
            body: between(head_ended, self.ended),
        }
    }
}

fn between(begun: Option<Duration>, ended: Option<Duration>) -> Option<Duration> {
    Some(ended?.saturating_sub(begun?))
}

/// Reports to the exchange in whose task this is called, if any.
fn tell(what: impl FnOnce(&mut Marks, Duration)) {
    // An error means that no exchange is waiting for this any more.
    let _ = CURRENT.try_with(|progress| {
        let now = progress.watch.elapsed();
        what(&mut progress.marks(), now);
    });
}

/// A connection is wanted. An exchange may want several in turn; reports of an earlier one are void.
pub(super) fn connector_called() {
    tell(|marks, now| {
        marks.forget_connector();
        marks.connecting = true;
        marks.connector_called = Some(now);
    });
}

/// The connector was polled and has no connection yet, or will have none.
pub(super) fn still_connecting() {
    tell(|marks, _| marks.connecting = true);
}

/// The connector has made a connection.
pub(super) fn connected(ends: Option<Ends>) {
    tell(|marks, now| {
        marks.connecting = false;
        marks.connected = Some(now);
        marks.made = ends;
        marks.dialled = ends.map(|ends| ends.remote).or(marks.dialled);
    });
}

/// The connector looks the proxy's name up.
pub(super) fn proxy_lookup_begun() {
    tell(|marks, now| {
        marks.dns_begun = Some(now);
        marks.dns_ended = None;
    });
}

/// The proxy's name is resolved.
pub(super) fn proxy_lookup_ended() {
    tell(|marks, now| marks.dns_ended = Some(now));
}

/// A TLS handshake begins. Behind an https proxy there are two of them; the first counts.
pub(super) fn tls_begun() {
    tell(|marks, now| {
        marks.tls_begun.get_or_insert(now);
    });
}
