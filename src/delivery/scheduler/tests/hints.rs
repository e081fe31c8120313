//! What the scheduler knows of the queue, and how it forgets.

use super::*;

#[test]
fn what_becomes_due_during_a_claim_is_kept() {
    let mut scheduler = Scheduler::default();
    due(&mut scheduler, &["a@1"], at(0));
    scheduler.plan(at(0));
    due(&mut scheduler, &["a@1"], at(0));
    scheduler.claimed(&endpoint("a@1"), vec![1], None, at(0));
    assert!(scheduler.has_use_for_a_claim(at(0)));
}

#[test]
fn a_failed_claim_is_made_again() {
    let mut scheduler = proven(&["a@1"]);
    due(&mut scheduler, &["a@1"], at(100));
    scheduler.plan(at(100));
    scheduler.claim_failed(&endpoint("a@1"), at(100));
    assert_eq!(plan(&mut scheduler, at(100)), named(&[("a@1", 4)]));
    assert_eq!((scheduler.in_flight(), scheduler.prefetched()), (0, 0));
}

#[test]
fn an_idle_endpoint_is_remembered_for_ten_minutes() {
    let mut scheduler = proven(&["a@1"]);
    scheduler.forget(moment(600_099));
    assert_eq!(scheduler.endpoints.len(), 1);
    scheduler.forget(moment(600_100));
    assert_eq!(scheduler.endpoints.len(), 0);
    due(&mut scheduler, &["a@1"], at(700_000));
    assert_eq!(
        plan(&mut scheduler, at(700_000)),
        named(&[("a@1", 2)]),
        "it can come back, and is unknown"
    );
}

#[test]
fn a_lowered_limit_and_a_wall_clock_set_back_take_effect() {
    let mut scheduler = proven(&["a@1"]);
    let soon = EndpointDue {
        endpoint: endpoint("a@1"),
        due: Timestamp::from_millis(150),
    };
    scheduler.became_due(soon, at(160));
    assert!(scheduler.has_use_for_a_claim(at(160)));
    scheduler.requeue_all(at(140));
    assert!(!scheduler.has_use_for_a_claim(at(140)));
    assert_eq!(plan(&mut scheduler, at(140)), []);
    let tight = Limits {
        in_flight_per_origin: 1,
        ..at(150)
    };
    scheduler.requeue_all(tight);
    assert_eq!(plan(&mut scheduler, tight), named(&[("a@1", 1)]));
}

#[test]
fn what_is_given_up_takes_no_slot_any_more() {
    let mut scheduler = proven(&["a@1", "b@2"]);
    due(&mut scheduler, &["a@1", "b@2"], at(100));
    assert_eq!(
        claim(&mut scheduler, at(100)),
        named(&[("a@1", 4), ("b@2", 4)])
    );
    assert!(scheduler.assign(at(100)).is_some());
    assert_eq!(scheduler.give_up_prefetched(at(100)).len(), 7);
    assert_eq!((scheduler.in_flight(), scheduler.prefetched()), (1, 0));
    assert_eq!(scheduler.load.by_class, [0, 0, 1]);
    assert!(scheduler.assign(at(100)).is_none());
}
