//! The rule of each state, and words both ways.

use super::*;

#[test]
fn each_state_has_its_rule() {
    use Disposition::{Act, Await, Skip};
    let now = Timestamp::from_millis(1000);
    let resend = NewCommand::new(Action::Resend, "a", "r");
    let resend_all = NewCommand {
        include_acknowledged: true,
        ..resend.clone()
    };
    let cancel = NewCommand::new(Action::Cancel, "a", "r");
    let snapshot = |state, in_flight, was_acknowledged, attempts, due: i64| CallbackSnapshot {
        state,
        in_flight,
        was_acknowledged,
        attempts,
        next_attempt_at: (state == StoredState::Pending).then(|| Timestamp::from_millis(due)),
    };
    let table = [
        // state, in flight, acknowledged, attempts, due: resend, resend all, cancel
        (
            snapshot(StoredState::Pending, false, false, 0, 2000),
            Act,
            Act,
            Act,
        ),
        (
            snapshot(StoredState::Pending, false, false, 2, 2000),
            Act,
            Act,
            Act,
        ),
        (
            snapshot(StoredState::Pending, false, false, 2, 500),
            Act,
            Act,
            Act,
        ),
        (
            snapshot(StoredState::Pending, false, false, 0, 1000),
            Skip("due already"),
            Skip("due already"),
            Act,
        ),
        (
            snapshot(StoredState::Pending, true, false, 1, 500),
            Await,
            Await,
            Await,
        ),
        (
            snapshot(StoredState::Pending, false, true, 1, 500),
            Skip("acknowledged"),
            Act,
            Act,
        ),
        (
            snapshot(StoredState::Pending, true, true, 1, 500),
            Skip("acknowledged"),
            Await,
            Await,
        ),
        (
            snapshot(StoredState::Delivered, false, true, 1, 0),
            Skip("acknowledged"),
            Act,
            Skip("acknowledged"),
        ),
        (
            // Its attempts are no longer in the log.
            snapshot(StoredState::Delivered, false, false, 1, 0),
            Skip("acknowledged"),
            Act,
            Skip("acknowledged"),
        ),
        (
            snapshot(StoredState::Exhausted, false, false, 4, 0),
            Act,
            Act,
            Skip("exhausted"),
        ),
        (
            snapshot(StoredState::Cancelled, false, false, 1, 0),
            Act,
            Act,
            Skip("cancelled already"),
        ),
    ];
    for (callback, once, again, off) in table {
        for (command, expected) in [(&resend, once), (&resend_all, again), (&cancel, off)] {
            let found = disposition(command, callback, now);
            assert_eq!(found, expected, "{:?} {callback:?}", command.action);
        }
    }
}

#[test]
fn words_go_both_ways() {
    for action in Action::ALL {
        assert_eq!(action.as_str().parse(), Ok(*action));
    }
    let error = "pending, please"
        .parse::<StoredState>()
        .expect_err("no such state");
    assert!(
        error
            .to_string()
            .contains("pending, delivered, exhausted or cancelled")
    );
}
