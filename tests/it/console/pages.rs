//! What pages say.

use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::ShownState;

use super::client::Client;
use super::showcase::{HOSTILE, Showcase};
use crate::live::Daemon;
use crate::support::place::Place;
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::until;

async fn one_hit_of_a_search_is_shown_at_once(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    for (number, lands_on) in [
        ("S-000002", "/console/callbacks/2"),
        ("2026112000000002", "/console/callbacks/2"),
        ("%202%20", "/console/callbacks/2"),
        ("R-000021", "/console/callbacks/21"),
    ] {
        let answer = client.get(&format!("/console/search?q={number}")).await;
        assert_eq!(answer.status, 303, "{number}: {answer:?}");
        assert_eq!(answer.header("location"), lands_on, "{number}");
    }
    let nothing = client.get("/console/search?q=S-999999").await;
    assert!(
        nothing.body.contains("No callback has the number"),
        "{nothing:?}"
    );
    assert!(
        nothing.body.contains("value=\"S-999999\""),
        "it can be mended"
    );
    showcase.stop().await;
}

async fn the_timeline_tells_what_happened_and_what_to_tell(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    // Of app 11, exhausted: four attempts, all 503.
    let page = client.get("/console/callbacks/27").await;
    assert_eq!(page.status, 200);
    for words in [
        "S-000027",
        "Attempt 1",
        "Attempt 4",
        "HTTP 503 Service Unavailable",
        "Maintenance until 03:00",
        "203.0.113.28:443",
        "What to tell the merchant",
        "The result of the payment for order S-000027",
        "Given up",
        "/console/act?action=resend&amp;callback=27",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(!page.body.contains("Attempt 5"));
    showcase.stop().await;
}

/// Every account of the host may read on loopback; what merchants keep in a query is not for them.
async fn the_query_of_a_url_is_for_operators(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let stranger = Client::new(showcase.address);
    // Of app 23, whose URL has one.
    let page = stranger.get("/console/callbacks/3").await.body;
    assert!(page.contains("https://api.pakse.example:8443/cb"), "{page}");
    assert!(!page.contains("source=newpay"), "{page}");
    let operator = stranger.signed_in().await;
    let page = operator.get("/console/callbacks/3").await.body;
    assert!(page.contains("cb?source=newpay"), "{page}");
    showcase.stop().await;
}

async fn texts_of_merchants_are_escaped(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    for path in [
        "/console/callbacks/121",
        "/console/callbacks?state=pending",
        "/console/merchants",
        &format!(
            "/console/search?q={}",
            super::client::form(&[("", HOSTILE)]).trim_start_matches('=')
        ),
        &format!(
            "/console/callbacks?app={}",
            super::client::form(&[("", HOSTILE)]).trim_start_matches('=')
        ),
    ] {
        let body = client.get(path).await.body;
        assert!(
            body.contains("&lt;script&gt;"),
            "it is there to be read: {path}: {body}"
        );
        for markup in [
            "<script",
            "<img",
            "<style",
            "<h1>owned",
            "\u{202e}",
            "\u{1b}",
            "\u{7}",
        ] {
            assert!(!body.contains(markup), "{markup:?} in {path}");
        }
    }
    showcase.stop().await;
}

async fn lists_are_by_state_app_and_outcome(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    let exhausted = client.get("/console/callbacks").await.body;
    for app in ["11", "23", "42", "77"] {
        assert!(
            exhausted.contains(&format!("<td><bdi>{app}</bdi></td>")),
            "{app}"
        );
    }
    assert!(
        !exhausted.contains("<td><bdi>6</bdi></td>"),
        "all of app 6 is delivered"
    );
    assert!(exhausted.contains("/console/act?action=resend&amp;state=exhausted"));

    let path = "/console/callbacks?state=exhausted&app=42&outcome=refused";
    let narrowed = client.get(path).await.body;
    assert!(narrowed.contains("<td><bdi>42</bdi></td>"));
    assert!(!narrowed.contains("<td><bdi>11</bdi></td>"));
    let none = client
        .get("/console/callbacks?state=exhausted&outcome=dns")
        .await
        .body;
    assert!(none.contains("There are none."), "{none}");
    let wrong = client.get("/console/callbacks?state=lost").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("exhausted or cancelled"), "{wrong:?}");
    showcase.stop().await;
}

async fn lists_go_on_to_their_end(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    let mut path = "/console/callbacks?state=any".to_owned();
    let mut listed = Vec::new();
    loop {
        let page = client.get(&path).await.body;
        let ids = page.split("/console/callbacks/").skip(1);
        listed.extend(ids.map(|rest| rest.split('"').next().expect("a number").to_owned()));
        let Some((before, _)) = page.split_once("rel=\"next\"") else {
            break;
        };
        let (_, link) = before.rsplit_once("href=\"").expect("a link");
        path = link.trim_end_matches("\" ").replace("&amp;", "&");
    }
    assert!(listed.len() > 100, "more than a page: {}", listed.len());
    let expected: Vec<String> = (1..=listed.len()).rev().map(|id| id.to_string()).collect();
    assert_eq!(listed, expected, "each once, the newest first");
    let path = "/console/callbacks?state=any&status=503&detail=SERVICE&since=3d&until=2999-01-01";
    let narrowed = client.get(path).await.body;
    assert!(narrowed.contains("<td><bdi>11</bdi></td>"), "{narrowed}");
    assert!(!narrowed.contains("acknowledged</bdi>"), "{narrowed}");
    let wrong = client.get("/console/callbacks?since=soon").await;
    assert_eq!(wrong.status, 400);
    showcase.stop().await;
}

/// Before the button, what it would be about; afterwards, what became of it.
async fn an_action_tells_what_it_is_about_and_how_it_fares(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let operator = Client::new(showcase.address).signed_in().await;
    let form = operator
        .get("/console/act?action=resend&state=exhausted&app=42")
        .await
        .body;
    let list = operator
        .get("/console/callbacks?state=exhausted&app=42")
        .await
        .body;
    let listed = list.matches("/console/callbacks/").count();
    assert!(listed > 0, "{list}");
    assert!(
        form.contains(&format!("<strong>{listed} callback")),
        "{listed}: {form}"
    );
    assert!(form.contains("By app and endpoint"), "{form}");
    showcase.stop().await;
}

async fn merchants_in_need_come_first(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    let page = client.get("/console/merchants").await.body;
    let place = |app: &str| page.find(&format!("<th scope=\"row\"><bdi>{app}</bdi></th>"));
    let (well, not_told) = (place("6").expect("app 6"), place("42").expect("app 42"));
    assert!(not_told < well, "{page}");
    showcase.stop().await;
}

async fn plots_have_words_and_numbers(store: StoreKind) {
    let showcase = Showcase::start(store).await;
    let client = Client::new(showcase.address);
    for range in ["1h", "6h", "24h"] {
        let page = client.get(&format!("/console?range={range}")).await.body;
        assert_eq!(page.matches("<svg role=\"img\"").count(), 4, "{page}");
        assert_eq!(page.matches("<desc id=").count(), 4);
        assert!(page.contains("Counted since this process started"));
        assert!(page.contains("The plots in numbers"));
        assert!(!page.contains("NaN"), "{page}");
    }
    // The browser asks again by itself if somebody wants that.
    assert_eq!(client.get("/console").await.header("refresh"), "");
    let again = client.get("/console?every=15").await;
    assert_eq!(again.header("refresh"), "15");
    assert!(again.body.contains("Stand still"), "{}", again.body);
    showcase.stop().await;
}

/// The daemon feeds the console: nothing in between is left out.
async fn an_attempt_of_the_daemon_is_on_the_page(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[("ADMIN__LISTEN", "127.0.0.1:0")]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    daemon.queue(&merchant.url("/"), "N1").await;
    daemon.until_state("N1", ShownState::Delivered).await;
    let client = Client::new(daemon.admin_addr());
    until("the attempt is in the plots", async || {
        let page = client.get("/console").await.body;
        page.contains("In all: 1 acknowledged, 0 another answer") && page.contains("1 delivery")
    })
    .await;
    daemon.stop().await;
}

on_both!(
    one_hit_of_a_search_is_shown_at_once,
    the_timeline_tells_what_happened_and_what_to_tell,
    the_query_of_a_url_is_for_operators,
    texts_of_merchants_are_escaped,
    lists_are_by_state_app_and_outcome,
    lists_go_on_to_their_end,
    an_action_tells_what_it_is_about_and_how_it_fares,
    merchants_in_need_come_first,
    plots_have_words_and_numbers,
    an_attempt_of_the_daemon_is_on_the_page,
);
