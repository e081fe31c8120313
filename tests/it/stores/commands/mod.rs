//! What dispatchers make of operators' commands, and what they answer.

mod elsewhere;
mod pausing;
mod progress;
mod selecting;
mod several;
mod stopping;

use std::collections::BTreeSet;
use std::sync::Arc;

use callback_dispatcher::domain::{CallbackId, Next, Outcome, Timestamp};
use callback_dispatcher::store::{
    Action, ClaimedCallback, CommandId, Commands, Endpoint, ItemEffect, NewCommand, Queue,
    Recorded, Remaining, StoredState,
};

use super::{Backend, ONE, at};
use crate::support::attempt;
use crate::support::callback::insert;
use crate::support::store::{StoreKind, on_both};

const TWO: &str = "https://two.example";

/// A queue, one of its dispatchers, and those who ask.
struct Fixture {
    backend: Backend,
    queue: Arc<dyn Queue>,
    commands: Arc<dyn Commands>,
}

impl Fixture {
    async fn on(kind: StoreKind) -> Self {
        Self::of(Backend::new(kind)).await
    }

    async fn of(backend: Backend) -> Self {
        Self {
            queue: backend.queue().await,
            commands: backend.commands().await,
            backend,
        }
    }

    fn sql(&self, sql: &str) -> String {
        self.backend.sql(sql)
    }

    /// Queues rows: order, state, app, origin; each a second after the one before.
    fn insert(&self, rows: &[(&str, &str, &str, &str)]) {
        let mut sql = String::new();
        for (n, (order, state, app, origin)) in (0..).zip(rows) {
            let created_at = at(n).as_millis().to_string();
            let (next_attempt_at, finished_at) = match *state {
                "pending" => (created_at.as_str(), "NULL"),
                _ => ("NULL", "1700000000000"),
            };
            let changes = [
                ("state", &*format!("'{state}'")),
                ("app_id", &format!("'{app}'")),
                ("order_no", &format!("'shop-{order}'")),
                ("created_at", &created_at),
                ("next_attempt_at", next_attempt_at),
                ("finished_at", finished_at),
            ];
            sql += &insert(&format!("{origin}/callback"), order, &changes);
        }
        self.sql(&sql);
    }

    async fn ask(&self, action: Action, change: impl FnOnce(&mut NewCommand)) -> CommandId {
        let mut command = NewCommand::new(action, "support", "the merchant asked");
        change(&mut command);
        self.commands.submit(command, at(0)).await.expect("written")
    }

    /// Does whatever is there to be done; returns the origins that have become due.
    async fn carry_out(&self, now: Timestamp) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        loop {
            let batch = self
                .queue
                .carry_out(now, &|_| Ok(()))
                .await
                .expect("carried out");
            due.extend(
                batch
                    .due
                    .into_iter()
                    .map(|due| due.endpoint.origin.to_string()),
            );
            if batch.remaining != Remaining::Work {
                return due;
            }
        }
    }

    /// What stands in the command's row.
    async fn answer(&self, id: CommandId) -> String {
        let command = self.commands.command(id).await.expect("readable");
        let command = command.expect("there");
        format!(
            "{}|{}|{}|{}|{}|{}",
            command.status,
            command.selected,
            command.done,
            command.skipped,
            serde_json::to_string(&command.skipped_why).expect("JSON"),
            command.answer
        )
    }

    /// Asks, has it carried out ten seconds later, and returns the answer.
    async fn answered(&self, action: Action, change: impl FnOnce(&mut NewCommand)) -> String {
        let id = self.ask(action, change).await;
        self.carry_out(at(10)).await;
        self.answer(id).await
    }

    /// Orders of what is in `state`.
    fn orders(&self, state: &str) -> String {
        let sql = format!(
            "SELECT newpay_order_no FROM callback_queue WHERE state = '{state}' ORDER BY id"
        );
        self.sql(&sql).replace('\n', " ")
    }

    /// For app 6.
    async fn claim(&self, origin: &str, limit: usize, now: Timestamp) -> Vec<ClaimedCallback> {
        self.claim_of("6", origin, limit, now).await
    }

    async fn claim_of(
        &self,
        app_id: &str,
        origin: &str,
        limit: usize,
        now: Timestamp,
    ) -> Vec<ClaimedCallback> {
        let request = (Endpoint::new(app_id, origin), limit);
        let mut results = attempt::claim(&*self.queue, &[request], now).await;
        results.remove(0).callbacks
    }

    async fn record(&self, claimed: ClaimedCallback, outcome: Outcome, next: Next) {
        let recorded = attempt::record(&*self.queue, claimed, outcome, next, at(0)).await;
        assert_eq!(recorded, Recorded::Applied);
    }
}

fn app(app_id: &str) -> impl FnOnce(&mut NewCommand) {
    let app_id = Some(app_id.to_owned());
    move |command| command.selectors.app_id = app_id
}

fn origin(url: &str) -> impl FnOnce(&mut NewCommand) {
    let origin = Some(url.to_owned());
    move |command| command.selectors.origin = origin
}

async fn acknowledged_callbacks_are_skipped_unless_they_are_asked_for(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[
        ("a", "exhausted", "6", ONE),
        ("b", "delivered", "6", ONE),
        ("c", "pending", "6", TWO),
    ]);
    // Acknowledged in the round before this one.
    for claimed in fixture.claim(TWO, 1, at(5)).await {
        fixture
            .record(claimed, Outcome::Acknowledged, Next::RetryAt(at(500)))
            .await;
    }
    let dry = fixture
        .answered(Action::Resend, |command| {
            command.selectors.app_id = Some("6".to_owned());
            command.dry_run = true;
        })
        .await;
    assert_eq!(
        dry,
        "done|3|1|2|{\"acknowledged\":2}|would resend 1 of 3 callbacks; left as they are: 2 acknowledged"
    );
    assert_eq!(
        fixture.orders("exhausted"),
        "a",
        "a dry run changes nothing"
    );
    assert_eq!(
        fixture.answered(Action::Resend, app("6")).await,
        "done|3|1|2|{\"acknowledged\":2}|resent 1 of 3 callbacks; left as they are: 2 acknowledged"
    );
    let all = fixture
        .answered(Action::Resend, |command| {
            command.selectors.app_id = Some("6".to_owned());
            command.include_acknowledged = true;
        })
        .await;
    assert_eq!(
        all,
        "done|3|2|1|{\"due already\":1}|resent 2 of 3 callbacks; left as they are: 1 due already"
    );
    assert_eq!(fixture.orders("pending"), "a b c");
}

async fn a_resend_is_paced_and_tells_which_origins_are_due(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[
        ("a", "exhausted", "6", ONE),
        ("b", "exhausted", "6", TWO),
        ("c", "exhausted", "6", ONE),
    ]);
    let id = fixture
        .ask(Action::Resend, |command| {
            command.selectors.app_id = Some("6".to_owned());
            command.rate = Some(2);
        })
        .await;
    let due = fixture.carry_out(at(10)).await;
    assert_eq!(due, BTreeSet::from([ONE.to_owned(), TWO.to_owned()]));
    assert_eq!(
        fixture.answer(id).await,
        "done|3|3|0|{}|resent 3 of 3 callbacks; queued, the last at 2023-11-14T22:13:31.000Z"
    );
    let waits = "SELECT next_attempt_at - 1700000010000 FROM callback_queue ORDER BY id";
    assert_eq!(fixture.sql(waits), "0\n500\n1000");
    let notes = fixture
        .commands
        .notes(CallbackId(2))
        .await
        .expect("readable");
    let [note] = &notes[..] else {
        panic!("{notes:?}")
    };
    assert_eq!(
        (note.command_id, note.what, note.at),
        (id, ItemEffect::Resent, at(10))
    );
    assert_eq!(
        (&note.actor[..], &note.reason[..]),
        ("support", "the merchant asked")
    );
}

/// One that fails is cancelled, one that is acknowledged meanwhile is not.
async fn callbacks_in_flight_are_judged_when_their_attempts_have_ended(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "pending", "6", ONE), ("b", "pending", "6", ONE)]);
    let claimed = fixture.claim(ONE, 2, at(5)).await;
    let id = fixture.ask(Action::Cancel, app("6")).await;
    let batch = fixture
        .queue
        .carry_out(at(10), &|_| Ok(()))
        .await
        .expect("carried out");
    assert_eq!(batch.remaining, Remaining::Attempts);
    assert_eq!(fixture.answer(id).await, "running|2|0|0|{}|");
    // Nor does it hold up a younger one.
    assert_eq!(
        fixture
            .answered(Action::Resend, |command| {
                command.selectors.order_number = Some("nobody".to_owned());
            })
            .await,
        "done|0|0|0|{}|no callback matches"
    );
    let [one, other] = <[_; 2]>::try_from(claimed).expect("two");
    fixture
        .record(one, Outcome::Timeout, Next::RetryAt(at(300)))
        .await;
    fixture.carry_out(at(11)).await;
    assert_eq!(fixture.answer(id).await, "running|2|1|0|{}|");
    fixture
        .record(other, Outcome::Acknowledged, Next::Delivered)
        .await;
    fixture.carry_out(at(12)).await;
    assert_eq!(
        fixture.answer(id).await,
        "done|2|1|1|{\"acknowledged\":1}|cancelled 1 of 2 callbacks; left as they are: 1 acknowledged"
    );
    let items = "SELECT callback_id, what, why, at - 1700000000000 FROM operator_command_item
                 ORDER BY callback_id";
    assert_eq!(
        fixture.sql(items),
        "1|cancelled||11000\n2|skipped|acknowledged|12000"
    );
    assert_eq!(
        (
            &fixture.orders("cancelled")[..],
            &fixture.orders("delivered")[..]
        ),
        ("a", "b")
    );
}

async fn the_younger_command_has_the_last_word(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    fixture.insert(&[("a", "exhausted", "6", ONE)]);
    let resend = fixture.ask(Action::Resend, app("6")).await;
    let cancel = fixture.ask(Action::Cancel, app("6")).await;
    fixture.carry_out(at(10)).await;
    assert_eq!(
        fixture.answer(resend).await,
        "done|1|1|0|{}|resent 1 of 1 callback"
    );
    assert_eq!(
        fixture.answer(cancel).await,
        "done|1|1|0|{}|cancelled 1 of 1 callback"
    );
    assert_eq!(fixture.orders("cancelled"), "a");
    let newest = fixture.commands.commands(1).await.expect("readable");
    assert_eq!(newest[0].id, cancel);
}

async fn impossible_commands_are_refused_with_the_reason(kind: StoreKind) {
    let fixture = Fixture::on(kind).await;
    let delivered = |command: &mut NewCommand| {
        command.selectors.state = Some(StoredState::Delivered);
    };
    assert_eq!(
        fixture.answered(Action::Cancel, delivered).await,
        "refused|0|0|0|{}|only pending callbacks can be cancelled, not delivered ones"
    );
    assert_eq!(
        fixture.answered(Action::Pause, origin("one.example")).await,
        "refused|0|0|0|{}|\"one.example\" is no origin; write scheme and host, for instance https://merchant.example"
    );
    assert_eq!(
        fixture.answered(Action::Resume, app("6")).await,
        "refused|1|0|0|{}|app 6 is not paused"
    );
    let nothing = NewCommand::new(Action::Resend, "support", "all of them");
    let refused = fixture.commands.submit(nothing, at(0)).await;
    let refused = refused.expect_err("no selector").to_string();
    assert!(
        refused.contains("a_resend_or_cancel_has_a_selector"),
        "{refused}"
    );
}

on_both!(
    acknowledged_callbacks_are_skipped_unless_they_are_asked_for,
    a_resend_is_paced_and_tells_which_origins_are_due,
    callbacks_in_flight_are_judged_when_their_attempts_have_ended,
    the_younger_command_has_the_last_word,
    impossible_commands_are_refused_with_the_reason,
);
