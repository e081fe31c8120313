//! `[tracing]`: a collector receives a span of each attempt, and its absence changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use callback_dispatcher::merchant::{Answer, Script};
use callback_dispatcher::store::ShownState;
use serde_json::Value;

use super::{Daemon, FIVE_MINUTES, Place, StoreKind, clock, listener, on_both};

async fn every_attempt_of_a_callback_is_in_one_trace(store: StoreKind) {
    let received: Arc<Mutex<Vec<Value>>> = Arc::default();
    let receiver = Arc::clone(&received);
    let take = post(async move |body: Bytes| {
        let request = serde_json::from_slice(&body).expect("JSON");
        receiver
            .lock()
            .expect("no test panics under it")
            .push(request);
        "{}"
    });
    let listener = self::listener().await;
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let app = Router::new().route("/v1/traces", take);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let place = Place::on(store);
    let posts = AtomicUsize::new(0);
    let answers = Script::each(move |_| match posts.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Status(503),
        _ => Answer::Ack,
    });
    let merchant = place.merchant_at(answers, Arc::new(clock())).await;
    let daemon = Daemon::start(&place, &[("TRACING__OTLP_ENDPOINT", &endpoint)]).await;
    let url = merchant.url("/hook-of-secret-7?token=secret-8");
    daemon.queue(&url, "A").await;
    daemon.until_attempts("A", 1).await;
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_state("A", ShownState::Delivered).await;
    // The end of the daemon sends what is left.
    daemon.stop().await;

    let received = received.lock().expect("no test panics under it");
    let spans = received.iter().flat_map(|request| {
        let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().expect("an array").clone()
    });
    let spans: Vec<Value> = spans.collect();
    let attempts: Vec<&Value> = spans
        .iter()
        .filter(|span| span["name"] == "callback attempt")
        .collect();
    let codes: Vec<&Value> = attempts
        .iter()
        .map(|span| &span["status"]["code"])
        .collect();
    assert_eq!(codes, [2, 0], "{attempts:?}");
    assert_eq!(attempts[0]["traceId"], attempts[1]["traceId"]);
    for attempt in attempts {
        let head = spans
            .iter()
            .find(|span| span["parentSpanId"] == attempt["spanId"] && span["name"] == "head");
        assert!(head.is_some(), "no time of the head in {spans:?}");
    }
    let all = format!("{spans:?}");
    assert!(
        !all.contains("secret-7") && !all.contains("secret-8"),
        "{all}"
    );
}

async fn a_collector_that_is_not_there_changes_nothing(store: StoreKind) {
    let listener = self::listener().await;
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let place = Place::on(store);
    let merchant = place.merchant_at(Answer::Ack, Arc::new(clock())).await;
    let daemon = Daemon::start(&place, &[("TRACING__OTLP_ENDPOINT", &endpoint)]).await;
    daemon.queue(&merchant.url("/"), "A").await;
    daemon.until_state("A", ShownState::Delivered).await;
    daemon.stop().await;
}

on_both!(
    every_attempt_of_a_callback_is_in_one_trace,
    a_collector_that_is_not_there_changes_nothing,
);
