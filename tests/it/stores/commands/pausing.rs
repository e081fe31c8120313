//! Pauses and resumes, and what claims make of them.

use std::collections::BTreeSet;

use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::store::{Action, Remaining};

use super::{Desk, ONE, TWO, app, at, origin};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_origin_is_not_claimed_for_until_it_is_resumed() {
    for desk in Desk::both().await {
        desk.insert(&[("a", "pending", "6", ONE), ("b", "pending", "6", TWO)]);
        let rehearsed = desk
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
            desk.answered(Action::Pause, origin("https://ONE.example/callback"))
                .await,
            "done|1|1|0|{}|origin https://one.example is paused: what is not in flight yet is not sent"
        );
        assert_eq!(
            desk.answered(Action::Pause, origin(ONE)).await,
            "done|1|0|1|{\"paused already\":1}|origin https://one.example is paused already"
        );
        let pauses = desk.commands.pauses().await.expect("readable");
        assert_eq!((&pauses[0].name[..], pauses[0].since), (ONE, at(10)));
        assert_eq!(desk.claim(ONE, 5, at(20)).await.len(), 0);
        assert_eq!(desk.claim(TWO, 5, at(20)).await.len(), 1);
        let id = desk.ask(Action::Resume, origin(ONE)).await;
        let due = desk.carry_out(at(30)).await;
        assert_eq!(due, BTreeSet::from([ONE.to_owned()]));
        assert_eq!(
            desk.answer(id).await,
            "done|1|1|0|{}|origin https://one.example is resumed"
        );
        assert_eq!(desk.claim(ONE, 5, at(30)).await.len(), 1);
    }
}

/// More than one claim and more than one piece of a resume.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_app_is_set_aside_and_a_resume_puts_it_back() {
    const HELD: usize = 1500;
    for desk in Desk::both().await {
        let orders: Vec<String> = (0..=HELD).map(|n| n.to_string()).collect();
        let mut rows: Vec<_> = orders
            .iter()
            .map(|n| (&n[..], "pending", "7", ONE))
            .collect();
        rows[HELD].2 = "6";
        desk.insert(&rows);
        desk.answered(Action::Pause, app("7")).await;
        let mut claims = 0;
        let claimed = loop {
            let claimed = desk.claim(ONE, 5, at(5000)).await;
            claims += 1;
            if !claimed.is_empty() {
                break claimed;
            }
        };
        assert_eq!(claimed.len(), 1, "the other app behind it");
        assert!(claims <= 3, "{claims} claims");
        let held =
            "SELECT count(*), sum(held), sum(attempts) FROM callback_queue WHERE app_id = '7'";
        assert_eq!(desk.sql(held), format!("{HELD}|{HELD}|0"));
        // What is set aside can be called off and stays so.
        assert_eq!(
            desk.answered(Action::Cancel, |command| {
                command.selectors.callback_id = Some(CallbackId(1));
            })
            .await,
            "done|1|1|0|{}|cancelled 1 of 1 callback"
        );
        let id = desk.ask(Action::Resume, app("7")).await;
        let first = desk.queue.carry_out(at(6000)).await.expect("carried out");
        assert_eq!(first.remaining, Remaining::Work);
        assert_eq!(desk.sql("SELECT sum(held) FROM callback_queue"), "499");
        let due = desk.carry_out(at(6000)).await;
        assert_eq!(due, BTreeSet::from([ONE.to_owned()]));
        assert_eq!(desk.answer(id).await, "done|1|1|0|{}|app 7 is resumed");
        assert_eq!(desk.claim(ONE, HELD, at(6000)).await.len(), HELD - 1);
    }
}

/// A resume that a pause overtakes in its middle leaves the rest where it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_resume_ends_when_its_app_is_paused_again() {
    for desk in Desk::both().await {
        let orders: Vec<String> = (0..1100).map(|n| n.to_string()).collect();
        let rows: Vec<_> = orders
            .iter()
            .map(|n| (&n[..], "pending", "7", ONE))
            .collect();
        desk.insert(&rows);
        desk.answered(Action::Pause, app("7")).await;
        while desk.sql("SELECT sum(held) FROM callback_queue") != "1100" {
            assert!(desk.claim(ONE, 50, at(5000)).await.is_empty());
        }
        let resume = desk.ask(Action::Resume, app("7")).await;
        desk.queue.carry_out(at(6000)).await.expect("carried out");
        desk.sql("INSERT INTO paused (scope, name, command_id, since) VALUES ('app', '7', 9, 9)");
        desk.carry_out(at(6001)).await;
        assert_eq!(
            desk.answer(resume).await,
            "done|1|0|0|{}|app 7 was paused again meanwhile"
        );
        assert_eq!(desk.sql("SELECT sum(held) FROM callback_queue"), "100");
    }
}
