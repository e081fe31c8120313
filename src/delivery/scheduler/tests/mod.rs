//! Turns, claims, shares and limits, without a store.

use super::*;
use crate::delivery::congestion::Signal;
use crate::store::ClaimRequest;

mod hints;
mod invariants;
mod latency;
mod learned;

const SOON: Duration = Duration::from_millis(10);

/// Eight slots, four for an origin.
fn at(millis: i64) -> Limits {
    Limits {
        at: moment(millis),
        in_flight: 8,
        in_flight_per_origin: 4,
        in_flight_per_app: 8,
        deadline: Duration::from_secs(10),
        is_probing: false,
    }
}

fn moment(millis: i64) -> Moment {
    Moment {
        now: Timestamp::from_millis(millis),
        steady: Duration::from_millis(u64::try_from(millis).expect("after the start")),
    }
}

/// `app@origin`
fn endpoint(name: &str) -> Endpoint {
    let (app, origin) = name.split_once('@').expect("app@origin");
    Endpoint::new(app, origin)
}

fn name(endpoint: &Endpoint) -> String {
    format!("{}@{}", endpoint.app_id, endpoint.origin)
}

fn due(scheduler: &mut Scheduler<u32>, names: &[&str], limits: Limits) {
    for name in names {
        let due = limits.at.now;
        let endpoint = endpoint(name);
        assert!(scheduler.became_due(EndpointDue { endpoint, due }, limits));
    }
}

fn plan(scheduler: &mut Scheduler<u32>, limits: Limits) -> Vec<(String, usize)> {
    let requests = scheduler.plan(limits);
    requests
        .iter()
        .map(|request| (name(&request.endpoint), request.limit))
        .collect()
}

fn named(requests: &[(&str, usize)]) -> Vec<(String, usize)> {
    requests
        .iter()
        .map(|(name, limit)| ((*name).to_owned(), *limit))
        .collect()
}

/// Claims as planned, from endpoints that have no end of callbacks due.
fn claim(scheduler: &mut Scheduler<u32>, limits: Limits) -> Vec<(String, usize)> {
    let requests = scheduler.plan(limits);
    let mut claimed = Vec::new();
    for ClaimRequest { endpoint, limit } in requests {
        let past = Some(Timestamp::from_millis(0));
        scheduler.claimed(&endpoint, vec![0; limit], past, limits);
        claimed.push((name(&endpoint), limit));
    }
    claimed
}

/// Fills every slot that can be filled; returns whose they are.
fn fill(scheduler: &mut Scheduler<u32>, limits: Limits) -> Vec<(String, Slot)> {
    std::iter::from_fn(|| scheduler.assign(limits))
        .map(|assignment| (name(&assignment.endpoint), assignment.slot))
        .collect()
}

/// Claims and fills until nothing more fits.
fn saturate(scheduler: &mut Scheduler<u32>, limits: Limits) -> Vec<(String, Slot)> {
    let mut filled = Vec::new();
    while scheduler.has_use_for_a_claim(limits) && !claim(scheduler, limits).is_empty() {
        filled.extend(fill(scheduler, limits));
    }
    filled
}

fn held_by(filled: &[(String, Slot)], app: &str) -> usize {
    let prefix = format!("{app}@");
    filled
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .count()
}

/// Lets an endpoint complete an attempt that took `took`, at `millis`.
fn prove(scheduler: &mut Scheduler<u32>, name: &str, took: Duration, millis: i64) {
    let begun = at(millis - i64::try_from(took.as_millis()).expect("short"));
    due(scheduler, &[name], begun);
    assert_eq!(scheduler.plan(begun).len(), 1, "{name} can be claimed");
    scheduler.claimed(&endpoint(name), vec![0], None, begun);
    let assignment = scheduler.assign(begun).expect("a slot");
    answered(scheduler, assignment.slot, took, at(millis));
    // The next claim is not measured by this one completion.
    scheduler.plan(at(millis));
    let id = scheduler.endpoints.id_of(&endpoint(name));
    scheduler.endpoints[id].completed = 0;
    scheduler.endpoints.lift_limit(id);
}

fn answered(scheduler: &mut Scheduler<u32>, slot: Slot, took: Duration, limits: Limits) {
    scheduler.completed(slot, took, Signal::Answered, limits);
}

fn proven(names: &[&str]) -> Scheduler<u32> {
    let mut scheduler = Scheduler::default();
    for name in names {
        prove(&mut scheduler, name, SOON, 100);
    }
    scheduler
}

#[test]
fn free_slots_are_shared_among_the_due() {
    let names = ["a@1", "b@2", "c@3", "d@4"];
    let mut scheduler = proven(&names);
    due(&mut scheduler, &names, at(100));
    let later = EndpointDue {
        endpoint: endpoint("e@5"),
        due: Timestamp::from_millis(300),
    };
    scheduler.became_due(later, at(100));
    let all = named(&[("a@1", 2), ("b@2", 2), ("c@3", 2), ("d@4", 2)]);
    assert_eq!(plan(&mut scheduler, at(100)), all);
    assert_eq!(plan(&mut scheduler, at(100)), [], "all are being claimed");
    assert_eq!(
        scheduler.next_due(moment(100)),
        Some(Timestamp::from_millis(300))
    );
}

#[test]
fn an_app_with_many_origins_has_one_apps_share() {
    let many: Vec<String> = (0..1000).map(|n| format!("wide@{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let limits = Limits {
        in_flight: 512,
        in_flight_per_origin: 64,
        in_flight_per_app: 512,
        ..at(100)
    };
    let mut scheduler = proven(&["narrow@x"]);
    for name in &many {
        prove(&mut scheduler, name, SOON, 100);
    }
    due(&mut scheduler, &many, limits);
    due(&mut scheduler, &["narrow@x"], limits);
    let requests = plan(&mut scheduler, limits);
    assert!(
        requests.contains(&("narrow@x".to_owned(), 64)),
        "{requests:?}"
    );
}

#[test]
fn one_backlog_takes_turns_with_the_others() {
    let mut scheduler = proven(&["deep@1", "a@2"]);
    due(&mut scheduler, &["deep@1"], at(100));
    assert_eq!(claim(&mut scheduler, at(100)), named(&[("deep@1", 4)]));
    due(&mut scheduler, &["a@2"], at(100));
    assert_eq!(claim(&mut scheduler, at(100)), named(&[("a@2", 4)]));
    let filled = fill(&mut scheduler, at(100));
    let whose: Vec<&str> = filled.iter().map(|(name, _)| name.as_str()).collect();
    let in_turn = ["deep@1", "a@2"].repeat(4);
    assert_eq!(whose, in_turn);
}

#[test]
fn an_origin_at_its_limit_waits_for_a_completion() {
    let mut scheduler = proven(&["a@1"]);
    due(&mut scheduler, &["a@1"], at(100));
    assert_eq!(claim(&mut scheduler, at(100)), named(&[("a@1", 4)]));
    let mut filled = fill(&mut scheduler, at(100));
    assert_eq!(filled.len(), 4);
    due(&mut scheduler, &["a@1"], at(100));
    assert!(!scheduler.has_use_for_a_claim(at(100)));
    assert_eq!(plan(&mut scheduler, at(100)), []);
    answered(&mut scheduler, filled.remove(0).1, SOON, at(101));
    assert!(scheduler.has_use_for_a_claim(at(101)));
}

#[test]
fn apps_that_share_an_origin_share_its_limit_in_turn() {
    let names = ["a@platform", "b@platform", "c@platform"];
    let mut scheduler = proven(&names);
    let limits = Limits {
        is_probing: true,
        ..at(100)
    };
    due(&mut scheduler, &names, limits);
    let mut open = saturate(&mut scheduler, limits);
    assert_eq!(open.len(), 4, "the origin's limit, over all apps");
    let mut sent = std::collections::HashMap::<String, usize>::new();
    for _ in 0..60 {
        let (name, slot) = open.remove(0);
        *sent.entry(name).or_default() += 1;
        answered(&mut scheduler, slot, SOON, limits);
        open.extend(saturate(&mut scheduler, limits));
        assert_eq!(open.len(), 4);
    }
    assert!(
        sent.len() == 3 && sent.values().all(|n| *n >= 15),
        "{sent:?}"
    );
}

#[test]
fn an_app_at_its_ceiling_leaves_the_slots_of_its_origins_to_others() {
    let mut scheduler = proven(&["a@1", "a@2", "b@1"]);
    let limits = Limits {
        in_flight_per_app: 3,
        ..at(100)
    };
    due(&mut scheduler, &["a@1", "a@2"], limits);
    let mut filled = saturate(&mut scheduler, limits);
    assert_eq!(filled.len(), 3);
    due(&mut scheduler, &["b@1"], limits);
    let of_b = saturate(&mut scheduler, limits);
    assert!(held_by(&of_b, "b") >= 1, "{of_b:?}");
    answered(&mut scheduler, filled.remove(0).1, SOON, limits);
    assert_eq!(held_by(&saturate(&mut scheduler, limits), "a"), 1);
}

#[test]
fn a_free_slot_of_an_app_goes_to_the_next_if_the_first_in_line_has_a_full_origin() {
    let mut scheduler = Scheduler::<u32>::default();
    let limits = Limits {
        in_flight_per_origin: 1,
        in_flight_per_app: 1,
        ..at(0)
    };
    scheduler.claimed(&endpoint("a@3"), vec![0], None, limits);
    let mut of_a = fill(&mut scheduler, limits);
    scheduler.claimed(&endpoint("a@1"), vec![0], None, limits);
    scheduler.claimed(&endpoint("a@2"), vec![0], None, limits);
    assert!(
        scheduler.assign(limits).is_none(),
        "the app is at its ceiling"
    );
    scheduler.claimed(&endpoint("b@1"), vec![0], None, limits);
    assert_eq!(
        fill(&mut scheduler, limits).len(),
        1,
        "origin 1 is full from here on"
    );
    answered(&mut scheduler, of_a.remove(0).1, SOON, limits);
    let next = fill(&mut scheduler, limits);
    assert_eq!(next[0].0, "a@2");
}
