//! Turns, claims and limits, without a store.

use super::*;

const SOON: Duration = Duration::from_millis(10);

fn at(now: i64) -> Rules {
    Rules {
        now: Timestamp::from_millis(now),
        in_flight_max: 8,
        in_flight_per_origin_max: 4,
        claims_ahead: true,
    }
}

fn endpoint(origin: &str) -> Endpoint {
    Endpoint::new("6", origin)
}

fn due(origin: &str, due: i64) -> EndpointDue {
    EndpointDue {
        endpoint: endpoint(origin),
        due: Timestamp::from_millis(due),
    }
}

fn hear(roster: &mut Roster<u32>, origins: &[&str], now: i64) {
    for origin in origins {
        roster.heard(due(origin, now), at(now));
    }
}

fn plan(roster: &mut Roster<u32>, rules: Rules) -> Vec<(String, usize)> {
    let wants = roster.plan(rules);
    wants
        .into_iter()
        .map(|want| (want.endpoint.origin.to_string(), want.limit))
        .collect()
}

fn named(wants: &[(&str, usize)]) -> Vec<(String, usize)> {
    wants
        .iter()
        .map(|(origin, limit)| ((*origin).to_owned(), *limit))
        .collect()
}

/// Claims as planned, from origins that have no end of callbacks due.
fn claim(roster: &mut Roster<u32>, now: i64) -> Vec<(String, usize)> {
    let wants = roster.plan(at(now));
    let mut claimed = Vec::new();
    for ClaimRequest { endpoint, limit } in wants {
        let past = Some(Timestamp::from_millis(0));
        roster.claimed(&endpoint, vec![0; limit], past, at(now));
        claimed.push((endpoint.origin.to_string(), limit));
    }
    claimed
}

/// Fills every place that can be filled; returns whose they are.
fn fill(roster: &mut Roster<u32>, now: i64) -> Vec<(String, PlaceNumber)> {
    std::iter::from_fn(|| roster.take(at(now)))
        .map(|turn| (turn.endpoint.origin.to_string(), turn.place))
        .collect()
}

/// Lets `origin` end an attempt, `took` long, until `now`.
fn prove(roster: &mut Roster<u32>, origin: &str, took: Duration, now: i64) {
    let begun = now - i64::try_from(took.as_millis()).expect("short");
    let key = endpoint(origin);
    hear(roster, &[origin], begun);
    roster.plan(at(begun));
    roster.claimed(&key, vec![0], None, at(begun));
    let turn = roster.take(at(begun)).expect("a place");
    roster.finished(turn.place, at(now));
    // The next claim is not measured by this one end.
    roster.plan(at(now));
    roster.lanes.get_mut(&key).expect("remembered").ended = 0;
}

fn proven(origins: &[&str]) -> Roster<u32> {
    let mut roster = Roster::default();
    for origin in origins {
        prove(&mut roster, origin, SOON, 100);
    }
    roster
}

#[test]
fn free_places_are_shared_among_the_due() {
    let mut roster = proven(&["a", "b", "c", "d"]);
    hear(&mut roster, &["a", "b", "c", "d"], 100);
    roster.heard(due("later", 300), at(100));
    let all = named(&[("a", 2), ("b", 2), ("c", 2), ("d", 2)]);
    assert_eq!(plan(&mut roster, at(100)), all);
    let none = plan(&mut roster, at(100));
    assert_eq!(none, [], "all are being claimed");
    assert_eq!(roster.next_due(), Some(Timestamp::from_millis(300)));
}

#[test]
fn one_backlog_takes_turns_with_the_others() {
    let mut roster = proven(&["deep", "a"]);
    hear(&mut roster, &["deep"], 100);
    assert_eq!(claim(&mut roster, 100), named(&[("deep", 4)]));
    hear(&mut roster, &["a"], 100);
    assert_eq!(claim(&mut roster, 100), named(&[("a", 4)]));
    let places = fill(&mut roster, 100);
    let whose: Vec<&str> = places.iter().map(|(origin, _)| origin.as_str()).collect();
    assert_eq!(whose, ["deep", "a", "deep", "a", "deep", "a", "deep", "a"]);
}

#[test]
fn an_origin_at_its_limit_waits_for_an_end_and_does_not_spin() {
    let mut roster = Roster::default();
    hear(&mut roster, &["hangs"], 0);
    assert_eq!(claim(&mut roster, 0), named(&[("hangs", 4)]));
    let places = fill(&mut roster, 0);
    assert_eq!(places.len(), 4);
    assert!(!roster.is_hungry(at(0)));
    hear(&mut roster, &["hangs"], 0);
    assert!(!roster.is_hungry(at(0)), "still at its limit");
    assert_eq!(plan(&mut roster, at(0)), []);
    roster.finished(places[0].1, at(1));
    assert!(roster.is_hungry(at(1)));
}

#[test]
fn what_ends_fast_is_claimed_ahead_and_what_hangs_is_not() {
    let mut roster = proven(&["fast"]);
    hear(&mut roster, &["fast", "hangs"], 100);
    claim(&mut roster, 100);
    let places = fill(&mut roster, 100);
    assert_eq!((roster.in_flight(), roster.stock()), (8, 0));
    for (_, place) in places.iter().filter(|(origin, _)| origin == "fast") {
        roster.finished(*place, at(110));
    }
    assert_eq!(claim(&mut roster, 110), named(&[("fast", 20)]));
    assert_eq!(fill(&mut roster, 110).len(), 4);
    assert_eq!((roster.in_flight(), roster.stock()), (8, 16));
    assert!(!roster.is_hungry(at(110)), "the stock fills the places");
}

#[test]
fn the_slow_hold_half_of_the_places_at_most() {
    let mut roster = proven(&["fast"]);
    let slow = Duration::from_secs(2);
    for origin in ["slow-1", "slow-2"] {
        prove(&mut roster, origin, slow, 3_000);
    }
    hear(&mut roster, &["slow-1", "slow-2"], 3_000);
    assert_eq!(
        claim(&mut roster, 3_000),
        named(&[("slow-1", 4)]),
        "half of eight"
    );
    hear(&mut roster, &["new-1", "new-2"], 3_000);
    assert_eq!(
        claim(&mut roster, 3_000),
        named(&[("new-1", 2)]),
        "three quarters with the unproven"
    );
    hear(&mut roster, &["fast"], 3_000);
    assert_eq!(claim(&mut roster, 3_000), named(&[("fast", 2)]));
    assert_eq!(fill(&mut roster, 3_000).len(), 8);
    assert!(!roster.is_hungry(at(3_000)));
}

#[test]
fn an_attempt_under_way_for_long_makes_its_origin_slow() {
    let mut roster = proven(&["turns-slow", "fast"]);
    hear(&mut roster, &["turns-slow"], 100);
    assert_eq!(claim(&mut roster, 100), named(&[("turns-slow", 4)]));
    fill(&mut roster, 100);
    roster.review(at(1_000));
    assert_eq!(roster.held, [0, 0, 4]);
    roster.review(at(1_101));
    assert_eq!(roster.held, [4, 0, 0]);
    prove(&mut roster, "turns-slow-too", Duration::from_secs(2), 4_000);
    hear(&mut roster, &["turns-slow-too"], 4_000);
    assert_eq!(plan(&mut roster, at(4_000)), [], "the slow have their half");
}

#[test]
fn news_during_a_claim_is_kept() {
    let mut roster = Roster::default();
    hear(&mut roster, &["a"], 0);
    roster.plan(at(0));
    hear(&mut roster, &["a"], 0);
    roster.claimed(&endpoint("a"), vec![1], None, at(0));
    assert!(roster.is_hungry(at(0)));
}

#[test]
fn a_failed_claim_is_tried_again() {
    let mut roster = Roster::default();
    hear(&mut roster, &["a"], 0);
    roster.plan(at(0));
    roster.unclaimed(&endpoint("a"), at(0));
    assert_eq!(plan(&mut roster, at(0)), named(&[("a", 4)]));
    assert_eq!((roster.in_flight(), roster.stock()), (0, 0));
}

#[test]
fn the_pace_of_an_idle_origin_is_remembered_for_a_while() {
    let mut roster = proven(&["a"]);
    roster.forget(Timestamp::from_millis(500_000));
    assert_eq!(roster.lanes.len(), 1);
    roster.forget(Timestamp::from_millis(700_100));
    assert!(roster.lanes.is_empty() && roster.waiting.is_empty());
    assert_eq!(roster.held, [0, 0, 0]);
}

#[test]
fn a_lowered_limit_and_a_clock_set_back_hold() {
    let mut roster = proven(&["a"]);
    roster.heard(due("a", 150), at(160));
    assert!(roster.is_hungry(at(160)));
    roster.resettle(at(140));
    assert!(!roster.is_hungry(at(140)));
    assert_eq!(plan(&mut roster, at(140)), []);
    let tight = Rules {
        in_flight_per_origin_max: 1,
        ..at(150)
    };
    roster.resettle(tight);
    assert_eq!(plan(&mut roster, tight), named(&[("a", 1)]));
}

#[test]
fn what_is_given_up_takes_no_place_any_more() {
    let mut roster = proven(&["a", "b"]);
    hear(&mut roster, &["a", "b"], 100);
    assert_eq!(claim(&mut roster, 100), named(&[("a", 4), ("b", 4)]));
    assert!(roster.take(at(100)).is_some());
    assert_eq!(roster.give_up_stock().len(), 7);
    assert_eq!((roster.in_flight(), roster.stock()), (1, 0));
    assert_eq!(roster.held, [0, 0, 1]);
    assert!(roster.take(at(100)).is_none());
}

#[test]
fn the_apps_at_one_origin_share_its_limit() {
    let mut roster = Roster::default();
    let of = |app: &str| Endpoint::new(app, "a");
    for app in ["6", "7"] {
        roster.claimed(&of(app), vec![0; 4], None, at(0));
    }
    let begun: Vec<_> = std::iter::from_fn(|| roster.take(at(0))).collect();
    assert_eq!(begun.len(), 4);
    for turn in begun {
        roster.finished(turn.place, at(1));
    }
    let rest: Vec<_> = std::iter::from_fn(|| roster.take(at(1))).collect();
    assert_eq!(rest.len(), 4, "those that had met the limit");
}
