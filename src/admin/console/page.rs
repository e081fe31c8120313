//! What every page has: its head, navigation, search, and the operator who is signed in.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::paths::{ICON_PATH, PATH, STYLE_PATH};
use super::state::RequestContext;
use super::text::{Moment, Untrusted};
use crate::domain::visible_lines;
use crate::store::StoreError;

/// The longest order number that is looked for.
pub(super) const SEARCH_CHARACTERS_MAX: usize = 200;

/// Where in the console a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Queue,
    Exhausted,
    Merchants,
    Commands,
    /// None of the navigation's.
    Elsewhere,
}

const NAVIGATION: [(Section, &str, &str); 4] = [
    (Section::Queue, "", "Queue"),
    (
        Section::Exhausted,
        "/callbacks?state=exhausted",
        "Exhausted",
    ),
    (Section::Merchants, "/merchants", "Merchants"),
    (Section::Commands, "/commands", "Commands"),
];

/// One page.
pub(super) struct Page<'a> {
    pub(super) section: Section,
    /// Also the heading, which tells pages apart.
    pub(super) title: &'a str,
    /// What stands in the search field.
    pub(super) searched: &'a str,
    /// What follows the heading.
    pub(super) body: Markup,
}

impl Page<'_> {
    /// The page as an answer with `status`.
    pub(super) fn answer(&self, status: StatusCode, context: &RequestContext) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (status, content_type, self.markup(context).into_string()).into_response()
    }

    /// The page as an answer that all is well.
    pub(super) fn ok(&self, context: &RequestContext) -> Response {
        self.answer(StatusCode::OK, context)
    }

    fn markup(&self, context: &RequestContext) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · callback-dispatcher" }
                    link rel="icon" type="image/svg+xml" href=(ICON_PATH);
                    link rel="stylesheet" href=(STYLE_PATH);
                }
                body {
                    a .skip href="#main" { "Skip to the content" }
                    (self.header(context))
                    main #main tabindex="-1" {
                        h1 { (self.title) }
                        (self.body)
                    }
                    footer {
                        p {
                            "callback-dispatcher " (env!("CARGO_PKG_VERSION"))
                            " · this page shows " (Moment(context.now))
                        }
                    }
                }
            }
        }
    }

    fn header(&self, context: &RequestContext) -> Markup {
        html! {
            header {
                nav aria-label="Console" {
                    ul {
                        @for (section, path, name) in NAVIGATION {
                            li {
                                a href={ (PATH) (path) }
                                    aria-current=[(section == self.section).then_some("page")] { (name) }
                            }
                        }
                    }
                }
                form .search role="search" method="get" action={ (PATH) "/search" } {
                    label for="q" { "Order number, refund number or id" }
                    input #q name="q" type="search" required autocomplete="off" spellcheck="false"
                        maxlength=(SEARCH_CHARACTERS_MAX) value=(visible_lines(self.searched));
                    button { "Search" }
                }
                (who(context))
            }
        }
    }
}

/// Who is signed in, or where to sign in.
fn who(context: &RequestContext) -> Markup {
    match &context.operator {
        Some(operator) => html! {
            form .who method="post" action={ (PATH) "/sign-out" } {
                (csrf_field(&operator.csrf))
                span { "Signed in as " (Untrusted(&operator.name)) }
                button .quiet { "Sign out" }
            }
        },
        None => html! {
            p .who { a href={ (PATH) "/sign-in" } { "Sign in" } }
        },
    }
}

/// The field by which a form is known as one of ours.
pub(super) fn csrf_field(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}

/// The page that is shown instead of one that could not be made.
pub(super) enum ErrorPage {
    /// Nothing has this address.
    NotFound(&'static str),
    /// The request makes no sense.
    Nonsense(String),
    /// The caller may not do this.
    Forbidden(String),
    /// The store did not answer.
    Store(StoreError),
}

impl From<StoreError> for ErrorPage {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl ErrorPage {
    /// The page as an answer with its status.
    pub(super) fn answer(self, context: &RequestContext) -> Response {
        let (status, title, words) = match self {
            Self::NotFound(what) => (StatusCode::NOT_FOUND, "Not found", what.to_owned()),
            Self::Nonsense(why) => (StatusCode::BAD_REQUEST, "That can't be done", why),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "Not allowed", why),
            Self::Store(error) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The queue does not answer",
                error.to_string(),
            ),
        };
        let page = Page {
            section: Section::Elsewhere,
            title,
            searched: "",
            body: html! { p .notice .bad role="alert" { (Untrusted(words)) } },
        };
        page.answer(status, context)
    }
}

/// Sends the browser on to another page of the console, by GET.
pub(super) fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}
