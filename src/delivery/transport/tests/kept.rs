//! Connections kept for the next exchange, and what becomes of a request that meets a closed one.

use std::sync::Arc;

use tokio::sync::Notify;

use super::scripted::{ACK, Found, LOOPBACK, Merchant, Step, answer, send};
use super::*;

/// The bodies that came, in their order.
fn bodies(merchant: &Merchant) -> Vec<String> {
    let body = |request: String| request.split("\r\n\r\n").nth(1).map(str::to_owned);
    merchant.requests().into_iter().filter_map(body).collect()
}

#[tokio::test]
async fn a_connection_is_kept() {
    let merchant = Merchant::acks(2).await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert_eq!(report.phases.connect, None);
    assert!(report.phases.head.is_some());
    assert_eq!(merchant.connections(), 1);
}

#[tokio::test]
async fn only_an_acknowledgement_keeps_its_connection() {
    let refusal = r#"{"transResult":"FAIL"}"#;
    for refused in [answer(200, refusal), answer(503, ACK), answer(200, "")] {
        let leftover = send(answer(200, ACK));
        let merchant = Merchant::plain(vec![
            vec![Step::Request, send(refused), Step::Request, leftover],
            vec![Step::Request, send(answer(200, refusal))],
        ])
        .await;
        let transport = transport(settings());
        let report = post_twice(&transport, &merchant.url()).await;
        assert_eq!(report.exchange, answered(merchant.address, 200, refusal));
        assert_eq!(merchant.connections(), 2);
    }
}

#[tokio::test]
async fn apps_share_no_connection() {
    let merchant = Merchant::acks(2).await;
    let transport = transport(settings());
    for app_id in ["6", "7", "6"] {
        let report = post_as(&transport, app_id, &merchant.url(), "", None).await;
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
        settle().await;
    }
    assert_eq!(merchant.connections(), 2);
}

#[tokio::test]
async fn what_comes_unasked_ends_a_connection() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, send(answer(200, ACK)), Step::Hang],
        vec![Step::Request, send(answer(200, "no"))],
    ])
    .await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, "no"));
    assert_eq!(merchant.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_costs_no_attempt() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(report.phases.connect.is_some());
    assert_eq!(merchant.connections(), 2);
    assert_eq!(bodies(&merchant), ["1", "2", AGAIN]);
}

#[tokio::test]
async fn what_can_not_be_made_anew_is_not_sent_again() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    transport.post(&merchant.url(), b"1".to_vec()).await;
    settle().await;
    let report = transport.post(&merchant.url(), b"2".to_vec()).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "closed");
    assert_eq!(bodies(&merchant), ["1", "2"]);
}

#[tokio::test]
async fn a_408_ends_a_kept_connection_and_is_an_answer_on_a_new_one() {
    let late = answer(408, "");
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request, send(&late)],
        vec![Step::Request, send(&late)],
    ])
    .await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_eq!(report.exchange, answered(merchant.address, 408, ""));
    assert_eq!(merchant.connections(), 2);
    assert_eq!(bodies(&merchant), ["1", "2", AGAIN]);
}

#[tokio::test]
async fn nothing_is_sent_a_third_time() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "closed");
    assert_eq!(bodies(&merchant), ["1", "2", AGAIN]);
    assert_eq!(merchant.connections(), 2);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_a_fault() {
    let (report, merchant) = post_once(settings(), vec![Step::Request]).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "closed");
    assert_eq!(fault_of(&report).remote_addr, Some(merchant.address));
    assert_eq!(merchant.connections(), 1);
}

#[tokio::test]
async fn a_kept_connection_with_a_bad_answer_is_a_fault() {
    let script = vec![
        Step::Request,
        Step::Ack,
        Step::Request,
        send("nonsense\r\n\r\n"),
    ];
    let merchant = Merchant::plain(vec![script]).await;
    let transport = transport(settings());
    let report = post_twice(&transport, &merchant.url()).await;
    assert_fault(&report, Phase::Head, Cause::Remote, "HTTP");
    assert_eq!(fault_of(&report).remote_addr, Some(merchant.address));
    assert_eq!(bodies(&merchant), ["1", "2"]);
}

/// An exchange begins a connection of its own, and takes another's when that comes free first. Behind a proxy
/// whose name is looked up for each connection, a lookup can hold one up.
async fn take_over(second_answer: Vec<Step>) -> (PostReport, Merchant) {
    let (asked, may_answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut script = vec![
        Step::Request,
        Step::Tell(Arc::clone(&asked)),
        Step::Wait(Arc::clone(&may_answer)),
        Step::Ack,
        Step::Request,
    ];
    script.extend(second_answer);
    let merchant = Merchant::plain(vec![script, vec![Step::Request, Step::Ack]]).await;
    let here = Found::Addresses(vec![LOOPBACK]);
    let proxy = format!("http://proxy.test:{}/", merchant.address.port());
    let settings = TransportSettings {
        proxy: Some(proxy.parse().expect("a URL")),
        ..impatient()
    };
    let transport = resolving(settings, [here.clone(), Found::Hangs, here]);
    let url = "http://merchant.test/callback";
    let first = post_as(&transport, "6", url, "1", None);
    let second = async {
        asked.notified().await;
        let second = post_as(&transport, "6", url, "2", None);
        let release = async {
            settle().await;
            may_answer.notify_one();
        };
        tokio::join!(second, release).0
    };
    let (_, report) = tokio::join!(first, second);
    (report, merchant)
}

#[tokio::test]
async fn a_connection_taken_over_is_past_its_connector() {
    let (report, merchant) = take_over(vec![Step::Hang]).await;
    assert_fault(
        &report,
        Phase::Head,
        Cause::Deadline,
        "no answer within 700ms",
    );
    // The second connection only asks whether the proxy is well.
    assert_eq!(merchant.connections(), 2);
    assert_eq!(bodies(&merchant), ["1", "2", ""]);
}

#[tokio::test]
async fn a_connection_taken_over_is_a_kept_one() {
    let (report, merchant) = take_over(Vec::new()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert_eq!(bodies(&merchant), ["1", "2", AGAIN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_come_to_their_own_answers() {
    let merchant = Merchant::acks(1000).await;
    let transport = Arc::new(transport(settings()));
    let url: Arc<str> = merchant.url().into();
    let posts = (0..200).map(|_| {
        let (transport, url) = (Arc::clone(&transport), Arc::clone(&url));
        tokio::spawn(async move { transport.post(&url, b"{}".to_vec()).await })
    });
    for report in futures_util::future::join_all(posts).await {
        let report = report.expect("no panic");
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    }
    assert_eq!(merchant.requests().len(), 200);
}
