//! What becomes of callbacks after a resend.

use callback_dispatcher::store::{Action, Progress, StoredState};

use super::{Fixture, ONE, at};
use crate::support::store::{StoreKind, on_both};

async fn what_becomes_of_resent_callbacks_is_counted(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    let rows = ["a", "b", "c", "d", "e", "f"].map(|order| (order, "exhausted", "6", ONE));
    fixture.insert(&rows);
    let resend = fixture.ask(Action::Resend, |command| {
        command.selectors.state = Some(StoredState::Exhausted);
    });
    let resend = resend.await;
    let progress = async || fixture.commands.progress(resend).await.expect("counted");
    assert_eq!(progress().await, Progress::default());
    fixture.carry_out(at(10)).await;
    let to_come = Progress {
        to_come: 6,
        ..Progress::default()
    };
    assert_eq!(progress().await, to_come);
    for (id, change) in [
        (
            1,
            "state = 'delivered', next_attempt_at = NULL, finished_at = 1, attempts = 1",
        ),
        (
            2,
            "state = 'exhausted', next_attempt_at = NULL, finished_at = 1, attempts = 4",
        ),
        (3, "attempts = 1"),
        (
            4,
            "state = 'cancelled', next_attempt_at = NULL, finished_at = 1",
        ),
    ] {
        fixture.sql(&format!(
            "UPDATE callback_queue SET {change} WHERE id = {id}"
        ));
    }
    let expected = Progress {
        acknowledged: 1,
        exhausted: 1,
        cancelled: 1,
        retrying: 1,
        to_come: 2,
    };
    assert_eq!(progress().await, expected);
}

on_both!(what_becomes_of_resent_callbacks_is_counted,);
