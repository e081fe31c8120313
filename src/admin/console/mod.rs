//! The console: pages for people on the admin port.
//!
//! Rendered here on the server with maud, whose templates are checked by the compiler and escape every
//! text that they take in. No script, no build step, no file beside the program.
//!
//! | caller | may |
//! |---|---|
//! | anyone who reaches the port, if it listens on loopback | read |
//! | an operator who has shown `[console] token` of the keys file | read, and act |
//!
//! | file | what |
//! |---|---|
//! | `gate` | checks every request before its page is made, and adds headers to every answer |
//! | `origin` | the rule for where a request may come from |
//! | `session` | the operators who have shown the token |
//! | `page`, `text`, `show`, `plot` | how things are shown |
//! | the others | one kind of page each |
//!
//! - A page costs by what it shows, never by the size of the queue: searches and lists go by index and
//!   have limits, plots come from [`History`], counts from the newest count of the chore that makes them.
//!   Only the health of merchants is a walk over a day, made at most every quarter of a minute and
//!   shown with its time.
//! - An action is a row in `operator_command` with the name of who is signed in. The dispatcher carries
//!   it out; nothing here changes a callback.
//!
//! Deliberately absent: accounts. There is one token; the name that somebody signs in with is what
//! they say, and is kept with each action as that.

mod act;
mod callback;
mod callbacks;
mod command;
mod gate;
mod merchants;
mod origin;
mod page;
mod plot;
mod queue;
mod search;
mod session;
mod show;
mod sign_in;
mod text;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::sync::watch;

use super::{Beat, History};
use crate::clock::SharedClock;
use crate::domain::{Convention, Timestamp};
use crate::store::{Commands, Inspection};
use merchants::Health;
use session::{Operator, Sessions};

pub use session::Token;

/// Where the console is.
pub(super) const PATH: &str = "/console";

/// What a page looks like.
const STYLE_PATH: &str = "/console/style.css";

/// What a tab is known by.
const ICON_PATH: &str = "/console/icon.svg";

/// A form is a few lines.
const FORM_BYTES_MAX: usize = 16 * 1024;

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
struct RequestContext {
    /// `None`: nobody has signed in.
    operator: Option<Operator>,
    /// When the request came.
    now: Timestamp,
    /// Whether the browser speaks TLS to a proxy in front of us.
    is_tls: bool,
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

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn health(&self) -> &Health {
        &self.0.health
    }

    /// The token that is in force.
    fn token(&self) -> Option<Token> {
        *self.token.borrow()
    }

    /// Every path of the console.
    pub fn router(self) -> Router {
        let at = |path: &str| format!("{PATH}{path}");
        let pages = Router::new()
            .route(PATH, get(queue::show))
            .route(&at("/search"), get(search::show))
            .route(&at("/callbacks"), get(callbacks::show))
            .route(&at("/callbacks/{id}"), get(callback::show))
            .route(&at("/merchants"), get(merchants::show))
            .route(&at("/commands"), get(command::show_newest))
            .route(&at("/commands/{id}"), get(command::show))
            .route(&at("/act"), get(act::ask).post(act::submit))
            .route(&at("/sign-in"), get(sign_in::ask).post(sign_in::submit))
            .route(&at("/sign-out"), post(sign_in::leave))
            .route(STYLE_PATH, get(style))
            .route(ICON_PATH, get(icon))
            .route(&at("/"), get(home))
            .route(&at("/{*elsewhere}"), any(gate::not_found));
        pages
            .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
            .layer(from_fn_with_state(self.clone(), gate::guard))
            .route("/", get(home))
            .with_state(self)
    }
}

async fn home() -> Response {
    page::see_other(PATH)
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("style.css"))
}

async fn icon() -> Response {
    asset("image/svg+xml", include_str!("icon.svg"))
}

fn asset(content_type: &'static str, content: &'static str) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    (StatusCode::OK, content_type, content).into_response()
}
