//! The cookie of a session.

use axum::http::{HeaderMap, HeaderValue, header};

use super::paths::PATH;

/// The name of the cookie that a session is known by.
const COOKIE: &str = "callback-dispatcher-console";

/// What the cookie of a session holds.
pub(super) fn of_session(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// The header that gives the browser a session's cookie for `seconds`, or takes it away with 0.
///
/// The cookie is out of reach of scripts, is sent by no page but ours, and over nothing but TLS if
/// it was given that way.
pub(super) fn set(value: &str, seconds: u64, is_tls: bool) -> HeaderValue {
    let secure = if is_tls { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut header = HeaderValue::try_from(text).expect("hex digits and words are a header");
    header.set_sensitive(true);
    header
}
