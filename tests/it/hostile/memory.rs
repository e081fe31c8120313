//! The floods again, many times, against the real program: it must not grow by them.
//!
//! First it is warmed up by merchants that answer as much as they may, as many at once as the
//! hostile ones after them; that fills caches and pools to what they are in use. Then the floods
//! come, and the peak of its memory is compared with the peak before.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bodies::{answer, deepest};
use super::certificates::Authority;
use super::floods::{self, CAP};
use super::gateway::Gateway;
use super::server::{Act, Server, send};
use super::tally::Tally;
use super::{Place, until};
use crate::support::process::Process;

/// By how much it may grow.
const GROWTH_KIB_MAX: u64 = 2 * 1024;

/// Attempts at once. The client holds up to 408 KiB of a head for each, and reqwest has no setting
/// for that; so this is about as many as fit. With the 64 that one merchant may have by default,
/// megabyte headers take 25 MiB for as long as they last.
const AT_ONCE: usize = 8;

/// How many callbacks each merchant gets.
const ROUNDS: usize = 10;

/// `delivery.timeout`, which only the endless 100s wait for.
const LIMIT: Duration = Duration::from_millis(500);

fn settings(authority: &Authority) -> String {
    format!(
        r#"
[retry]
schedule = ["24h"]
[delivery]
max_in_flight = {AT_ONCE}
connect_timeout = "{limit}ms"
timeout = "{limit}ms"
[egress]
allow_http = true
allow_networks = ["127.0.0.1"]
extra_ca_file = "{authority}"
[admin]
listen = ""
[log]
level = "error"
"#,
        limit = LIMIT.as_millis(),
        authority = authority.file().display(),
    )
}

fn file(process: &Process, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", process.pid()).into()
}

/// A line of `status`, in KiB.
fn kib(process: &Process, name: &str) -> u64 {
    let status = fs::read_to_string(file(process, "status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.expect("Linux tells").trim_matches([':', ' ', '\t']);
    let kib = value.strip_suffix(" kB").expect("in KiB").trim();
    kib.parse().expect("a number")
}

/// An acknowledgement as large as it may be.
fn benign() -> Vec<Act> {
    let ack = r#"{"transResult":"SUCCESS"}"#;
    let padded = format!("{ack}{}", " ".repeat(CAP - ack.len()));
    let served = [Act::Request, send(answer(padded))];
    std::iter::repeat_n(served, ROUNDS).flatten().collect()
}

fn hostile() -> Vec<Vec<Act>> {
    let mut all: Vec<Vec<Act>> = floods::endless_bodies()
        .into_iter()
        .map(|(_, acts)| acts)
        .collect();
    let deep = [
        deepest("{\"transResult\":", "}"),
        "[".repeat(CAP),
        "{\"a\":".repeat(CAP / 5),
    ];
    all.extend(deep.map(|body| vec![Act::Request, send(answer(body))]));
    all.push(floods::megabyte_header());
    all.push(floods::gzip_bomb());
    all.push(floods::endless_continue());
    all
}

/// Each merchant, over plain TCP and over TLS.
async fn open(merchants: Vec<Vec<Act>>, authority: &Authority) -> Vec<(String, Server)> {
    let config = authority.identity().server();
    let mut servers = Vec::new();
    for acts in merchants {
        let server = Server::plain(acts.clone()).await;
        servers.push((server.url("http"), server));
        let server = Server::tls(Arc::clone(&config), acts).await;
        servers.push((server.url("https"), server));
    }
    servers
}

/// Gives each merchant its callbacks; returns once all are attempted.
async fn drive(place: &Place, name: &str, urls: &[&str]) {
    let orders: Vec<(&str, String)> = (0..ROUNDS)
        .flat_map(|round| {
            urls.iter()
                .map(move |url| (*url, format!("{name}-{round}-{url}")))
        })
        .collect();
    let gateway = Gateway::of(place);
    gateway.queue(orders.iter().map(|(url, order)| (*url, order.as_str())));
    let due = format!(
        "SELECT count(*) FROM callback_queue \
         WHERE newpay_order_no GLOB '{name}-*' AND last_outcome IS NOT NULL"
    );
    let all = orders.len().to_string();
    let what = format!("{name}: {all} attempts");
    until(&what, async || place.sql(&due) == all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_by_floods() {
    let authority = Authority::new("The Authority");
    let place = Place::new();
    place.write_settings(&settings(&authority));
    let process = place.run();
    let hostile = open(hostile(), &authority).await;
    let benign = open(vec![benign(); hostile.len() / 2], &authority).await;

    let urls: Vec<&str> = benign.iter().map(|(url, _)| url.as_str()).collect();
    // Connections, statements and free memory are as many as they will be only after some rounds.
    for warm_up in ["first", "second", "third"] {
        drive(&place, warm_up, &urls).await;
    }
    let (peak, resident) = (kib(&process, "VmHWM"), kib(&process, "VmRSS"));
    // The peak begins again at what is in use now.
    fs::write(file(&process, "clear_refs"), "5").expect("our own process");
    let urls: Vec<&str> = hostile.iter().map(|(url, _)| url.as_str()).collect();
    drive(&place, "hostile", &urls).await;
    let growth = kib(&process, "VmHWM").saturating_sub(peak);

    let outcomes = place.sql("SELECT outcome, count(*) FROM callback_attempt GROUP BY 1");
    println!("{peak} KiB at most, {resident} KiB in use, then {growth} KiB more; {outcomes}");
    let seen = |count: fn(&Server) -> usize| hostile.iter().map(|(_, server)| count(server)).sum();
    let tally = Tally {
        cases: hostile.len(),
        passed: if growth < GROWTH_KIB_MAX {
            hostile.len()
        } else {
            0
        },
        connections: seen(Server::connections),
        requests: seen(|server| server.requests().len()),
        bytes_sent: hostile.iter().map(|(_, server)| server.bytes_sent()).sum(),
        healthy: 0,
    };
    tally.report("memory");
    // A machine that is too slow for the limit would prove nothing.
    assert!(tally.requests > ROUNDS * hostile.len() / 2, "{outcomes}");
    assert!(
        growth < GROWTH_KIB_MAX,
        "{growth} KiB above {peak} KiB; {outcomes}"
    );
}
