//! What monitoring sees of the running program.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use callback_dispatcher::merchant::Answer;

use super::{PATIENCE, Place, Process, StoreKind, found, on_both, payment};
use crate::secrets::assert_none_in;

/// Where the admin port of `daemon` listens.
pub(crate) async fn address(daemon: &mut Process) -> String {
    let line = daemon.says("admin port open").await;
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=' || c == '"');
    let address = words.find(|word| word.starts_with("127.0.0.1:"));
    address.expect("the address is in the log").to_owned()
}

/// The status line and the body of a GET, spoken by hand.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the admin port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    assert_none_in("an answer", answer.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.lines().next().expect("a status line");
    (status.to_owned(), body.to_owned())
}

async fn health_readiness_and_metrics_are_served(store: StoreKind) {
    let place = Place::on(store);
    place.change_settings("listen = \"\"", "listen = \"127.0.0.1:0\"");
    let merchant = place.merchant(Answer::Ack).await;
    let mut daemon = place.run();
    let address = &address(&mut daemon).await;
    let daemon = daemon.ready().await;
    for path in ["/healthz", "/readyz"] {
        // The port opens before the dispatcher's first round, and says so until then.
        found(&format!("{path} is content"), || {
            let (status, body) = get(address, path);
            let expected = status.contains(" 200 ") || status.contains(" 503 ");
            assert!(expected, "{path}: {status}: {body}");
            status.contains(" 200 ").then_some(())
        })
        .await;
    }
    assert!(get(address, "/nonsense").0.contains("404"));

    place.enqueue(&[payment(&merchant.url("/"), 1)]);
    place.all_finished().await;
    let counted = "callback_dispatcher_attempts_total{kind=\"payment\",outcome=\"acknowledged\"} 1";
    let metrics = found("the attempt is counted", || {
        let (status, metrics) = get(address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        metrics
            .lines()
            .any(|line| line == counted)
            .then_some(metrics)
    })
    .await;
    let names = "attempt_duration_seconds_count delivery_lag_seconds_count exhausted_total
        queue_callbacks in_flight oldest_due_seconds store_commit_seconds_count
        store_wal_bytes beat_timestamp_seconds start_timestamp_seconds build_info";
    for name in names.split_whitespace() {
        let name = format!("callback_dispatcher_{name}");
        assert!(metrics.contains(&name), "no {name} in {metrics}");
    }
    assert!(!metrics.contains("M1"), "no label has a merchant's values");
    daemon.stops().await;
}

on_both!(health_readiness_and_metrics_are_served,);
