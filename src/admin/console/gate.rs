//! Checks every request before its page is made, and says in every answer what the browser may not do.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::page::{self, ErrorPage};
use super::paths::{self, ICON_PATH, PATH, SIGN_IN_PATH, STYLE_PATH};
use super::state::{Console, RequestContext};
use super::{cookie, origin};

/// What answers may do in a browser: show themselves with our style, and send forms to us. Nothing
/// that slipped through the escaping could run, load, frame or call home.
fn headers() -> [(HeaderName, HeaderValue); 5] {
    [
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
            ),
        ),
        // Not `no-referrer`: then a browser would send our own forms with `Origin: null`.
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        // For browsers without `frame-ancestors`.
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}

/// Lets a request through to its page, or answers it.
pub(super) async fn guard(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&console, &request) {
        Ok(context) => {
            request.extensions_mut().insert(context);
            next.run(request).await
        }
        Err(answer) => *answer,
    };
    for (name, value) in headers() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn admit(console: &Console, request: &Request) -> Result<RequestContext, Box<Response>> {
    let (method, headers) = (request.method(), request.headers());
    let is_tls = origin::judge(method, headers, &console.names).map_err(|rejection| {
        let words = format!("{rejection}\n");
        Box::new((StatusCode::FORBIDDEN, words).into_response())
    })?;
    let now = console.clock.now();
    let token = console.token();
    let operator = cookie::of_session(headers)
        .and_then(|cookie| console.sessions().operator(token.as_ref(), cookie, now));
    let context = RequestContext {
        operator,
        now,
        is_tls,
    };
    let path = request.uri().path();
    let is_for_all = [SIGN_IN_PATH, STYLE_PATH, ICON_PATH].contains(&path);
    if console.open_to_readers || context.operator.is_some() || is_for_all {
        return Ok(context);
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        let uri = request.uri().path_and_query();
        let wanted = uri.map_or(PATH, |uri| uri.as_str());
        return Err(Box::new(page::see_other(&paths::sign_in(wanted))));
    }
    let error_page = ErrorPage::Forbidden("Sign in first.".to_owned());
    Err(Box::new(error_page.answer(&context)))
}

/// There is no such page.
pub(super) async fn not_found(Extension(context): Extension<RequestContext>) -> Response {
    ErrorPage::NotFound("There is no such page in the console.").answer(&context)
}
