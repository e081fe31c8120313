//! A permit that lapses between the claim and the first byte.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use super::scripted::Found;
use super::*;

fn permit(is_good: bool) -> Arc<Permit> {
    Permit::new(move || is_good)
}

async fn post(transport: &Transport, url: &str, body: &str, permit: &Arc<Permit>) -> PostReport {
    post_as(transport, "", url, body, Some(permit)).await
}

#[tokio::test]
async fn a_permit_changes_nothing_of_a_request() {
    let merchant = Merchant::acks(2).await;
    let transport = transport(settings());
    let permit = permit(true);
    let url = merchant.url();
    transport.post(&url, b"{}".to_vec()).await;
    settle().await;
    let report = post(&transport, &url, "{}", &permit).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert_eq!(permit.refusal(), None);
    assert_eq!(merchant.connections(), 1);
    assert_eq!(merchant.requests()[0], merchant.requests()[1]);
}

#[tokio::test]
async fn without_a_permit_no_byte_is_written_on_a_kept_connection() {
    let merchant = Merchant::acks(2).await;
    let transport = transport(settings());
    let permit = permit(false);
    let url = merchant.url();
    transport.post(&url, b"1".to_vec()).await;
    settle().await;
    let report = post(&transport, &url, "2", &permit).await;
    assert_eq!(permit.refusal(), Some(Refusal::NothingWritten));
    assert!(
        matches!(report.exchange, Exchange::Failed(_)),
        "{:?}",
        report.exchange
    );
    settle().await;
    assert_eq!(merchant.requests().len(), 1);
}

#[tokio::test]
async fn a_permit_that_lapses_while_the_connection_is_made_is_refused() {
    let merchant = Merchant::acks(1).await;
    let transport = resolving(settings(), [Found::Addresses(vec![scripted::LOOPBACK])]);
    let is_good = Arc::new(AtomicBool::new(true));
    let asks = Arc::clone(&is_good);
    let permit = Permit::new(move || asks.load(Ordering::Relaxed));
    let url = merchant.named_url("http");
    let mut posting = Box::pin(post(&transport, &url, "{}", &permit));
    // The lookup takes a turn at least.
    let is_pending = poll_fn(|context| Poll::Ready(posting.as_mut().poll(context).is_pending()));
    assert!(is_pending.await);
    is_good.store(false, Ordering::Relaxed);
    posting.await;
    assert_eq!(permit.refusal(), Some(Refusal::NothingWritten));
    settle().await;
    assert_eq!(merchant.requests().len(), 0);
}

#[tokio::test]
async fn a_permit_refused_on_a_second_sending_tells_that_the_first_was_written() {
    let merchant = Merchant::plain(vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request, Step::Ack],
    ])
    .await;
    let transport = transport(settings());
    let times_asked = AtomicUsize::new(0);
    let permit = Permit::new(move || times_asked.fetch_add(1, Ordering::Relaxed) == 0);
    let url = merchant.url();
    transport.post(&url, b"1".to_vec()).await;
    settle().await;
    post(&transport, &url, "2", &permit).await;
    assert_eq!(permit.refusal(), Some(Refusal::WrittenBefore));
    settle().await;
    assert_eq!(
        merchant.requests().len(),
        2,
        "one of them for this exchange"
    );
}
