//! Stopping a paced resend.

use callback_dispatcher::domain::{Next, Outcome};
use callback_dispatcher::store::{Action, StoredState};

use super::{Fixture, ONE, at};
use crate::support::store::{StoreKind, on_both};

async fn what_a_resend_has_queued_is_called_off_but_for_what_was_tried(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    let rows = ["a", "b", "c", "d"].map(|order| (order, "exhausted", "6", ONE));
    fixture.insert(&rows);
    fixture.insert(&[("e", "pending", "6", ONE)]);
    let resend = fixture.ask(Action::Resend, |command| {
        command.selectors.state = Some(StoredState::Exhausted);
        command.rate = Some(1);
    });
    let resend = resend.await;
    fixture.carry_out(at(10)).await;
    fixture.sql("UPDATE callback_queue SET next_attempt_at = next_attempt_at + 1000000000 WHERE newpay_order_no = 'e'");
    let mut claimed = fixture.claim(ONE, 2, at(12)).await;
    let tried = claimed.remove(0);
    fixture
        .record(tried, Outcome::Timeout, Next::RetryAt(at(500)))
        .await;
    let stopped = fixture.answered(Action::Cancel, |command| {
        command.selectors.command_id = Some(resend);
    });
    assert_eq!(
        stopped.await,
        "done|4|2|2|{\"tried already\":2}|cancelled 2 of 4 callbacks; left as they are: 2 tried already"
    );
    assert_eq!(fixture.orders("cancelled"), "c d");
    assert_eq!(fixture.orders("pending"), "a b e");
}

on_both!(what_a_resend_has_queued_is_called_off_but_for_what_was_tried,);
