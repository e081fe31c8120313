//! A resend to another URL than the one that was queued.

use callback_dispatcher::domain::{Next, Outcome};
use callback_dispatcher::store::{Action, NewCommand};

use super::{Fixture, ONE, TWO, at};
use crate::support::store::{StoreKind, on_both};

fn to(url: &str) -> impl FnOnce(&mut NewCommand) {
    let url = url.to_owned();
    move |command| {
        command.selectors.order_number = Some("a".to_owned());
        command.to_url = Some(url);
    }
}

const ROW: &str = "SELECT callback_url, coalesce(to_url, '-'), origin FROM callback_queue";

async fn a_resend_to_another_url_goes_there_and_the_log_says_so(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "pending", "6", ONE)]);
    let [claimed] = <[_; 1]>::try_from(fixture.claim(ONE, 1, at(1)).await).expect("one");
    assert_eq!(claimed.callback.as_ref().expect("readable").to_url, None);
    fixture
        .record(claimed, Outcome::HttpStatus, Next::Exhausted)
        .await;
    let url = "https://TWO.example:443/new?a=b";
    let id = fixture.ask(Action::Resend, to(url)).await;
    let due = fixture.carry_out(at(10)).await;
    assert_eq!(
        fixture.answer(id).await,
        "done|1|1|0|{}|resent 1 of 1 callback"
    );
    assert_eq!(Vec::from_iter(due), [TWO]);
    let there = format!("{ONE}/callback|{url}|{TWO}");
    assert_eq!(fixture.sql(ROW), there);
    assert!(fixture.claim(ONE, 1, at(11)).await.is_empty());
    let [claimed] = <[_; 1]>::try_from(fixture.claim(TWO, 1, at(11)).await).expect("one");
    assert_eq!(claimed.callback.as_ref().expect("readable").url(), url);
    fixture
        .record(claimed, Outcome::Timeout, Next::Exhausted)
        .await;
    let log = "SELECT seq, coalesce(to_url, '-') FROM callback_attempt ORDER BY seq";
    assert_eq!(fixture.sql(log), format!("1|-\n2|{url}"));
    // It stays there, until it is named again.
    fixture
        .answered(Action::Resend, |command| {
            command.selectors.order_number = Some("a".to_owned());
        })
        .await;
    assert_eq!(fixture.sql(ROW), there);
    // Even though it is due already. A crash is logged as well.
    fixture
        .answered(Action::Resend, to("https://two.example/newer"))
        .await;
    assert_eq!(fixture.claim(TWO, 1, at(12)).await.len(), 1);
    fixture.sql("UPDATE callback_queue SET leased_until = 1, lease_token = 1");
    fixture
        .queue
        .interrupt_in_flight(at(13))
        .await
        .expect("ended");
    assert_eq!(
        fixture.sql(&format!("{log} LIMIT 1 OFFSET 2")),
        "3|https://two.example/newer"
    );
    fixture
        .answered(Action::Resend, to(&format!("{ONE}/callback")))
        .await;
    assert_eq!(fixture.sql(ROW), format!("{ONE}/callback|-|{ONE}"));
}

async fn a_url_that_may_not_be_called_is_refused(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "exhausted", "6", ONE)]);
    let id = fixture.ask(Action::Resend, to("https://10.0.0.1/")).await;
    let forbid = |_: &str| Err("10.0.0.1 is private".to_owned());
    let batch = fixture.queue.carry_out(at(10), &forbid).await;
    batch.expect("carried out");
    assert_eq!(
        fixture.answer(id).await,
        "refused|0|0|0|{}|10.0.0.1 is private"
    );
    assert_eq!(fixture.sql(ROW), format!("{ONE}/callback|-|{ONE}"));
}

on_both!(
    a_resend_to_another_url_goes_there_and_the_log_says_so,
    a_url_that_may_not_be_called_is_refused,
);
