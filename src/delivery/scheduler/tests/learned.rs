//! What an origin's learned limit lets through, and what happens when it falls.

use super::*;

/// More slots than an origin gets.
fn roomy(millis: i64) -> Limits {
    Limits {
        in_flight: 100,
        in_flight_per_origin: 64,
        in_flight_per_app: 100,
        ..at(millis)
    }
}

fn throttle(scheduler: &mut Scheduler<u32>, slot: Slot, wait: Duration, limits: Limits) {
    scheduler.completed(slot, SOON, Signal::Throttled(Some(wait)), limits);
}

#[test]
fn an_unknown_origin_gets_two_at_a_time_and_more_as_it_answers() {
    let mut scheduler = Scheduler::default();
    due(&mut scheduler, &["a@1"], roomy(0));
    let mut open = saturate(&mut scheduler, roomy(0));
    assert_eq!(open.len(), 2);
    for millis in 1..200 {
        for (_, slot) in std::mem::take(&mut open) {
            answered(&mut scheduler, slot, SOON, roomy(millis));
        }
        open = fill(&mut scheduler, roomy(millis));
        open.extend(saturate(&mut scheduler, roomy(millis)));
    }
    assert_eq!(open.len(), 64, "the ceiling");
}

#[test]
fn a_limit_grows_after_an_outage_of_our_own_that_ended_attempts() {
    let mut scheduler = Scheduler::default();
    due(&mut scheduler, &["a@1"], roomy(0));
    let probing = Limits {
        is_probing: true,
        ..roomy(1)
    };
    for (_, slot) in saturate(&mut scheduler, roomy(0)) {
        scheduler.completed(slot, SOON, Signal::Failed, probing);
    }
    let mut open = Vec::new();
    for millis in 1..200 {
        for (_, slot) in std::mem::take(&mut open) {
            answered(&mut scheduler, slot, SOON, roomy(millis));
        }
        open = fill(&mut scheduler, roomy(millis));
        open.extend(saturate(&mut scheduler, roomy(millis)));
    }
    assert_eq!(open.len(), 64);
}

#[test]
fn what_waits_for_its_own_origin_takes_no_slot_from_another() {
    let mut scheduler = proven(&["small@1", "large@2"]);
    due(&mut scheduler, &["small@1"], at(100));
    for (_, slot) in saturate(&mut scheduler, at(100)) {
        answered(&mut scheduler, slot, SOON, at(200));
    }
    assert_eq!(claim(&mut scheduler, at(200)), named(&[("small@1", 20)]));
    assert_eq!(fill(&mut scheduler, at(200)).len(), 4);
    assert_eq!(scheduler.prefetched(), 16, "more than there are slots");
    due(&mut scheduler, &["large@2"], at(300));
    assert_eq!(saturate(&mut scheduler, at(300)).len(), 4);
}

#[test]
fn an_origin_that_asks_for_less_gets_nothing_until_it_reopens() {
    let mut scheduler = proven(&["a@1"]);
    due(&mut scheduler, &["a@1"], roomy(100));
    let mut open = saturate(&mut scheduler, roomy(100));
    throttle(
        &mut scheduler,
        open.remove(0).1,
        Duration::from_secs(30),
        roomy(200),
    );
    due(&mut scheduler, &["a@1"], roomy(200));
    for (_, slot) in open {
        answered(&mut scheduler, slot, SOON, roomy(300));
    }
    for millis in [300, 15_000, 30_199] {
        assert!(!scheduler.has_use_for_a_claim(roomy(millis)), "{millis}");
        assert_eq!(plan(&mut scheduler, roomy(millis)), []);
        let reopens = Timestamp::from_millis(30_201);
        assert_eq!(scheduler.next_due(moment(millis)), Some(reopens));
    }
    assert!(scheduler.has_use_for_a_claim(roomy(30_201)));
    assert_eq!(
        saturate(&mut scheduler, roomy(30_201)).len(),
        1,
        "one by one at first"
    );
    assert_eq!(scheduler.next_due(moment(30_201)), None);
}

#[test]
fn what_is_claimed_for_an_origin_whose_limit_falls_is_given_back() {
    let mut scheduler = proven(&["a@1", "b@1", "c@2"]);
    let limits = roomy(100);
    due(&mut scheduler, &["a@1", "b@1", "c@2"], limits);
    for (name, slot) in saturate(&mut scheduler, limits) {
        match name.as_str() {
            "c@2" => throttle(&mut scheduler, slot, Duration::ZERO, limits),
            _ => answered(&mut scheduler, slot, SOON, limits),
        }
    }
    scheduler.take_surplus();
    claim(&mut scheduler, limits);
    let mut of_a = fill(&mut scheduler, limits);
    of_a.retain(|(name, _)| name == "a@1");
    let prefetched = scheduler.prefetched();
    assert!(prefetched > 0);
    throttle(&mut scheduler, of_a.remove(0).1, SOON, limits);
    let surplus = scheduler.take_surplus();
    assert!(
        surplus
            .iter()
            .all(|(endpoint, _)| endpoint.origin == super::endpoint("a@1").origin)
    );
    assert_eq!(surplus.len() + scheduler.prefetched(), prefetched);
    assert!(!surplus.is_empty());
}

#[test]
fn what_a_claim_brings_for_an_origin_that_wants_nothing_is_given_back() {
    let mut scheduler = proven(&["a@1", "b@1"]);
    let limits = roomy(100);
    due(&mut scheduler, &["a@1"], limits);
    let mut open = saturate(
        &mut scheduler,
        Limits {
            in_flight_per_origin: 1,
            ..limits
        },
    );
    due(&mut scheduler, &["b@1"], limits);
    assert_eq!(scheduler.plan(limits).len(), 1);
    throttle(
        &mut scheduler,
        open.remove(0).1,
        Duration::from_secs(9),
        limits,
    );
    scheduler.claimed(&endpoint("b@1"), vec![7], None, limits);
    assert_eq!(scheduler.take_surplus(), [(endpoint("b@1"), 7)]);
    assert_eq!((scheduler.in_flight(), scheduler.prefetched()), (0, 0));
}

#[test]
fn an_outage_of_our_own_teaches_nothing() {
    let mut scheduler = proven(&["a@1"]);
    let probing = Limits {
        is_probing: true,
        ..roomy(100)
    };
    for _ in 0..100 {
        due(&mut scheduler, &["a@1"], probing);
        scheduler.plan(probing);
        scheduler.claimed(&endpoint("a@1"), vec![0], None, probing);
        let slot = scheduler.assign(probing).expect("a slot").slot;
        scheduler.completed(slot, SOON, Signal::Failed, probing);
    }
    due(&mut scheduler, &["a@1"], roomy(100));
    assert_eq!(saturate(&mut scheduler, roomy(100)).len(), 64);
}

#[test]
fn a_fall_to_half_is_told_once() {
    let mut scheduler = proven(&["a@1"]);
    due(&mut scheduler, &["a@1"], roomy(100));
    let open = saturate(&mut scheduler, roomy(100));
    let falls = open
        .into_iter()
        .filter_map(|(_, slot)| scheduler.completed(slot, SOON, Signal::Failed, roomy(100)));
    let falls: Vec<(usize, usize)> = falls.map(|fall| (fall.from, fall.to)).collect();
    assert_eq!(falls, [(64, 32)]);
}
