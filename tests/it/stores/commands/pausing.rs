//! Pauses and resumes, and what claims make of them.

use std::collections::BTreeSet;

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::{Action, Endpoint};

use super::{Fixture, ONE, TWO, app, at, origin};
use crate::support::store::{StoreKind, on_both};

on_both!(
    a_paused_origin_is_not_claimed_until_it_is_resumed,
    a_paused_app_is_not_claimed_for_any_origin_until_it_is_resumed,
    an_endpoint_paused_twice_waits_for_both_resumes,
);

async fn a_paused_origin_is_not_claimed_until_it_is_resumed(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "pending", "6", ONE), ("b", "pending", "6", TWO)]);
    let rehearsed = fixture
        .answered(Action::Pause, |command| {
            command.selectors.origin = Some(ONE.to_owned());
            command.dry_run = true;
        })
        .await;
    assert_eq!(
        rehearsed,
        "done|1|1|0|{}|would pause origin https://one.example"
    );
    assert_eq!(
        fixture
            .answered(Action::Pause, origin("https://ONE.example/callback"))
            .await,
        "done|1|1|0|{}|origin https://one.example is paused: what is not in flight yet is not sent"
    );
    assert_eq!(
        fixture.answered(Action::Pause, origin(ONE)).await,
        "done|1|0|1|{\"paused already\":1}|origin https://one.example is paused already"
    );
    let pauses = fixture.commands.pauses().await.expect("readable");
    assert_eq!((&pauses[0].name[..], pauses[0].since), (ONE, at(10)));
    assert_eq!(fixture.claim(ONE, 5, at(20)).await.len(), 0);
    assert_eq!(fixture.claim(TWO, 5, at(20)).await.len(), 1);
    let id = fixture.ask(Action::Resume, origin(ONE)).await;
    let due = fixture.carry_out(at(30)).await;
    assert_eq!(due, BTreeSet::from([ONE.to_owned()]));
    assert_eq!(
        fixture.answer(id).await,
        "done|1|1|0|{}|origin https://one.example is resumed"
    );
    assert_eq!(fixture.claim(ONE, 5, at(30)).await.len(), 1);
}

async fn a_paused_app_is_not_claimed_for_any_origin_until_it_is_resumed(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[
        ("a", "pending", "7", ONE),
        ("b", "pending", "7", TWO),
        ("c", "pending", "6", ONE),
    ]);
    let endpoints = async || -> Vec<Endpoint> {
        let survey = fixture.queue.survey(None, 2).await.expect("surveyed");
        let rest = fixture
            .queue
            .survey(survey.next, 2)
            .await
            .expect("surveyed");
        let due = survey.due.into_iter().chain(rest.due);
        due.map(|due| due.endpoint).collect()
    };
    let [other, one, two] =
        [("6", ONE), ("7", ONE), ("7", TWO)].map(|(app_id, origin)| Endpoint::new(app_id, origin));
    assert_eq!(endpoints().await, [other.clone(), one, two]);
    fixture.answered(Action::Pause, app("7")).await;
    assert_eq!(endpoints().await, [other]);
    for origin in [ONE, TWO] {
        assert_eq!(fixture.claim_of("7", origin, 5, at(20)).await.len(), 0);
    }
    assert_eq!(
        fixture.claim(ONE, 5, at(20)).await.len(),
        1,
        "of the other app"
    );
    assert_eq!(
        fixture
            .answered(Action::Cancel, |command| {
                command.selectors.callback_id = Some(CallbackId(1));
            })
            .await,
        "done|1|1|0|{}|cancelled 1 of 1 callback"
    );
    let id = fixture.ask(Action::Resume, app("7")).await;
    let due = fixture.carry_out(at(30)).await;
    assert_eq!(
        due,
        BTreeSet::from([TWO.to_owned()]),
        "where something waits"
    );
    assert_eq!(fixture.answer(id).await, "done|1|1|0|{}|app 7 is resumed");
    assert_eq!(fixture.claim_of("7", TWO, 5, at(30)).await.len(), 1);
}

/// Both pauses concern it: each has to end.
async fn an_endpoint_paused_twice_waits_for_both_resumes(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "pending", "6", ONE)]);
    fixture.answered(Action::Pause, app("6")).await;
    fixture.answered(Action::Pause, origin(ONE)).await;
    fixture.answered(Action::Resume, app("6")).await;
    assert_eq!(fixture.claim(ONE, 1, at(20)).await.len(), 0);
    fixture.answered(Action::Resume, origin(ONE)).await;
    assert_eq!(fixture.claim(ONE, 1, at(20)).await.len(), 1);
}
