//! What the dispatcher hears of others' commits.

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::Endpoint;

use super::Backend;

#[tokio::test(flavor = "multi_thread")]
async fn new_rows_are_heard_of_by_their_endpoint() {
    for backend in Backend::both() {
        let queue = backend.queue().await;
        let newest = queue.newest().await.expect("read");
        backend.sql(
            "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, result, settlement_status)
             VALUES ('payment', 'https://ONE.example:443/x', '6', 1, '1', 'LAK', 'n', 'o', 'success', 1)",
        );
        crate::live::in_time("a nudge", queue.changed()).await;
        let arrivals = queue.arrivals(newest, 10).await.expect("looked");
        let endpoints: Vec<_> = arrivals.due.iter().map(|due| &due.endpoint).collect();
        assert_eq!(endpoints, [&Endpoint::new("6", "https://one.example")]);
        assert_eq!(arrivals.newest, Some(CallbackId(1)));
        assert!(!arrivals.has_commands);
        queue.close().await;
    }
}

/// PostgreSQL's notices are of 8000 bytes at most, and an origin may be longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_without_an_endpoint_asks_for_a_survey() {
    let backend = Backend::postgres();
    let queue = backend.queue().await;
    let newest = queue.newest().await.expect("read");
    backend.sql("SELECT pg_notify('callback_queue', '')");
    crate::live::in_time("a nudge", queue.changed()).await;
    let arrivals = queue.arrivals(newest, 10).await.expect("looked");
    assert!(arrivals.changed_elsewhere && arrivals.due.is_empty());
    queue.close().await;
}
