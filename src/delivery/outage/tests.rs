use super::*;
use crate::domain::CallbackId;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000 + seconds)
}

const fn key(n: i64) -> AttemptKey {
    AttemptKey {
        id: CallbackId(n),
        seq: 1,
    }
}

/// An attempt for app `n` came this far, and counts if it failed.
fn observe(outage: &mut Outage, n: i64, reach: Reach, now: Duration) -> Change {
    let is_failure = matches!(reach, Reach::Unreached | Reach::Silent);
    let observation = Observation {
        app_id: &AppId::new(format!("m{n}")),
        reach,
        counted: is_failure.then(|| key(n)),
    };
    outage.observe(&observation, now)
}

fn fails(outage: &mut Outage, n: i64, now: Duration) -> Change {
    observe(outage, n, Reach::Unreached, now)
}

fn answers(outage: &mut Outage, n: i64, now: Duration) -> Change {
    observe(outage, n, Reach::Reached, now)
}

fn began(ids: impl IntoIterator<Item = i64>) -> Change {
    Change::Began {
        uncount: ids.into_iter().map(key).collect(),
    }
}

/// An outage since `now`, shown by apps 1 to 5.
fn an_outage(now: Duration) -> Outage {
    let mut outage = Outage::default();
    for n in 1..=4 {
        assert_eq!(fails(&mut outage, n, now), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 5, now), began(1..=4));
    outage
}

#[test]
fn five_apps_without_an_answer_are_an_outage() {
    let mut outage = Outage::default();
    for n in 1..=4 {
        assert_eq!(fails(&mut outage, n, at(0)), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 4, at(0)), Change::Nothing, "still four");
    assert!(!outage.is_on());
    assert!(!outage.excuses(Reach::Unreached));
    assert_eq!(outage.unreached(), 4);
    assert_eq!(fails(&mut outage, 5, at(1)), began([1, 2, 3, 4, 4]));
    assert!(outage.is_on());
    assert_eq!(outage.unreached(), 5);
    assert_eq!(fails(&mut outage, 6, at(2)), Change::Nothing);
    assert_eq!(outage.unreached(), 6);
}

#[test]
fn an_outage_excuses_what_was_not_answered() {
    let outage = an_outage(at(0));
    assert!(outage.excuses(Reach::Unreached));
    assert!(outage.excuses(Reach::Silent));
    assert!(!outage.excuses(Reach::Reached));
    assert!(!outage.excuses(Reach::NotTried));
}

#[test]
fn an_answer_within_the_minute_means_that_the_merchants_are_down() {
    let mut outage = Outage::default();
    assert_eq!(answers(&mut outage, 9, at(0)), Change::Nothing);
    for n in 1..=20 {
        assert_eq!(fails(&mut outage, n, at(59)), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 21, at(60)), began(1..=20));
}

#[test]
fn an_answer_forgets_the_failures_before_it() {
    let mut outage = Outage::default();
    for n in 1..=4 {
        fails(&mut outage, n, at(0));
    }
    assert_eq!(answers(&mut outage, 9, at(1)), Change::Nothing);
    assert_eq!(outage.unreached(), 0);
    for n in 11..=14 {
        assert_eq!(fails(&mut outage, n, at(61)), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 15, at(61)), began(11..=14));
}

#[test]
fn a_failure_counts_for_less_than_a_minute() {
    let mut outage = Outage::default();
    for n in 1..=4 {
        fails(&mut outage, n, at(0));
    }
    assert_eq!(fails(&mut outage, 5, at(60)), Change::Nothing);
    for n in 6..=8 {
        assert_eq!(fails(&mut outage, n, at(119)), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 9, at(119)), began([5, 6, 7, 8]));
}

#[test]
fn an_app_that_fails_again_stays_in_the_window() {
    let mut outage = Outage::default();
    for n in 1..=4 {
        fails(&mut outage, n, at(0));
    }
    for n in 1..=4 {
        fails(&mut outage, n, at(59));
    }
    assert_eq!(fails(&mut outage, 5, at(60)), began([1, 2, 3, 4]));
}

#[test]
fn what_was_counted_a_minute_ago_stays_counted() {
    let mut outage = Outage::default();
    fails(&mut outage, 1, at(0));
    fails(&mut outage, 1, at(1));
    for n in 2..=4 {
        fails(&mut outage, n, at(60));
    }
    assert_eq!(fails(&mut outage, 5, at(60)), began([1, 2, 3, 4]));
}

#[test]
fn no_more_than_the_newest_are_kept_to_be_uncounted() {
    let mut outage = Outage::default();
    let more = i64::try_from(COUNTED_MAX).expect("it is small") + 3;
    for n in 1..=more {
        let observation = Observation {
            app_id: &AppId::new("m"),
            reach: Reach::Silent,
            counted: Some(key(n)),
        };
        outage.observe(&observation, at(0));
    }
    for n in 1..=4 {
        outage.note_unreached(&AppId::new(format!("m{n}")), at(0));
    }
    let Change::Began { uncount } = fails(&mut outage, 5, at(0)) else {
        panic!("five apps have failed");
    };
    assert!(uncount.len() <= COUNTED_MAX, "{}", uncount.len());
    assert!(uncount.len() >= COUNTED_MAX - 1, "{}", uncount.len());
    assert_eq!(uncount.last(), Some(&key(more)));
}

#[test]
fn no_more_apps_are_remembered_than_tell_something() {
    let mut outage = an_outage(at(0));
    let more = i64::try_from(APPS_MAX).expect("it is small") + 5;
    for n in 1..=more {
        fails(&mut outage, n, at(0));
    }
    assert_eq!(outage.unreached(), APPS_MAX);
}

#[test]
fn silence_after_a_connection_is_excused_but_shows_nothing() {
    let mut outage = Outage::default();
    for n in 1..=9 {
        let change = observe(&mut outage, n, Reach::Silent, at(0));
        assert_eq!(change, Change::Nothing);
    }
    assert_eq!(outage.unreached(), 0);
    for n in 11..=14 {
        fails(&mut outage, n, at(1));
    }
    assert_eq!(fails(&mut outage, 15, at(1)), began((1..=9).chain(11..=14)));
}

#[test]
fn an_answer_ends_the_outage_and_the_next_one_begins_from_nothing() {
    let mut outage = an_outage(at(0));
    assert_eq!(answers(&mut outage, 6, at(100)), Change::Ended);
    assert!(!outage.is_on());
    assert_eq!(answers(&mut outage, 6, at(200)), Change::Nothing);
    for n in 1..=4 {
        assert_eq!(fails(&mut outage, n, at(300)), Change::Nothing);
    }
    assert_eq!(fails(&mut outage, 5, at(300)), began(1..=4));
}

#[test]
fn claims_are_five_seconds_apart_during_an_outage() {
    let mut outage = Outage::default();
    outage.claims(at(0));
    assert!(outage.may_claim(at(0)), "there is no outage");
    let mut outage = an_outage(at(0));
    assert!(outage.may_claim(at(0)));
    outage.claims(at(0));
    assert!(!outage.may_claim(at(0)));
    assert!(!outage.may_claim(at(4)));
    assert!(outage.may_claim(at(5)));
}

#[test]
fn an_outage_ends_a_minute_after_the_last_failure() {
    let mut outage = an_outage(at(0));
    observe(&mut outage, 1, Reach::Silent, at(50));
    assert_eq!(outage.review(at(109)), Change::Nothing);
    assert!(outage.is_on());
    assert_eq!(outage.review(at(110)), Change::Ended);
    assert!(!outage.is_on());
    assert_eq!(outage.unreached(), 0);
    assert_eq!(outage.review(at(110)), Change::Nothing);
}

#[test]
fn a_review_without_an_outage_forgets_nothing() {
    let mut outage = Outage::default();
    for n in 1..=4 {
        fails(&mut outage, n, at(0));
    }
    assert_eq!(outage.review(at(59)), Change::Nothing);
    assert_eq!(fails(&mut outage, 5, at(59)), began(1..=4));
}

#[test]
fn an_attempt_that_was_not_tried_shows_nothing() {
    let mut outage = Outage::default();
    for n in 1..=9 {
        let change = observe(&mut outage, n, Reach::NotTried, at(0));
        assert_eq!(change, Change::Nothing);
    }
    let mut outage = an_outage(at(0));
    observe(&mut outage, 1, Reach::NotTried, at(59));
    assert_eq!(outage.review(at(60)), Change::Ended);
}

#[test]
fn a_disregarded_outage_is_over_and_forgotten() {
    let mut outage = an_outage(at(0));
    outage.disregard();
    assert!(!outage.is_on());
    assert_eq!(fails(&mut outage, 6, at(0)), Change::Nothing);
    assert_eq!(outage.unreached(), 1);
}
