//! What the console is made from, and what a page knows of its request.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::health::Health;
use super::session::{Operator, Sessions, Token};
use crate::admin::beat::Beat;
use crate::admin::history::History;
use crate::clock::SharedClock;
use crate::domain::{Convention, Timestamp};
use crate::store::{Commands, Inspection};

/// Tells how messages are signed now. Must be quick.
pub type CurrentConvention = Arc<dyn Fn() -> Convention + Send + Sync>;

/// What the console is made from.
#[derive(Clone)]
pub struct ConsoleParts {
    /// What pages are about. Of its own, so that a long read of others delays no page.
    pub inspection: Arc<dyn Inspection>,
    /// What walks over a day are made with: they delay whoever shares it.
    pub slow_inspection: Arc<dyn Inspection>,
    /// Where actions are written.
    pub commands: Arc<dyn Commands>,
    /// The counts that plots are drawn from.
    pub history: Arc<History>,
    /// Whether the dispatcher lives.
    pub beat: Arc<Beat>,
    /// The time.
    pub clock: SharedClock,
    /// How messages are signed now, to show what was sent.
    pub convention: CurrentConvention,
    /// What operators show to act; `None`: nobody may.
    pub token: watch::Receiver<Option<Token>>,
    /// Names that the console goes by, besides `localhost` and addresses.
    pub names: Vec<String>,
    /// Whether those without a token may read: only where nobody else can reach the port.
    pub open_to_readers: bool,
}

impl fmt::Debug for ConsoleParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleParts")
            .field("inspection", &self.inspection)
            .field("names", &self.names)
            .field("open_to_readers", &self.open_to_readers)
            .finish_non_exhaustive()
    }
}

/// The console, ready to answer.
#[derive(Clone, Debug)]
pub struct Console(Arc<State>);

#[derive(Debug)]
struct State {
    parts: ConsoleParts,
    sessions: Sessions,
    health: Health,
}

impl std::ops::Deref for Console {
    type Target = ConsoleParts;

    fn deref(&self) -> &ConsoleParts {
        &self.0.parts
    }
}

/// Who asks for a page, and when.
#[derive(Clone, Debug)]
pub(super) struct RequestContext {
    /// `None`: nobody has signed in.
    pub(super) operator: Option<Operator>,
    /// When the request came.
    pub(super) now: Timestamp,
    /// Whether the browser speaks TLS to a proxy in front of us.
    pub(super) is_tls: bool,
}

impl Console {
    /// One without sessions yet.
    pub fn new(parts: ConsoleParts) -> Self {
        Self(Arc::new(State {
            parts,
            sessions: Sessions::default(),
            health: Health::default(),
        }))
    }

    /// Why nobody sees anything of it; `None`: somebody does.
    pub fn closed(&self) -> Option<&'static str> {
        let is_closed = !self.open_to_readers && self.token().is_none();
        is_closed.then_some(
            "the console is closed: the admin port is open to others and the keys file has no \
             [console] token; add one and reload",
        )
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(super) fn health(&self) -> &Health {
        &self.0.health
    }

    /// The token that is in force.
    pub(super) fn token(&self) -> Option<Token> {
        *self.token.borrow()
    }
}
