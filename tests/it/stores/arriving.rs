//! What a dispatcher learns of others' commits.

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::Endpoint;

use super::{Backend, ONE};
use crate::support::callback::insert;
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::in_time;

async fn a_commit_tells_the_endpoint_of_a_new_row(kind: StoreKind) {
    let backend = Backend::new(kind);
    let queue = backend.queue().await;
    let newest = queue.newest().await.expect("read");
    backend.sql(&insert("https://ONE.example:443/x", "n", &[]));
    in_time("a notice", queue.changed()).await;
    let arrivals = queue.arrivals(newest, 10).await.expect("looked");
    let endpoints: Vec<_> = arrivals.due.iter().map(|due| &due.endpoint).collect();
    assert_eq!(endpoints, [&Endpoint::new("6", ONE)]);
    assert_eq!(arrivals.newest, Some(CallbackId(1)));
    assert!(!arrivals.has_commands);
    queue.close().await;
}

/// PostgreSQL's notices are of 8000 bytes at most, and an origin may be longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_without_an_endpoint_asks_for_a_survey() {
    let backend = Backend::postgres();
    let queue = backend.queue().await;
    let newest = queue.newest().await.expect("read");
    backend.sql("SELECT pg_notify('callback_queue', '')");
    in_time("a notice", queue.changed()).await;
    let arrivals = queue.arrivals(newest, 10).await.expect("looked");
    assert!(arrivals.changed_elsewhere && arrivals.due.is_empty());
    queue.close().await;
}

on_both!(a_commit_tells_the_endpoint_of_a_new_row,);
