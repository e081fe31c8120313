use super::*;
use crate::store::StoredState;

const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

fn choice(fields: &[(&str, &str)]) -> Choice {
    let mut choice = Choice::default();
    for (name, value) in fields {
        let value = (*value).to_owned();
        match *name {
            "action" => choice.action = value,
            "callback" => choice.callback = value,
            "order" => choice.order = value,
            "app" => choice.app = value,
            "origin" => choice.origin = value,
            "state" => choice.state = value,
            "since" => choice.since = value,
            "until" => choice.until = value,
            other => panic!("no field {other}"),
        }
    }
    choice
}

#[test]
fn a_choice_becomes_selectors() {
    let choice = choice(&[
        ("action", "resend"),
        ("app", " 6 "),
        ("state", "exhausted"),
        ("since", "2026-11-01T00:00:00Z"),
    ]);
    let (action, selectors) = choice.read(NOON).expect("all in order");
    assert_eq!(action, Action::Resend);
    let expected = Selectors {
        app_id: Some("6".to_owned()),
        state: Some(StoredState::Exhausted),
        since: Timestamp::parse("2026-11-01T00:00:00Z"),
        ..Selectors::default()
    };
    assert_eq!(selectors, expected);
}

#[test]
fn what_makes_no_sense_is_said() {
    for (fields, words) in [
        (
            &[("action", "delete")][..],
            "resend, cancel, pause, resume or prune",
        ),
        (&[("action", "resend"), ("callback", "x7")], "write digits"),
        (
            &[("action", "resend"), ("state", "lost")],
            "pending, delivered",
        ),
        (
            &[("action", "resend"), ("until", "tomorrow")],
            "2026-11-01T00:00:00Z",
        ),
    ] {
        let fault = choice(fields).read(NOON).expect_err("a fault");
        assert!(fault.contains(words), "{fault}");
    }
}
