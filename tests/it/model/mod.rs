//! The protocol of claim, lease, crash and record, tried in every order of its steps.
//!
//! [`state`] is what it moves on, [`protocol`] the steps, [`rules`] what no step may do; here stand what must hold of it, how much of it is tried, and
//! that the checker finds what is wrong when a guard is left out. `docs/protocol.md` says what
//! was abstracted from, and what follows for the code.

mod protocol;
mod rules;
mod setting;
mod state;

use stateright::{Checker as _, HasDiscoveries, Model as _, Property};

use protocol::Protocol;
use rules::Breach;
use setting::{Faults, Omission, Sharing};
use state::{RowState, Stage, State};

/// The rules between one state and the next, as [`Breach`] has them, and those of single states.
const RULES: [&str; 11] = [
    "a final row stays as it is",
    "a finished row is not sent",
    "a stale token writes nothing but an acknowledgement of what was sent last",
    "no POST leaves before its claim",
    "only heard failures are charged",
    "every step leads on",
    "no lease is held twice",
    "every lease that ended is in the log, once",
    "delivered means that the merchant said so, exhausted that the budget is used up",
    "it only ends when every row is finished",
    "nothing is taken over from the living",
];

/// What a rule's name is in a report.
fn rule_of(breach: Breach) -> &'static str {
    RULES[match breach {
        Breach::FinalRowMoved => 0,
        Breach::FinishedRowSent => 1,
        Breach::StaleTokenWrote => 2,
        Breach::SentUnclaimed => 3,
        Breach::ChargedUnconfirmed => 4,
        Breach::Circle => 5,
        Breach::TakenFromTheLiving => 10,
    }]
}

/// What is to be seen happening, or the model is too tame to show anything.
const SIGHTS: [&str; 7] = [
    "every row is delivered",
    "a row is exhausted",
    "a merchant that said so is sent to again",
    "two attempts of a row are under way",
    "a record comes too late",
    "a row is pruned under a living attempt",
    "an acknowledgement is recorded after its lease was taken over",
];

fn properties() -> Vec<Property<Protocol>> {
    fn unbroken(state: &State, breach: Breach) -> bool {
        state.breach != Some(breach)
    }
    vec![
        Property::always(RULES[0], |_, it| unbroken(it, Breach::FinalRowMoved)),
        Property::always(RULES[1], |_, it| unbroken(it, Breach::FinishedRowSent)),
        Property::always(RULES[2], |_, it| unbroken(it, Breach::StaleTokenWrote)),
        Property::always(RULES[3], |_, it| unbroken(it, Breach::SentUnclaimed)),
        Property::always(RULES[4], |_, it| unbroken(it, Breach::ChargedUnconfirmed)),
        Property::always(RULES[5], |_, it| unbroken(it, Breach::Circle)),
        Property::always(RULES[6], |_, it: &State| {
            it.breach.is_some() || it.no_lease_is_doubled()
        }),
        Property::always(RULES[7], |_, it: &State| {
            it.breach.is_some()
                || it.rows.iter().all(|row| {
                    row.logged + row.released + u8::from(row.token.is_some())
                        == row.claims + row.late
                })
        }),
        Property::always(RULES[8], |model: &Protocol, it: &State| {
            it.rows.iter().all(|row| match row.state {
                RowState::Pending => row.attempts < model.attempts_max || it.breach.is_some(),
                RowState::Delivered => row.told && row.attempts < model.attempts_max,
                RowState::Exhausted => row.attempts == model.attempts_max,
                RowState::Pruned => true,
            })
        }),
        Property::always(RULES[9], |model: &Protocol, it: &State| {
            if it.is_finished() || it.breach.is_some() {
                return true;
            }
            let mut steps = Vec::new();
            model.actions(it, &mut steps);
            !steps.is_empty()
        }),
        Property::always(RULES[10], |_, it| unbroken(it, Breach::TakenFromTheLiving)),
        Property::sometimes(SIGHTS[0], |_, it: &State| {
            it.rows.iter().all(|row| row.state == RowState::Delivered)
        }),
        Property::sometimes(SIGHTS[1], |_, it: &State| {
            it.rows.iter().any(|row| row.state == RowState::Exhausted)
        }),
        Property::sometimes(SIGHTS[2], |_, it: &State| {
            it.rows.iter().any(|row| row.told && row.sent > 1)
        }),
        Property::sometimes(SIGHTS[3], |_, it: &State| {
            (0..it.rows.len()).any(|row| under_way(it, row) > 1)
        }),
        Property::sometimes(SIGHTS[4], |_, it: &State| it.refused),
        Property::sometimes(SIGHTS[5], |_, it: &State| {
            let pruned = |row: &usize| it.rows[*row].state == RowState::Pruned;
            (0..it.rows.len())
                .filter(pruned)
                .any(|row| under_way(it, row) > 0)
        }),
        Property::sometimes(SIGHTS[6], |_, it: &State| {
            it.rows.iter().any(|row| row.late > 0)
        }),
    ]
}

/// Attempts of a row that have left and are not yet recorded.
fn under_way(state: &State, row: usize) -> usize {
    let tasks = state.processes.iter().flat_map(|it| &it.tasks);
    tasks
        .filter(|task| task.row == row && task.stage != Stage::Claimed)
        .count()
}

/// SQLite: whoever has the lock has the queue.
const ONE_AT_A_TIME: Protocol = Protocol {
    sharing: Sharing::Lock,
    processes: 2,
    rows: 2,
    attempts_max: 4,
    faults: Faults {
        crashes: 2,
        stalls: 0,
        unconfirmed: 0,
        resends: 0,
    },
    omission: None,
};

/// PostgreSQL: two dispatchers over one row, and everything goes wrong.
const TWO_DISPATCHERS: Protocol = Protocol {
    sharing: Sharing::Leases,
    processes: 2,
    rows: 1,
    attempts_max: 2,
    faults: Faults {
        crashes: 1,
        stalls: 1,
        unconfirmed: 1,
        resends: 1,
    },
    omission: None,
};

/// PostgreSQL: three dispatchers over one row.
const THREE_DISPATCHERS: Protocol = Protocol {
    processes: 3,
    attempts_max: 2,
    faults: Faults {
        crashes: 1,
        stalls: 2,
        unconfirmed: 0,
        resends: 0,
    },
    ..TWO_DISPATCHERS
};

/// PostgreSQL: two dispatchers over two rows.
const TWO_ROWS: Protocol = Protocol {
    rows: 2,
    attempts_max: 1,
    faults: Faults {
        crashes: 0,
        stalls: 1,
        unconfirmed: 0,
        resends: 0,
    },
    ..TWO_DISPATCHERS
};

/// Tries everything: all rules hold, and of [`SIGHTS`] exactly `seen` can be seen.
#[track_caller]
fn assert_right(protocol: Protocol, seen: &[&str]) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let found = checker.discoveries();
    for rule in RULES {
        if let Some(path) = found.get(rule) {
            panic!("not so: {rule}\n{path}");
        }
    }
    for sight in SIGHTS {
        assert_eq!(found.contains_key(sight), seen.contains(&sight), "{sight}");
    }
    let counted = grouped(checker.unique_state_count());
    let told = include_str!("../../../docs/protocol.md").contains(&format!(" {counted} |"));
    assert!(told, "docs/protocol.md: {protocol:?} has {counted} states");
}

/// With a comma before each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    let marked = digits.char_indices().map(|(at, digit)| match comma(at) {
        true => format!(",{digit}"),
        false => digit.to_string(),
    });
    marked.collect()
}

#[test]
fn one_dispatcher_under_the_lock() {
    assert_right(ONE_AT_A_TIME, &SIGHTS[..3]);
}

#[test]
fn two_dispatchers_with_leases() {
    assert_right(TWO_DISPATCHERS, &SIGHTS);
}

#[test]
fn three_dispatchers_with_leases() {
    assert_right(THREE_DISPATCHERS, &SIGHTS);
}

#[test]
fn two_rows_with_leases() {
    assert_right(TWO_ROWS, &SIGHTS);
}

/// The checker finds that `protocol` breaks `rule` once `omission` is left out of it.
#[track_caller]
fn assert_wrong(protocol: Protocol, omission: Omission, rule: &'static str) {
    let without = Protocol {
        omission: Some(omission),
        ..protocol
    };
    let checker = without
        .checker()
        .finish_when(HasDiscoveries::AnyOf([rule].into()))
        .spawn_bfs()
        .join();
    let found = checker.discovery(rule);
    assert!(found.is_some(), "without {omission:?} {rule}, they say");
}

#[test]
fn every_guard_is_missed() {
    let (locked, leased) = (ONE_AT_A_TIME, TWO_DISPATCHERS);
    let finished = rule_of(Breach::FinishedRowSent);
    let stale = rule_of(Breach::StaleTokenWrote);
    assert_wrong(leased, Omission::TokenInRecord, stale);
    let living = rule_of(Breach::TakenFromTheLiving);
    assert_wrong(leased, Omission::SilenceBeforeTakeover, living);
    assert_wrong(leased, Omission::NothingSentSince, stale);
    assert_wrong(leased, Omission::LookBeforeSend, finished);
    assert_wrong(locked, Omission::Lock, finished);
    assert_wrong(locked, Omission::InterruptAtStart, RULES[9]);
    let unclaimed = rule_of(Breach::SentUnclaimed);
    assert_wrong(locked, Omission::ClaimBeforeSend, unclaimed);
    let charged = rule_of(Breach::ChargedUnconfirmed);
    assert_wrong(locked, Omission::FreeInterruption, charged);
}
