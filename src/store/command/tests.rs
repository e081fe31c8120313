//! The rule of each state, and words both ways.

use std::time::Duration;

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
        finished_at: (state != StoredState::Pending).then(|| Timestamp::from_millis(due)),
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
fn only_what_finished_before_the_moment_is_pruned() {
    use Disposition::{Act, Skip};
    let until = Timestamp::from_millis(1000);
    let mut prune = NewCommand::new(Action::Prune, "a", "r");
    prune.selectors.until = Some(until);
    let finished = |state, millis: Option<i64>| CallbackSnapshot {
        state,
        in_flight: false,
        was_acknowledged: state == StoredState::Delivered,
        attempts: 1,
        next_attempt_at: None,
        finished_at: millis.map(Timestamp::from_millis),
    };
    for (callback, expected) in [
        (finished(StoredState::Delivered, Some(999)), Act),
        (finished(StoredState::Exhausted, Some(999)), Act),
        (finished(StoredState::Cancelled, Some(999)), Act),
        (
            finished(StoredState::Delivered, Some(1000)),
            Skip("finished later"),
        ),
        (finished(StoredState::Pending, None), Skip("pending")),
    ] {
        assert_eq!(
            disposition(&prune, callback, until),
            expected,
            "{callback:?}"
        );
    }
}

#[test]
fn the_last_of_a_paced_resend_is_due_by_its_rate() {
    let begun = Timestamp::from_millis(1_795_000_000_000);
    let command = |done, rate| Command {
        id: CommandId(1),
        request: NewCommand {
            rate,
            ..NewCommand::new(Action::Resend, "a", "r")
        },
        created_at: begun,
        status: CommandStatus::Running,
        selected: done,
        done,
        skipped: 0,
        skipped_why: BTreeMap::new(),
        answer: String::new(),
        started_at: Some(begun),
        finished_at: None,
        scan_position: CallbackId(0),
        scan_end: None,
    };
    let after = |seconds| Some(begun.after(Duration::from_secs(seconds)));
    for (done, rate, expected) in [
        (0, None, None),
        (1, Some(1), None),
        (100, None, None),
        (101, None, after(1)),
        (5001, None, after(50)),
        (3, Some(1), after(2)),
    ] {
        assert_eq!(
            decision::last_due(&command(done, rate)),
            expected,
            "{done} at {rate:?}"
        );
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
