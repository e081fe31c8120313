//! Lists that once failed, as short as they got. Those that are here failed with a fault put into
//! the program on purpose; `docs/simulation.md` has the faults.

use super::operation::CrashPoint::AfterClaim;
use super::operation::Operation::{self, *};
use super::operation::Reply::{self, Acknowledge, Connect, Local, Refuse};
use super::operation::StoreCall::{self, Recording, Refunding};
use super::operation::StoreFault::{self, Busy, Full, Refused};
use super::operation::Way::Command;
use super::simulate;

/// Nothing is violated by `operations`.
fn holds(operations: &[Operation]) {
    if let Err(violation) = simulate(operations).0 {
        panic!("{violation}");
    }
}

/// Payments of app 0 for `merchant`, of which the dispatcher is notified if `notify` is set.
const fn payments(merchant: u8, count: u8, notify: bool) -> Operation {
    payments_of(0, merchant, count, notify)
}

const fn payments_of(app: u8, merchant: u8, count: u8, notify: bool) -> Operation {
    Enqueue {
        way: Command,
        app,
        merchant,
        refund: false,
        count,
        notify,
    }
}

/// What `merchant` answers from now on.
const fn answers(merchant: u8, mood: Option<Reply>) -> Operation {
    ChangeMind { merchant, mood }
}

const fn store_fails(call: StoreCall, fault: StoreFault, times: u8) -> Operation {
    StoreFails { call, fault, times }
}

const fn answer(reply: Reply) -> Operation {
    Answer { which: 0, reply }
}

#[test]
fn a_retry_is_due_to_the_millisecond() {
    holds(&[answers(1, Some(Refuse)), payments(1, 1, true)]);
}

#[test]
fn a_fault_of_our_own_host_is_not_charged() {
    holds(&[
        answers(0, Some(Local)),
        payments(0, 1, false),
        Advance { seconds: 1 },
    ]);
}

#[test]
fn an_outcome_outlives_a_store_that_fails() {
    holds(&[store_fails(Recording, Busy, 1), payments(0, 1, true)]);
}

#[test]
fn an_outcome_that_the_store_refuses_is_tried_again() {
    holds(&[store_fails(Recording, Refused, 2), payments(0, 1, true)]);
}

#[test]
fn a_callback_that_was_claimed_before_a_crash_is_interrupted() {
    holds(&[
        CrashAt { point: AfterClaim },
        payments(0, 1, false),
        Advance { seconds: 1 },
    ]);
}

#[test]
fn an_origin_never_has_more_than_its_limit() {
    holds(&[
        answers(2, None),
        payments(2, 2, false),
        payments(2, 4, true),
        answer(Acknowledge),
    ]);
}

#[test]
fn only_callbacks_past_their_retention_are_pruned() {
    holds(&[payments(0, 1, true), Prune { keep_minutes: 0 }]);
}

/// Was a fault of the program: attempts to be un-counted were asked for without a pause, as long as
/// the store refused to record one of them.
#[test]
fn attempts_are_uncounted_after_an_outage_once_they_are_recorded() {
    holds(&[
        store_fails(Recording, Refused, 4),
        NetworkLost {
            minutes: 5,
            shows_as: Reply::Connect,
        },
    ]);
}

/// Sent in turn to a merchant that hangs now, it would take longer than a drain may.
#[test]
fn callbacks_claimed_ahead_do_not_outlast_a_drain() {
    holds(&[
        Reload {
            waits: 4,
            places: 1,
            without_key_of: None,
            rotated: false,
            shield: false,
        },
        answers(4, None),
        payments(0, 1, false),
        payments(4, 1, false),
        Stop,
        Advance { seconds: 5 },
        Advance { seconds: 15 },
        payments(4, 5, true),
        answer(Acknowledge),
        payments(0, 1, false),
        payments(0, 1, false),
        Stop,
    ]);
}

#[test]
fn a_record_under_a_lease_that_was_revoked_changes_nothing() {
    holds(&[
        answers(0, None),
        payments(0, 1, true),
        Cancel { which: 0 },
        Resend { which: 0 },
        Advance { seconds: 1 },
        answer(Refuse),
    ]);
}

/// What an outage excuses before it is recorded is due fifteen seconds after that became known.
#[test]
fn an_excuse_while_the_store_fails_counts_from_when_it_is_known() {
    holds(&[
        payments(0, 1, false),
        store_fails(Recording, Busy, 5),
        NetworkLost {
            minutes: 5,
            shows_as: Reply::Connect,
        },
        SetClock { by_seconds: -86400 },
    ]);
}

#[test]
fn nothing_is_claimed_while_outcomes_are_not_recorded() {
    holds(&[
        store_fails(Recording, Full, 4),
        payments(0, 1, true),
        payments(1, 1, true),
        Advance { seconds: 3 },
    ]);
}

#[test]
fn a_drain_uncounts_what_an_outage_had_used_up() {
    let mut operations = vec![store_fails(Refunding, Busy, 2)];
    for merchant in 0..5 {
        let connect = answers(merchant, Some(Connect));
        operations.extend([connect, payments_of(merchant, merchant, 1, true)]);
    }
    operations.push(Stop);
    holds(&operations);
}
