//! Whether a request comes from a page of this console: by what browsers say about themselves.
//!
//! Pure: from headers to a [`Rejection`], or none.
//!
//! | attack | what stops it |
//! |---|---|
//! | a name on the internet that is rebound to this address | `Host` must be an address, `localhost`, or a name from `admin.console_names` |
//! | a form on a page elsewhere that posts here | `Origin` must be this host; without one, `Sec-Fetch-Site` must be `same-origin` |
//! | an image, script or fetch elsewhere that reads or times pages here | `Sec-Fetch-Site` other than `same-origin` is only for whoever follows a link |

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, header};
use thiserror::Error;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Why a request is rejected before anything is read or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Rejection {
    /// Its `Host` is a name that we do not go by.
    #[error(
        "this name is not one of the console's; use the address itself or localhost, or add the \
         name to admin.console_names"
    )]
    ForeignHost,
    /// A page of another site has made it.
    #[error(
        "this request was made by a page of another site; open the console itself. If a proxy \
         stands in between, let it pass the Host header on unchanged"
    )]
    ForeignPage,
    /// Nothing says who has made it.
    #[error(
        "nothing says which page has sent this form; use a browser that sends Origin or \
         Sec-Fetch-Site, or callback-dispatcher resend on the command line"
    )]
    UnknownPage,
}

/// Judges a request to a console that goes by `names` besides its addresses. Returns whether the
/// browser speaks TLS, as far as it says so: then a proxy in front of us does it for us.
pub(super) fn judge(
    method: &Method,
    headers: &HeaderMap,
    names: &[String],
) -> Result<bool, Rejection> {
    let host = host(headers, names)?;
    let site = text(headers, &SEC_FETCH_SITE);
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if is_read {
        let follows_a_link = text(headers, &SEC_FETCH_MODE) == Some("navigate");
        return match site {
            None | Some("same-origin" | "none") => Ok(false),
            Some(_) if follows_a_link => Ok(false),
            Some(_) => Err(Rejection::ForeignPage),
        };
    }
    if site.is_some_and(|site| site != "same-origin") {
        return Err(Rejection::ForeignPage);
    }
    match text(headers, &header::ORIGIN) {
        Some(origin) => is_ours(origin, &host).ok_or(Rejection::ForeignPage),
        None if site.is_some() => Ok(false),
        None => Err(Rejection::UnknownPage),
    }
}

/// The one `Host` of the request, if it can't be a name that somebody else has.
fn host(headers: &HeaderMap, names: &[String]) -> Result<Authority, Rejection> {
    let mut all = headers.get_all(header::HOST).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return Err(Rejection::ForeignHost);
    };
    let authority = Authority::try_from(only.as_bytes()).map_err(|_| Rejection::ForeignHost)?;
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_ours = address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(name));
    if is_ours && !authority.as_str().contains('@') {
        Ok(authority)
    } else {
        Err(Rejection::ForeignHost)
    }
}

/// `None`: another origin than `host`. Otherwise whether it is one with TLS.
fn is_ours(origin: &str, host: &Authority) -> Option<bool> {
    let (scheme, authority) = origin.split_once("://")?;
    let is_tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    authority
        .eq_ignore_ascii_case(host.as_str())
        .then_some(is_tls)
}

/// A header that stands there once and is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // A value that is no text is none that a browser has sent; it matches nothing below.
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
    const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");

    fn judged(method: &Method, host: &str, more: &[(&str, &str)]) -> Result<bool, Rejection> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        for (name, value) in more {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        judge(method, &headers, &["Ops.example".to_owned()])
    }

    #[test]
    fn a_rebound_name_reads_nothing() {
        for ours in [
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.0.0.7",
            "localhost:8080",
            "LOCALHOST",
            "ops.example",
            "ops.EXAMPLE:443",
        ] {
            assert_eq!(judged(&Method::GET, ours, &[]), Ok(false), "{ours}");
        }
        for theirs in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "ops.example.evil.example",
            "127.0.0.1.evil.example",
            "ops.example@evil.example",
            "evil@127.0.0.1",
            "",
            "127.0.0.1, evil.example",
        ] {
            let verdict = judged(&Method::GET, theirs, &[]);
            assert_eq!(verdict, Err(Rejection::ForeignHost), "{theirs}");
        }
        let two = judged(&Method::GET, "127.0.0.1", &[("host", "127.0.0.1")]);
        assert_eq!(two, Err(Rejection::ForeignHost));
    }

    #[test]
    fn pages_elsewhere_may_link_here_but_not_read() {
        let navigate = ("sec-fetch-mode", "navigate");
        for (more, expected) in [
            (&[SAME][..], Ok(false)),
            (&[("sec-fetch-site", "none"), navigate], Ok(false)),
            (&[CROSS, navigate], Ok(false)),
            (
                &[CROSS, ("sec-fetch-mode", "no-cors")],
                Err(Rejection::ForeignPage),
            ),
            (
                &[CROSS, ("sec-fetch-mode", "cors")],
                Err(Rejection::ForeignPage),
            ),
            (
                &[("sec-fetch-site", "same-site")],
                Err(Rejection::ForeignPage),
            ),
        ] {
            assert_eq!(
                judged(&Method::GET, "127.0.0.1", more),
                expected,
                "{more:?}"
            );
        }
    }

    #[test]
    fn forms_come_from_our_own_pages() {
        let from = |origin| ("origin", origin);
        for (more, expected) in [
            (&[from("http://127.0.0.1:9464")][..], Ok(false)),
            (&[from("https://127.0.0.1:9464"), SAME], Ok(true)),
            (&[SAME], Ok(false)),
            (&[], Err(Rejection::UnknownPage)),
            (&[from("null")], Err(Rejection::ForeignPage)),
            (&[from("null"), SAME], Err(Rejection::ForeignPage)),
            (&[from("http://127.0.0.1")], Err(Rejection::ForeignPage)),
            (
                &[from("http://127.0.0.1:9464.evil.example")],
                Err(Rejection::ForeignPage),
            ),
            (&[from("https://evil.example")], Err(Rejection::ForeignPage)),
            (
                &[from("file://127.0.0.1:9464")],
                Err(Rejection::ForeignPage),
            ),
            (
                &[from("http://127.0.0.1:9464"), CROSS],
                Err(Rejection::ForeignPage),
            ),
            (&[CROSS], Err(Rejection::ForeignPage)),
            (&[("sec-fetch-site", "none")], Err(Rejection::ForeignPage)),
        ] {
            let verdict = judged(&Method::POST, "127.0.0.1:9464", more);
            assert_eq!(verdict, expected, "{more:?}");
        }
    }
}
