//! Lists that once failed, as short as they got. Those that are here failed with a fault put into
//! the program on purpose; `docs/simulation.md` has the faults.

use super::operation::CrashPoint::AfterClaim;
use super::operation::Operation::{self, *};
use super::operation::Reply::{Acknowledge, Connect, Local, Refuse};
use super::operation::StoreCall::{Recording, Refunding};
use super::operation::StoreFault::{Busy, Full, Refused};
use super::operation::Way::Command;
use super::simulate;

/// Nothing is violated by `operations`.
fn holds(operations: &[Operation]) {
    if let Err(violation) = simulate(operations).0 {
        panic!("{violation}");
    }
}

#[test]
fn a_retry_is_due_to_the_millisecond() {
    holds(&[
        ChangeMind {
            merchant: 1,
            mood: Some(Refuse),
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 1,
            refund: false,
            count: 1,
            nudge: true,
        },
    ]);
}

#[test]
fn a_fault_of_our_own_host_is_not_charged() {
    holds(&[
        ChangeMind {
            merchant: 0,
            mood: Some(Local),
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        Advance { seconds: 1 },
    ]);
}

#[test]
fn an_outcome_outlives_a_store_that_fails() {
    holds(&[
        StoreFails {
            call: Recording,
            fault: Busy,
            times: 1,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: true,
        },
    ]);
}

#[test]
fn an_outcome_that_the_store_refuses_is_tried_again() {
    holds(&[
        StoreFails {
            call: Recording,
            fault: Refused,
            times: 2,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: true,
        },
    ]);
}

#[test]
fn what_was_claimed_before_a_crash_is_interrupted() {
    holds(&[
        CrashAt { point: AfterClaim },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        Advance { seconds: 1 },
    ]);
}

#[test]
fn an_origin_never_has_more_than_its_limit() {
    holds(&[
        ChangeMind {
            merchant: 2,
            mood: None,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 2,
            refund: false,
            count: 2,
            nudge: false,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 2,
            refund: false,
            count: 4,
            nudge: true,
        },
        Answer {
            which: 0,
            reply: Acknowledge,
        },
    ]);
}

#[test]
fn only_what_is_past_its_retention_is_pruned() {
    holds(&[
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: true,
        },
        Prune { keep_minutes: 0 },
    ]);
}

/// Was a fault of the program: attempts to be given back were asked for without a pause, as long as
/// the store refused to record one of them.
#[test]
fn what_is_given_back_after_an_outage_waits_until_it_is_recorded() {
    holds(&[
        StoreFails {
            call: Recording,
            fault: Refused,
            times: 4,
        },
        NetworkLost { minutes: 5 },
    ]);
}

/// Sent in turn to a merchant that hangs now, it would take longer than a drain may.
#[test]
fn what_was_claimed_ahead_does_not_outlast_a_drain() {
    holds(&[
        Reload {
            waits: 4,
            places: 1,
            without_key_of: None,
            rotated: false,
            shield: false,
        },
        ChangeMind {
            merchant: 4,
            mood: None,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 4,
            refund: false,
            count: 1,
            nudge: false,
        },
        Stop,
        Advance { seconds: 5 },
        Advance { seconds: 15 },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 4,
            refund: false,
            count: 5,
            nudge: true,
        },
        Answer {
            which: 0,
            reply: Acknowledge,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        Stop,
    ]);
}

#[test]
fn a_record_under_a_lease_that_was_revoked_changes_nothing() {
    holds(&[
        ChangeMind {
            merchant: 0,
            mood: None,
        },
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: true,
        },
        Cancel { which: 0 },
        Resend { which: 0 },
        Advance { seconds: 1 },
        Answer {
            which: 0,
            reply: Refuse,
        },
    ]);
}

/// What an outage excuses before it is recorded is due fifteen seconds after that became known.
#[test]
fn an_excuse_while_the_store_fails_counts_from_when_it_is_known() {
    holds(&[
        Enqueue {
            way: Command,
            app: 0,
            merchant: 0,
            refund: false,
            count: 1,
            nudge: false,
        },
        StoreFails {
            call: Recording,
            fault: Busy,
            times: 5,
        },
        NetworkLost { minutes: 5 },
        SetClock { by_seconds: -86400 },
    ]);
}

/// One payment of app 0, for `merchant`.
const fn payment_for(merchant: u8) -> Operation {
    Enqueue {
        way: Command,
        app: 0,
        merchant,
        refund: false,
        count: 1,
        nudge: true,
    }
}

#[test]
fn nothing_is_claimed_while_outcomes_are_not_recorded() {
    holds(&[
        StoreFails {
            call: Recording,
            fault: Full,
            times: 4,
        },
        payment_for(0),
        payment_for(1),
        Advance { seconds: 3 },
    ]);
}

#[test]
fn a_drain_uncounts_what_an_outage_had_used_up() {
    let mut operations = vec![StoreFails {
        call: Refunding,
        fault: Busy,
        times: 2,
    }];
    for merchant in 0..5 {
        let mood = Some(Connect);
        operations.extend([ChangeMind { merchant, mood }, payment_for(merchant)]);
    }
    operations.push(Stop);
    holds(&operations);
}
