//! Operators' commands, written by plain SQL, and what the daemon makes of them.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::{Remaining, ShownState};

use super::{
    Daemon, FIVE_MINUTES, HMAC, Place, StoreKind, finished, insert, insert_rows, key, on_both,
    until,
};

/// What a command's row says, once it is answered.
async fn answered(place: &Place, id: i64) -> String {
    let sql = format!(
        "SELECT status, selected, done, skipped, skipped_why, answer FROM operator_command
         WHERE id = {id} AND finished_at IS NOT NULL"
    );
    let what = format!("command {id} is answered");
    until(&what, async || !place.sql(&sql).is_empty()).await;
    place.sql(&sql)
}

fn command(columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO operator_command ({columns}, actor, reason)
         VALUES ({values}, 'support', 'the merchant asked');"
    )
}

/// Exhausted callbacks of app 6.
fn exhausted(url: &str, rows: usize) -> String {
    let now = SystemClock.now().as_millis().to_string();
    insert_rows(rows, url, &finished("'exhausted'", &now))
}

async fn an_exhausted_callback_is_resent_with_a_full_budget_and_tells_who_asked(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[("RETRY__SCHEDULE", "5m")]).await;
    let merchant = daemon.merchant(&place, Answer::Refuse).await;
    daemon.queue(&merchant.url("/callback"), "1").await;
    daemon.until_attempts("1", 1).await;
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_state("1", ShownState::Exhausted).await;

    place.sql(&command("action, order_number", "'resend', 'shop-1'"));
    assert_eq!(
        answered(&place, 1).await,
        "done|1|1|0|{}|resent 1 of 1 callback"
    );
    daemon.until_attempts("1", 3).await;
    let waiting = daemon.until_state("1", ShownState::Pending).await;
    assert_eq!(waiting.attempts, 1, "a round of its own");
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_state("1", ShownState::Exhausted).await;
    assert_eq!(daemon.attempts("1").await.len(), 4);
    let notes = daemon.service.commands().notes(waiting.id).await;
    let notes = notes.expect("readable");
    assert_eq!(notes.len(), 1);
    assert_eq!(
        (notes[0].actor.as_str(), notes[0].reason.as_str()),
        ("support", "the merchant asked")
    );
    daemon.stop().await;
}

async fn more_than_one_batch_is_resent_without_a_limit(store: StoreKind) {
    const ROWS: usize = 1234;
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    let url = merchant.url("/callback");
    place.sql(&exhausted(&url, ROWS));
    place.sql(&command(
        "action, state, rate",
        "'resend', 'exhausted', 100000",
    ));
    let found = answered(&place, 1).await;
    assert!(found.starts_with("done|1234|1234|0|{}|"), "{found}");
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_count(ShownState::Delivered, 1234).await;
    assert_eq!(
        place.sql("SELECT count(*), count(DISTINCT callback_id) FROM operator_command_item WHERE what = 'resent'"),
        "1234|1234"
    );
    daemon.stop().await;
}

/// Between two batches the process dies; the next one goes on where it was.
async fn a_resend_that_a_crash_cuts_off_goes_on_and_doubles_nothing(store: StoreKind) {
    let place = Place::on(store);
    place.sql(&exhausted("http://127.0.0.1:9/callback", 12_345));
    place.sql(&command("action, state", "'resend', 'exhausted'"));
    let counts = "SELECT c.done, count(i.callback_id), count(DISTINCT i.callback_id)
                  FROM operator_command c, operator_command_item i GROUP BY c.done";
    let mut remaining = Vec::new();
    for expected in ["10000|10000|10000", "12345|12345|12345"] {
        let queue = place.open("this test").await.expect("opened");
        let batch = queue.carry_out(SystemClock.now(), &|_| Ok(())).await;
        remaining.push(batch.expect("carried out").remaining);
        queue.close().await;
        assert_eq!(place.sql(counts), expected);
    }
    assert_eq!(remaining, [Remaining::Work, Remaining::Nothing]);
    let answer = answered(&place, 1).await;
    let words = "done|12345|12345|0|{}|resent 12345 of 12345 callbacks; queued, the last at ";
    assert!(answer.starts_with(words), "{answer}");
    // Paced over all batches alike: the last one comes 12344 turns after the first.
    let span = "SELECT max(next_attempt_at) - min(next_attempt_at) FROM callback_queue";
    assert_eq!(place.sql(span), "123440");
}

async fn a_callback_in_flight_is_cancelled_when_its_attempt_ends_unacknowledged(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(
        &place,
        &[
            ("DELIVERY__TIMEOUT", "2s"),
            ("DELIVERY__CONNECT_TIMEOUT", "1s"),
        ],
    )
    .await;
    let merchant = daemon.merchant(&place, Answer::Hang).await;
    daemon.queue(&merchant.url("/callback"), "1").await;
    daemon.until_state("1", ShownState::InFlight).await;
    place.sql(&command("action, order_number", "'cancel', '1'"));
    let awaited = "SELECT what FROM operator_command_item";
    until("the command waits", async || {
        place.sql(awaited) == "awaited"
    })
    .await;
    assert_eq!(
        answered(&place, 1).await,
        "done|1|1|0|{}|cancelled 1 of 1 callback"
    );
    let cancelled = daemon.callback("1").await;
    assert_eq!(cancelled.state, ShownState::Cancelled);
    assert_eq!(cancelled.next_attempt_at, None);
    assert_eq!(daemon.outcomes("1").await, ["timeout"]);
    assert_eq!(place.sql(awaited), "cancelled");
    daemon.stop().await;
}

/// A paused origin gets nothing, not even a first attempt, while another one is served; a resume
/// sends what has gathered.
async fn a_paused_origin_waits_and_a_resumed_one_gets_what_has_gathered(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let paused = daemon.merchant(&place, Answer::Ack).await;
    let other = daemon.merchant(&place, Answer::Ack).await;
    // As a person copies it: a whole URL, in any case.
    let url = paused.url("/callback").to_uppercase();
    place.sql(&command("action, origin", &format!("'pause', '{url}'")));
    let found = answered(&place, 1).await;
    assert!(
        found.starts_with("done|1|1|0|{}|origin http://127.0.0.1:"),
        "{found}"
    );
    daemon.queue(&paused.url("/callback"), "held").await;
    daemon.queue(&other.url("/callback"), "canary").await;
    daemon.until_state("canary", ShownState::Delivered).await;
    let held = daemon.callback("held").await;
    assert_eq!((held.state, held.attempts), (ShownState::Pending, 0));
    assert_eq!(paused.count(), 0);
    let stats = daemon.service.inspection().stats().await.expect("readable");
    assert_eq!(stats.paused.len(), 1);
    assert_eq!(stats.oldest_due, None, "what is paused is not overdue");

    place.sql(&command("action, origin", &format!("'resume', '{url}'")));
    answered(&place, 2).await;
    daemon.until_state("held", ShownState::Delivered).await;
    daemon.stop().await;
}

/// Two apps share an origin: the other one's callbacks are delivered all the same.
async fn a_paused_app_does_not_hold_up_another_one_at_its_origin(store: StoreKind) {
    let place = Place::on(store);
    place.write_keys(&(key("6", HMAC) + &key("7", HMAC)));
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    let url = merchant.url("/callback");
    place.sql(&command("action, app_id", "'pause', '7'"));
    answered(&place, 1).await;
    let callbacks = (0..50).flat_map(|n| {
        let url = url.clone();
        ["7", "6"].map(|app| super::payment_of(app, &url, &format!("{app}-{n}")))
    });
    daemon.enqueue(callbacks.collect()).await;
    daemon.until_count(ShownState::Delivered, 50).await;
    let waiting = "SELECT count(*), sum(attempts), min(app_id), max(app_id) FROM callback_queue
                   WHERE state = 'pending'";
    assert_eq!(place.sql(waiting), "50|0|7|7");
    assert_eq!(daemon.count(ShownState::Pending).await, 50);
    // What is paused can be called off and stays called off.
    place.sql(&command("action, order_number", "'cancel', '7-0'"));
    assert_eq!(
        answered(&place, 2).await,
        "done|1|1|0|{}|cancelled 1 of 1 callback"
    );

    place.sql(&command("action, app_id", "'resume', '7'"));
    assert_eq!(answered(&place, 3).await, "done|1|1|0|{}|app 7 is resumed");
    daemon.until_count(ShownState::Delivered, 99).await;
    daemon.stop().await;
}

/// Before the first claim, whatever has gathered.
async fn a_pause_that_was_asked_for_while_nobody_ran_holds_from_the_first_claim_on(
    store: StoreKind,
) {
    let place = Place::on(store);
    let nobody = "http://127.0.0.1:9/callback";
    place.sql(&insert(nobody, "held", &[]));
    place.sql(&command("action, origin", &format!("'pause', '{nobody}'")));
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    daemon.queue(&merchant.url("/callback"), "canary").await;
    daemon.until_state("canary", ShownState::Delivered).await;
    assert_eq!(daemon.attempts("held").await.len(), 0);
    daemon.stop().await;
}

on_both!(
    an_exhausted_callback_is_resent_with_a_full_budget_and_tells_who_asked,
    more_than_one_batch_is_resent_without_a_limit,
    a_resend_that_a_crash_cuts_off_goes_on_and_doubles_nothing,
    a_callback_in_flight_is_cancelled_when_its_attempt_ends_unacknowledged,
    a_paused_origin_waits_and_a_resumed_one_gets_what_has_gathered,
    a_paused_app_does_not_hold_up_another_one_at_its_origin,
    a_pause_that_was_asked_for_while_nobody_ran_holds_from_the_first_claim_on,
);
