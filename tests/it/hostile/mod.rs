//! Merchants that do the worst they can, against the whole daemon over real sockets.
//!
//! Each family is a table. A row is what a server does on its connection, and how the attempt must
//! be recorded: outcome, status, words in the detail, and the limit that it waits for, if any. All
//! rows of a family run at once in one daemon, each on a port of its own, and beside them a healthy
//! merchant that must be served as if they were not there. `scripts/hostile` runs all of them and
//! prints the counts.
//!
//! | family | what is hostile |
//! |---|---|
//! | [`phases`] | hanging, dripping, closing and resetting at each phase |
//! | [`floods`] | more than anyone wants to read |
//! | [`framing`] | heads, lengths and chunks that no server should send |
//! | [`bodies`] | well-framed bodies that are not what they seem |
//! | [`redirects`] | answers that want another request, and inward URLs |
//! | [`handshakes`] | certificates, versions and handshakes of TLS |
//! | [`names`] | resolvers that hang, fail or point inward |
//! | [`kept`] | connections that are closed while they are kept |
//! | [`memory`] | the floods again, measured in a process of its own |
//! | [`probe`] | the same servers as the command `probe` sees them |
//! | [`programs`] | nginx, Node, Python and PHP, which are not hostile, only real |

mod bodies;
mod case;
mod certificates;
mod floods;
mod framing;
mod gateway;
mod handshakes;
mod kept;
mod leftovers;
mod memory;
mod names;
mod phases;
mod probe;
mod programs;
mod redirects;
mod server;
mod tally;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Stopwatch, SystemClock};
use callback_dispatcher::merchant::{Answer, MockMerchant};
use callback_dispatcher::store::ShownState;

use super::live::Daemon;
use crate::support::callback::insert;
use crate::support::place::Place;
use crate::support::waiting::until;
use case::{Case, Target, and_over_tls};
use certificates::Authority;
use gateway::Gateway;
use server::{Act, Server};
use tally::Tally;

/// `delivery.connect_timeout` and `delivery.timeout` here: short, but long enough for a handshake
/// on a machine that is busy with other things.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(3);

/// By how much an attempt may miss its limit on such a machine.
const MARGIN: Duration = Duration::from_millis(1500);

/// Runs plain rows over plain TCP and over TLS.
async fn run_both(family: &str, cases: Vec<Case>) {
    let authority = Authority::new("The Authority");
    let cases = and_over_tls(cases, &authority.identity().server());
    run(family, &authority.file(), cases).await;
}

/// A row under way.
struct Trial {
    case: Case,
    order: String,
    server: Server,
    url: String,
}

impl Trial {
    async fn begin(case: Case, order: String) -> Self {
        let acts = case.acts.clone();
        let (server, scheme) = match &case.target {
            Target::Plain => (Server::plain(acts).await, "http"),
            Target::Raw | Target::Elsewhere(_) => (Server::plain(acts).await, "https"),
            Target::Tls(config) => (Server::tls(Arc::clone(config), acts).await, "https"),
            Target::Mistaken(config) => (Server::tls(Arc::clone(config), acts).await, "http"),
        };
        let url = match case.target {
            Target::Elsewhere(address) => format!("https://{address}/callback"),
            _ => server.url(scheme),
        };
        Self {
            case,
            order,
            server,
            url,
        }
    }

    /// What is wrong with how it went.
    async fn faults(&self, daemon: &Daemon) -> Vec<String> {
        let ending = &self.case.ending;
        let attempts = daemon.attempts(&self.order).await;
        let mut faults = Vec::new();
        match attempts.as_slice() {
            [attempt] => {
                let wrong = ending.faults(attempt);
                if !wrong.is_empty() {
                    faults.push(format!("{wrong:?} is wrong: {ending:?}, {attempt:?}"));
                }
            }
            others => faults.push(format!("{} attempts", others.len())),
        }
        let delivered = daemon.callback(&self.order).await.state == ShownState::Delivered;
        if delivered != (ending.outcome == "acknowledged") {
            faults.push("the callback's state is another".to_owned());
        }
        // No second sending on a connection that was new, no redirect, no challenge answered.
        let elsewhere = matches!(self.case.target, Target::Elsewhere(_));
        let (connections, requests) = (self.server.connections(), self.server.requests().len());
        if connections != usize::from(!elsewhere) || requests > 1 {
            faults.push(format!("{connections} connections, {requests} requests"));
        }
        faults
    }

    /// Whether the server would go on for ever if the connection were left open.
    fn is_endless(&self) -> bool {
        let is_endless = |act: &Act| matches!(act, Act::Hang | Act::Flood { .. } | Act::Drip(_));
        self.case.acts.iter().any(is_endless)
    }
}

/// Runs a family's rows at once; each must end as its row says.
async fn run(family: &str, authority: &Path, cases: Vec<Case>) {
    let place = Place::new();
    let daemon = start(&place, authority).await;
    let healthy = place.merchant_at(Answer::Ack, Arc::new(SystemClock)).await;
    let mut trials = Vec::new();
    for case in cases {
        let order = format!("{family}-{}", trials.len());
        trials.push(Trial::begin(case, order).await);
    }
    let gateway = Gateway::of(&place);
    let callbacks = trials.iter();
    gateway.queue(callbacks.map(|trial| (trial.url.as_str(), trial.order.as_str())));
    let attempted = async {
        for trial in &trials {
            until_attempted(&daemon, &trial.order).await;
        }
    };
    let served = beside(&daemon, &healthy, &gateway, attempted).await;

    let mut tally = Tally {
        cases: trials.len(),
        healthy: served,
        ..Tally::default()
    };
    let mut wrong = Vec::new();
    for trial in &trials {
        let faults = trial.faults(&daemon).await;
        if faults.is_empty() {
            tally.passed += 1;
        } else {
            wrong.push(format!("{}: {}", trial.case.name, faults.join("; ")));
        }
        tally.connections += trial.server.connections();
        tally.requests += trial.server.requests().len();
        tally.bytes_sent += trial.server.bytes_sent();
    }
    tally.report(family);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for trial in trials.iter().filter(|trial| trial.is_endless()) {
        let what = format!("{}: the connection is closed", trial.case.name);
        until(&what, async || trial.server.open() == 0).await;
    }
    daemon.stop().await;
}

/// A daemon with the limits above, which trusts `authority`.
async fn start(place: &Place, authority: &Path) -> Daemon {
    let seconds = |limit: Duration| format!("{}s", limit.as_secs());
    let changes = [
        ("DELIVERY__CONNECT_TIMEOUT", seconds(CONNECT_LIMIT)),
        ("DELIVERY__TIMEOUT", seconds(LIMIT)),
        (
            "EGRESS__EXTRA_CA_FILE",
            authority.to_str().expect("a plain path").to_owned(),
        ),
    ];
    let changes = changes
        .each_ref()
        .map(|(key, value)| (*key, value.as_str()));
    Daemon::start(place, &changes).await
}

/// Returns once an attempt is in the log, for a row that may have to be committed yet.
async fn until_attempted(daemon: &Daemon, order: &str) {
    let attempted = async || match daemon.found(order).await {
        Some(callback) => callback.attempts > 0 || callback.last_outcome.is_some(),
        None => false,
    };
    until(&format!("{order} is attempted"), attempted).await;
}

/// Delivers to the healthy merchant, one callback after the other, until `done`; returns how many.
/// Each is served as if nothing else went on.
async fn beside(
    daemon: &Daemon,
    healthy: &MockMerchant,
    gateway: &Gateway,
    done: impl Future<Output = ()>,
) -> usize {
    let over = Cell::new(false);
    let done = async {
        done.await;
        over.set(true);
    };
    let serve = async {
        let mut served = 0;
        while served == 0 || !over.get() {
            let order = format!("healthy-{served}");
            let watch = Stopwatch::start();
            let url = healthy.url("/callback");
            gateway.queue([(url.as_str(), order.as_str())]);
            until_attempted(daemon, &order).await;
            let state = daemon.callback(&order).await.state;
            assert_eq!(state, ShownState::Delivered, "{order}");
            let took = watch.elapsed();
            assert!(took < MARGIN, "a healthy merchant waited {took:?}");
            served += 1;
        }
        served
    };
    tokio::join!(done, serve).1
}
