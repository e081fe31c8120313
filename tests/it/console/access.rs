//! Who may read, and who may act.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use callback_dispatcher::merchant::{Answer, Script};
use callback_dispatcher::store::ShownState;

use super::client::{Client, form};
use super::{TOKEN, keys};
use crate::live::Daemon;
use crate::support::place::Place;
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::until;

const ON_LOOPBACK: &[(&str, &str)] = &[("ADMIN__LISTEN", "127.0.0.1:0")];

/// Loopback all the same, but the daemon can't know.
const OPEN_TO_OTHERS: &[(&str, &str)] = &[("ADMIN__LISTEN", "0.0.0.0:0")];

fn place_with_token(store: StoreKind) -> Place {
    let place = Place::on(store);
    place.write_keys(&keys());
    place
}

fn client(daemon: &Daemon) -> Client {
    let port = daemon.admin_addr().port();
    Client::new(SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn on_loopback_everybody_reads_and_nobody_acts_without_the_token(store: StoreKind) {
    let place = place_with_token(store);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let stranger = client(&daemon);
    for path in "/console /console/callbacks /console/merchants /console/commands".split(' ') {
        assert_eq!(stranger.get(path).await.status, 200, "{path}");
    }
    let form = stranger.get("/console/act?action=resend&callback=1").await;
    assert_eq!(form.status, 303, "{form:?}");
    assert!(
        form.header("location")
            .starts_with("/console/sign-in?next=")
    );
    let order = [
        ("action", "resend"),
        ("callback", "1"),
        ("reason", "r"),
        ("csrf", ""),
    ];
    let refused = stranger.post("/console/act", &order).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(place.sql("SELECT count(*) FROM operator_command"), "0");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_needs_the_token_on_a_public_port() {
    let place = place_with_token(StoreKind::Sqlite);
    let daemon = Daemon::start(&place, OPEN_TO_OTHERS).await;
    let stranger = client(&daemon);
    let turned = stranger.get("/console/callbacks?state=pending").await;
    assert_eq!(turned.status, 303, "{turned:?}");
    assert_eq!(
        turned.header("location"),
        "/console/sign-in?next=%2Fconsole%2Fcallbacks%3Fstate%3Dpending"
    );
    for path in [
        "/console/sign-in",
        "/console/style.css",
        "/console/icon.svg",
    ] {
        assert_eq!(stranger.get(path).await.status, 200, "{path}");
    }
    let operator = stranger.signed_in().await;
    assert_eq!(
        operator
            .get("/console/callbacks?state=pending")
            .await
            .status,
        200
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nobody_signs_in() {
    let place = Place::new();
    let daemon = Daemon::start(&place, OPEN_TO_OTHERS).await;
    let mut stranger = client(&daemon);
    for guess in ["", TOKEN] {
        let answer = stranger.sign_in_with(guess).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("openssl rand -hex 24"), "{answer:?}");
    }
    assert_eq!(stranger.get("/console").await.status, 303);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_soon() {
    let place = place_with_token(StoreKind::Sqlite);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let mut stranger = client(&daemon);
    for _ in 0..5 {
        let answer = stranger.sign_in_with("not it").await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    let answer = stranger.sign_in_with(TOKEN).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&wait), "{wait}");
    daemon.advance(std::time::Duration::from_secs(60));
    assert_eq!(stranger.sign_in_with(TOKEN).await.status, 303);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_kept_from_scripts_and_other_sites() {
    let place = place_with_token(StoreKind::Sqlite);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let mut operator = client(&daemon);
    let plain = operator.sign_in_with(TOKEN).await;
    let cookie = plain.header("set-cookie").to_owned();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/console"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    assert!(!plain.head.contains(TOKEN));

    // Behind a proxy that does TLS the browser says so by its Origin.
    let origin = format!("https://127.0.0.1:{}", daemon.admin_addr().port());
    let body = form(&[("name", "night shift"), ("token", TOKEN)]);
    let behind_tls = operator
        .ask("POST /console/sign-in", &[("Origin", &origin)], &body)
        .await;
    assert!(
        behind_tls.header("set-cookie").ends_with("; Secure"),
        "{behind_tls:?}"
    );
    daemon.stop().await;
}

async fn an_action_needs_a_form_of_the_same_session_from_our_own_page(store: StoreKind) {
    let place = place_with_token(store);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let operator = client(&daemon).signed_in().await;
    let csrf = operator.get("/console").await.csrf();
    let another = client(&daemon)
        .signed_in()
        .await
        .get("/console")
        .await
        .csrf();
    assert_ne!(csrf, another);
    let order = |csrf: &str| {
        form(&[
            ("action", "resend"),
            ("app", "6"),
            ("reason", "r"),
            ("csrf", csrf),
        ])
    };
    let cross = ("Sec-Fetch-Site", "cross-site");
    let attempts: [(&[(&str, &str)], &str); 7] = [
        (&[], ""),
        (&[], &another),
        (&[("Origin", "https://evil.example"), cross], &csrf),
        (&[("Origin", "null"), cross], &csrf),
        (&[("Origin", ""), ("Sec-Fetch-Site", "")], &csrf),
        (
            &[("Host", "evil.example"), ("Origin", "http://evil.example")],
            &csrf,
        ),
        (&[("Cookie", "")], &csrf),
    ];
    for (changes, csrf) in attempts {
        let answer = operator
            .ask("POST /console/act", changes, &order(csrf))
            .await;
        assert_eq!(answer.status, 403, "{changes:?} {answer:?}");
    }
    assert_eq!(place.sql("SELECT count(*) FROM operator_command"), "0");
    let taken = operator.ask("POST /console/act", &[], &order(&csrf)).await;
    assert_eq!(taken.status, 303, "{taken:?}");
    let row = place.sql("SELECT action, app_id, actor, reason FROM operator_command");
    assert_eq!(row, "resend|6|night shift (console)|r");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebound_name_reads_nothing() {
    let place = place_with_token(StoreKind::Sqlite);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let browser = client(&daemon);
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        let answer = browser.ask("GET /console", &[("Host", host)], "").await;
        assert_eq!(answer.status, 403, "{host}: {answer:?}");
        assert!(answer.body.contains("admin.console_names"), "{answer:?}");
    }
    daemon.stop().await;

    let named = [ON_LOOPBACK[0], ("ADMIN__CONSOLE_NAMES", "ops.example")];
    let daemon = Daemon::start(&place, &named).await;
    let browser = client(&daemon);
    let answer = browser
        .ask("GET /console", &[("Host", "ops.example")], "")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_and_another_token_end_a_session() {
    let place = place_with_token(StoreKind::Sqlite);
    let mut daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let operator = client(&daemon).signed_in().await;
    let page = operator.get("/console").await;
    assert!(page.body.contains("Signed in as"), "{page:?}");
    let unforgeable = operator.post("/console/sign-out", &[("csrf", "")]).await;
    assert_eq!(unforgeable.status, 403);
    let left = operator
        .post("/console/sign-out", &[("csrf", &page.csrf())])
        .await;
    assert!(left.header("set-cookie").contains("Max-Age=0"), "{left:?}");
    assert!(!operator.get("/console").await.body.contains("Signed in as"));

    let operator = client(&daemon).signed_in().await;
    place.write_keys(&keys().replace(TOKEN, "another-token-of-the-same-length"));
    daemon.reload(&place, ON_LOOPBACK).await;
    assert!(!operator.get("/console").await.body.contains("Signed in as"));
    daemon.stop().await;
}

async fn every_answer_forbids_the_browser_what_it_does_not_need(store: StoreKind) {
    let place = place_with_token(store);
    let daemon = Daemon::start(&place, ON_LOOPBACK).await;
    let browser = client(&daemon);
    let paths = [
        ("/console", 200),
        ("/console/", 303),
        ("/console/style.css", 200),
        ("/console/icon.svg", 200),
        ("/console/sign-in", 200),
        ("/console/search?q=nothing", 200),
        ("/console/search", 400),
        ("/console/callbacks/1", 404),
        ("/console/callbacks/one", 400),
        ("/console/commands/1", 404),
        ("/console/nonsense", 404),
    ];
    for (path, status) in paths {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let inline = ["<script", " style=", " onclick=", "javascript:"];
        for word in inline {
            assert!(!answer.body.contains(word), "{path}: {word}");
        }
    }
    daemon.stop().await;
}

/// 503 to the first POST, an acknowledgement to those after it.
pub(super) fn down_once() -> Script {
    let posts = AtomicUsize::new(0);
    Script::each(move |_| match posts.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Status(503),
        _ => Answer::Ack,
    })
}

async fn a_resend_is_carried_out_and_answered(store: StoreKind) {
    let place = place_with_token(store);
    let changes = [ON_LOOPBACK[0], ("RETRY__SCHEDULE", "")];
    let daemon = Daemon::start(&place, &changes).await;
    let merchant = daemon.merchant(&place, down_once()).await;
    daemon.queue(&merchant.url("/"), "N1").await;
    let row = daemon.until_state("N1", ShownState::Exhausted).await;
    let operator = client(&daemon).signed_in().await;
    let id = row.id.to_string();
    let order = [
        ("action", "resend"),
        ("callback", id.as_str()),
        ("reason", "they are back"),
    ];
    let taken = operator.act(&order).await;
    assert_eq!(taken.status, 303, "{taken:?}");
    let answer_page = taken.header("location").to_owned();
    until("the command is answered", async || {
        operator.get(&answer_page).await.body.contains("badge good")
    })
    .await;
    daemon.until_state("N1", ShownState::Delivered).await;
    let page = operator.get(&answer_page).await.body;
    for words in ["night shift (console)", "they are back"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    daemon.stop().await;
}

on_both!(
    on_loopback_everybody_reads_and_nobody_acts_without_the_token,
    an_action_needs_a_form_of_the_same_session_from_our_own_page,
    every_answer_forbids_the_browser_what_it_does_not_need,
    a_resend_is_carried_out_and_answered,
);
