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
//! | `state` | what all pages are made from |
//! | `page`, `paths`, `text`, `show`, `plot` | how things are shown |
//! | the others | one kind of page each |
//!
//! - A page costs by what it shows, never by the size of the queue: searches and lists go by index and
//!   have limits, plots come from [`History`](crate::admin::history::History), counts from the newest run of the housekeeping job that counts.
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
mod cookie;
mod gate;
mod health;
mod merchants;
mod origin;
mod page;
mod paths;
mod plot;
mod queue;
mod search;
mod session;
mod show;
mod sign_in;
mod state;
mod text;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use paths::{ICON_PATH, PATH, STYLE_PATH};

pub use session::Token;
pub use state::{Console, ConsoleParts, CurrentConvention};

/// A form is a few lines.
const FORM_BYTES_MAX: usize = 16 * 1024;

impl Console {
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
