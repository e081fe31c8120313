//! Answers that want another request, and URLs that point inward. Whoever listens there counts.

use std::net::Ipv4Addr;

use super::case::{Case, Ending, and_over_tls, plain};
use super::certificates::Authority;
use super::server::{Act, Server, ack, send};
use super::tally::Tally;
use super::{Gateway, Place, run, start, until_attempted};

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

fn cases(inward: &Server) -> Vec<Case> {
    let there = inward.url("http");
    let not_followed =
        |status| Ending::of("http_status", "redirects are not followed").status(status);
    let mut cases = Vec::new();
    for status in [300, 301, 302, 303, 304, 307, 308] {
        // 304 has no body by definition.
        let acts = moved(status, &format!("Location: {there}\r\n"));
        let ending = not_followed(i64::from(status));
        cases.push(plain(&format!("{status} inward"), acts, ending));
    }
    let to_itself = moved(307, "Location: /callback\r\n");
    cases.push(plain("307 to itself", to_itself, not_followed(307)));
    let nowhere = moved(308, "");
    cases.push(plain("308 without a Location", nowhere, not_followed(308)));
    let doubled = moved(
        302,
        &format!("Location: /callback\r\nLocation: {there}\r\n"),
    );
    cases.push(plain("302 with two Locations", doubled, not_followed(302)));
    let unauthorized = "WWW-Authenticate: Basic realm=\"a\"\r\n";
    let rows = [
        ("401 that asks for a password", 401, unauthorized.to_owned()),
        (
            "407 as if it were a proxy",
            407,
            unauthorized.replace("WWW", "Proxy"),
        ),
        (
            "408 that asks for another try",
            408,
            "Connection: close\r\n".to_owned(),
        ),
        ("421 that asks for another connection", 421, String::new()),
        ("425 that asks for another try", 425, String::new()),
        (
            "426 that asks for HTTP/2",
            426,
            "Connection: upgrade\r\nUpgrade: h2c\r\n".to_owned(),
        ),
        (
            "429 with a Retry-After",
            429,
            "Retry-After: 0\r\n".to_owned(),
        ),
        (
            "503 with a Retry-After",
            503,
            "Retry-After: 0\r\n".to_owned(),
        ),
    ];
    for (name, status, headers) in rows {
        let ending = Ending::of("http_status", "HTTP status").status(i64::from(status));
        cases.push(plain(name, moved(status, &headers), ending));
    }
    let rows = [
        (
            "200 that refreshes inward",
            format!("Refresh: 0; url={there}\r\n"),
        ),
        (
            "200 with a Location inward",
            format!("Location: {there}\r\n"),
        ),
        (
            "200 that names another server",
            format!("Alt-Svc: http/1.1=\"{}\"; persist=1\r\n", inward.address),
        ),
        ("200 that sets a cookie", "Set-Cookie: a=b\r\n".to_owned()),
    ];
    for (name, headers) in rows {
        cases.push(plain(name, moved(200, &headers), Ending::acknowledged()));
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

#[tokio::test(flavor = "multi_thread")]
async fn inward_urls_are_blocked_however_they_are_spelt() {
    let inward = Server::at(INWARD, None, vec![Act::Request, ack()]).await;
    let place = Place::new();
    let authority = Authority::new("The Authority");
    let daemon = start(&place, &authority.file()).await;
    let port = inward.address.port();
    let hosts = [
        "127.0.0.2",
        "127.0.2",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "[::ffff:127.0.0.2]",
        "[::ffff:7f00:2]",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.2",
        "127.0.0.2.",
        "user:password@127.0.0.2",
        "127.0.0.1@127.0.0.2",
    ];
    let urls = ["http", "https"]
        .into_iter()
        .flat_map(|scheme| hosts.map(|host| format!("{scheme}://{host}:{port}/callback")));
    let urls: Vec<String> = urls.collect();
    let gateway = Gateway::of(&place);
    gateway.queue(urls.iter().map(|url| (url.as_str(), url.as_str())));
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for url in &urls {
        until_attempted(&daemon, url).await;
        let attempts = daemon.attempts(url).await;
        let faults = Ending::of("blocked", "").faults(&attempts[0]);
        tally.cases += 1;
        if faults.is_empty() && attempts[0].sent_timestamp.is_none() {
            tally.passed += 1;
        } else {
            wrong.push(format!("{url}: {faults:?}, {:#?}", attempts[0]));
        }
    }
    tally.connections = inward.connections();
    tally.report("inward");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(inward.connections(), 0);
    daemon.stop().await;
}
