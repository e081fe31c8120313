//! Answers that want another request. The server that they lead to counts its connections.

use std::net::Ipv4Addr;

use super::case::{Case, Ending, and_over_tls, plain};
use super::certificates::Authority;
use super::run;
use super::server::{Act, Server, ack, send};
use crate::support::table::rows;

/// Loopback, but not the address that the daemon may call.
const INWARD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn moved(status: u16, headers: &str) -> Vec<Act> {
    let body = "{\"transResult\":\"SUCCESS\"}";
    let head = format!("HTTP/1.1 {status} Moved\r\n{headers}Content-Length: 25\r\n\r\n");
    vec![
        Act::Request,
        send(format!("{head}{body}")),
        Act::Request,
        ack(),
    ]
}

/// `THERE` is the URL of a server that may not be called.
const ANSWERS: &str = r#"
307 to itself | 307 | Location: /callback | redirects are not followed
308 without a Location | 308 | | redirects are not followed
302 with two Locations | 302 | Location: /callback\r\nLocation: THERE | redirects are not followed
401 that asks for a password | 401 | WWW-Authenticate: Basic realm="a" | HTTP status
407 as if it were a proxy | 407 | Proxy-Authenticate: Basic realm="a" | HTTP status
408 that asks for another try | 408 | Connection: close | HTTP status
421 that asks for another connection | 421 | | HTTP status
425 that asks for another try | 425 | | HTTP status
426 that asks for HTTP/2 | 426 | Connection: upgrade\r\nUpgrade: h2c | HTTP status
429 with a Retry-After | 429 | Retry-After: 0 | HTTP status
503 with a Retry-After | 503 | Retry-After: 0 | HTTP status
200 that refreshes inward | 200 | Refresh: 0; url=THERE |
200 with a Location inward | 200 | Location: THERE |
200 that names another server | 200 | Alt-Svc: http/1.1="127.0.0.2:443"; persist=1 |
200 that sets a cookie | 200 | Set-Cookie: a=b |
"#;

fn cases(inward: &Server) -> Vec<Case> {
    let there = inward.url("http");
    // 304 is no redirect.
    let not_followed = |status| {
        let words = match status {
            304 => "HTTP status 304",
            _ => "redirects are not followed",
        };
        Ending::of("http_status", words).status(status)
    };
    let mut cases = Vec::new();
    for status in [300, 301, 302, 303, 304, 307, 308] {
        // 304 has no body by definition.
        let acts = moved(status, &format!("Location: {there}\r\n"));
        let ending = not_followed(i64::from(status));
        cases.push(plain(&format!("{status} inward"), acts, ending));
    }
    for [name, status, headers, words] in rows(ANSWERS) {
        let headers = headers.replace(r"\r\n", "\r\n").replace("THERE", &there);
        let headers = match headers.as_str() {
            "" => headers,
            _ => headers + "\r\n",
        };
        let status: u16 = status.parse().expect("a status");
        let ending = match status {
            200 => Ending::acknowledged(),
            _ => Ending::of("http_status", words).status(i64::from(status)),
        };
        cases.push(plain(name, moved(status, &headers), ending));
    }
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    cases.push(plain(
        "101 to another protocol",
        moved(101, upgrade),
        Ending::of("http_status", "HTTP status 101").status(101),
    ));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_inward_or_elsewhere() {
    let inward = Server::at(INWARD, None, vec![Act::Request, ack()]).await;
    let authority = Authority::new("The Authority");
    let cases = and_over_tls(cases(&inward), &authority.identity().server());
    run("redirects", &authority.file(), cases).await;
    assert_eq!(inward.connections(), 0);
}
