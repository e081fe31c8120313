//! Signing in with the token, and out.

use axum::Extension;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::cookie;
use super::page::{ErrorPage, Page, Section, see_other};
use super::paths::{PATH, SIGN_IN_PATH};
use super::session::{AGE_MAX, Refused};
use super::state::{Console, RequestContext};
use super::text::duration;
use crate::domain::Secret;

/// The longest name that somebody signs in with.
const NAME_CHARACTERS_MAX: usize = 60;

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub(super) struct NextQuery {
    #[serde(default)]
    next: String,
}

/// What somebody shows to be let in.
#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    token: Secret,
    #[serde(default)]
    next: String,
}

pub(super) async fn ask(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(query): Query<NextQuery>,
) -> Response {
    let next = destination(&query.next);
    if console.token().is_none() {
        return without_token(&console, &context);
    }
    form(&context, StatusCode::OK, next, "", None)
}

pub(super) async fn submit(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Form(credentials): Form<Credentials>,
) -> Response {
    let next = destination(&credentials.next);
    let name = credentials.name.trim();
    let refuse = |status, words: &str| form(&context, status, next, name, Some(words));
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        let words = format!("Give your name, in at most {NAME_CHARACTERS_MAX} characters.");
        return refuse(StatusCode::BAD_REQUEST, &words);
    }
    let token = console.token();
    let opened = console.sessions().open(
        token.as_ref(),
        credentials.token.expose().trim(),
        name,
        context.now,
    );
    match opened {
        Ok(cookie) => {
            tracing::info!(name, "signed in to the console");
            let mut response = see_other(next);
            let cookie = cookie::set(&cookie, AGE_MAX.as_secs(), context.is_tls);
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(Refused::NoToken) => without_token(&console, &context),
        Err(Refused::WrongToken) => {
            tracing::warn!(name, "a wrong token was shown to the console");
            refuse(StatusCode::FORBIDDEN, "This is not the token.")
        }
        Err(Refused::TooManyGuesses(wait)) => {
            tracing::warn!(name, "the console's token is being guessed");
            let words = format!(
                "Too many wrong tokens were tried. Try again in {}.",
                duration(wait)
            );
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &words);
            let seconds = wait.as_secs() + 1;
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
            response
        }
    }
}

/// What a form without further fields carries.
#[derive(Debug, Deserialize)]
pub(super) struct Leaving {
    csrf: String,
}

pub(super) async fn leave(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    Form(form): Form<Leaving>,
) -> Response {
    let ours = context
        .operator
        .as_ref()
        .is_some_and(|operator| operator.has_made(&form.csrf));
    if !ours {
        let words = "This form is not of your session; reload the page and try again.";
        return ErrorPage::Forbidden(words.to_owned()).answer(&context);
    }
    if let Some(cookie) = cookie::of_session(&headers) {
        console.sessions().close(cookie);
    }
    let mut response = see_other(PATH);
    let gone = cookie::set("", 0, context.is_tls);
    response.headers_mut().insert(header::SET_COOKIE, gone);
    response
}

/// A path of the console; whatever else `next` is leads to its first page.
fn destination(next: &str) -> &str {
    let inside = next
        .strip_prefix(PATH)
        .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    match inside {
        Some(_) if is_plain => next,
        _ => PATH,
    }
}

fn form(
    context: &RequestContext,
    status: StatusCode,
    next: &str,
    name: &str,
    refused: Option<&str>,
) -> Response {
    let page = Page {
        section: Section::Elsewhere,
        title: "Sign in",
        searched: "",
        body: html! {
            @if let Some(words) = refused {
                p .notice .bad role="alert" { (words) }
            }
            p {
                "Actions need the token that stands in the keys file as "
                code { "[console] token" } "."
            }
            form method="post" action=(SIGN_IN_PATH) {
                input type="hidden" name="next" value=(next);
                div .field {
                    label for="name" { "Your name" }
                    input #name name="name" required maxlength=(NAME_CHARACTERS_MAX)
                        autocomplete="username" aria-describedby="name-hint" value=(name);
                    small #name-hint { "Each action is recorded with it." }
                }
                div .field {
                    label for="token" { "Token" }
                    input #token name="token" type="password" required autocomplete="current-password";
                }
                button { "Sign in" }
            }
            (back(next))
        },
    };
    page.answer(status, context)
}

/// A browser that follows a link from elsewhere does not send the cookie of a session; from here it
/// does.
fn back(next: &str) -> Markup {
    html! {
        @if next != PATH {
            p .actions { a href=(next) { "I have signed in already: go on to the page" } }
        }
    }
}

/// Nobody can sign in: says how to change that.
fn without_token(console: &Console, context: &RequestContext) -> Response {
    let page = Page {
        section: Section::Elsewhere,
        title: "Sign in",
        searched: "",
        body: html! {
            p .notice .bad role="alert" {
                "No token is set, so nobody can sign in"
                @if console.open_to_readers { "; the console is for reading only." }
                @else { ", and without signing in nothing is shown here, as the port is open to others." }
            }
            p { "Add one to the keys file, for instance from " code { "openssl rand -hex 24" } ", and reload:" }
            pre { code { "[console]\ntoken = \"…\"" } }
        },
    };
    page.answer(StatusCode::FORBIDDEN, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_else() {
        for good in [
            "/console",
            "/console/callbacks/7",
            "/console/search?q=1%202",
            "/console?range=6h",
        ] {
            assert_eq!(destination(good), good);
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/console",
            "/console.evil.example",
            "/consoles",
            "/console/\r\nSet-Cookie: a=b",
            "/console/\\evil.example",
        ] {
            assert_eq!(destination(bad), PATH, "{bad:?}");
        }
    }
}
