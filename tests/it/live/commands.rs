//! What operators ask for, by plain SQL as the least of them do, and what the daemon makes of it.

use std::sync::Arc;

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::store::{Remaining, ShownState};

use super::{Daemon, FIVE_MINUTES, Place, StoreKind, insert, on_both, payment, until};

/// What a command's row says, once it is answered.
pub(super) async fn answered(place: &Place, id: i64) -> String {
    let sql = format!(
        "SELECT status, selected, done, skipped, skipped_why, answer FROM operator_command
         WHERE id = {id} AND finished_at IS NOT NULL"
    );
    let what = format!("command {id} is answered");
    until(&what, async || !place.sql(&sql).is_empty()).await;
    place.sql(&sql)
}

pub(super) fn command(columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO operator_command ({columns}, actor, reason)
         VALUES ({values}, 'support', 'the merchant asked');"
    )
}

/// A finished row of app 6 or another.
fn finished(url: &str, order: &str, state: &str, app: &str) -> String {
    let (state, app) = (format!("'{state}'"), format!("'{app}'"));
    let now = SystemClock.now().as_millis().to_string();
    insert(
        url,
        order,
        &[
            ("state", &state),
            ("app_id", &app),
            ("finished_at", &now),
            ("next_attempt_at", "NULL"),
        ],
    )
}

/// So many exhausted rows of app 6.
pub(super) fn exhausted(url: &str, rows: u64) -> String {
    let now = SystemClock.now().as_millis();
    format!(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {rows})
         INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
           newpay_order_no, order_no, result, settlement_status, state, next_attempt_at, finished_at)
         SELECT 'payment', '{url}', '6', 1, '1', 'LAK', CAST(n AS TEXT), CAST(n AS TEXT), 'success', 1, 'exhausted', NULL,
           {now} FROM number"
    )
}

async fn an_exhausted_callback_is_resent_with_a_full_budget_and_tells_who_asked(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[("RETRY__SCHEDULE", "5m")]).await;
    let clock = Arc::new(daemon.clock.clone());
    let merchant = place.merchant(Answer::Refuse, clock).await;
    daemon
        .enqueue(vec![payment(&merchant.url("/callback"), "1")])
        .await;
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

async fn a_filter_takes_all_that_match_and_skips_what_was_acknowledged(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = place
        .merchant(Answer::Ack, Arc::new(daemon.clock.clone()))
        .await;
    let url = merchant.url("/callback");
    let mut rows = String::new();
    for (order, state, app) in [
        ("a", "exhausted", "6"),
        ("b", "cancelled", "6"),
        ("c", "delivered", "6"),
        ("d", "exhausted", "7"),
    ] {
        rows.push_str(&finished(&url, order, state, app));
    }
    place.sql(&rows);
    place.sql(&command("action, app_id, dry_run", "'resend', '6', 1"));
    assert_eq!(
        answered(&place, 1).await,
        "done|3|2|1|{\"acknowledged\":1}|would resend 2 of 3 callbacks; left as they are: 1 acknowledged"
    );
    assert_eq!(
        daemon.count(ShownState::Delivered).await,
        1,
        "a dry run changes nothing"
    );
    place.sql(&command("action, app_id", "'resend', '6'"));
    assert_eq!(
        answered(&place, 2).await,
        "done|3|2|1|{\"acknowledged\":1}|resent 2 of 3 callbacks; left as they are: 1 acknowledged"
    );
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_count(ShownState::Delivered, 3).await;
    assert_eq!(daemon.callback("d").await.state, ShownState::Exhausted);
    assert_eq!(daemon.attempts("c").await.len(), 0);
    place.sql(&command(
        "action, app_id, state, include_acknowledged",
        "'resend', '6', 'delivered', 1",
    ));
    answered(&place, 3).await;
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_attempts("c", 1).await;
    daemon.until_count(ShownState::Delivered, 3).await;
    daemon.stop().await;
}

async fn a_resend_is_paced_by_its_rate(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = place
        .merchant(Answer::Ack, Arc::new(daemon.clock.clone()))
        .await;
    let rows: String = (0..6)
        .map(|order| {
            finished(
                &merchant.url("/callback"),
                &order.to_string(),
                "exhausted",
                "6",
            )
        })
        .collect();
    place.sql(&rows);
    place.sql(&command("action, state, rate", "'resend', 'exhausted', 2"));
    answered(&place, 1).await;
    daemon.until_count(ShownState::Delivered, 1).await;
    let due = "SELECT q.next_attempt_at - c.started_at FROM callback_queue q, operator_command c
               WHERE q.state = 'pending' ORDER BY q.id";
    assert_eq!(place.sql(due), "500\n1000\n1500\n2000\n2500");
    daemon.clock.advance(std::time::Duration::from_millis(1000));
    daemon.until_count(ShownState::Delivered, 3).await;
    daemon.stop().await;
}

async fn more_than_one_batch_is_resent_without_a_limit(store: StoreKind) {
    const ROWS: u64 = 1234;
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = place
        .merchant(Answer::Ack, Arc::new(daemon.clock.clone()))
        .await;
    let url = merchant.url("/callback");
    place.sql(&exhausted(&url, ROWS));
    place.sql(&command(
        "action, state, rate",
        "'resend', 'exhausted', 100000",
    ));
    let found = answered(&place, 1).await;
    assert!(found.starts_with("done|1234|1234|0|{}|"), "{found}");
    daemon.clock.advance(FIVE_MINUTES);
    daemon.until_count(ShownState::Delivered, ROWS).await;
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
        let piece = queue
            .carry_out(SystemClock.now())
            .await
            .expect("carried out");
        remaining.push(piece.remaining);
        queue.close().await;
        assert_eq!(place.sql(counts), expected);
    }
    assert_eq!(remaining, [Remaining::Work, Remaining::Nothing]);
    assert_eq!(
        answered(&place, 1).await,
        "done|12345|12345|0|{}|resent 12345 of 12345 callbacks"
    );
    // Paced over all batches alike: the last one comes 12344 turns after the first.
    let span = "SELECT max(next_attempt_at) - min(next_attempt_at) FROM callback_queue";
    assert_eq!(place.sql(span), "123440");
}

async fn what_is_in_flight_is_cancelled_when_its_attempt_ends_unacknowledged(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(
        &place,
        &[
            ("DELIVERY__TIMEOUT", "2s"),
            ("DELIVERY__CONNECT_TIMEOUT", "1s"),
        ],
    )
    .await;
    let merchant = place
        .merchant(Answer::Hang, Arc::new(daemon.clock.clone()))
        .await;
    daemon
        .enqueue(vec![payment(&merchant.url("/callback"), "1")])
        .await;
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

async fn what_can_not_be_done_is_refused_in_words(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let table = [
        (
            command("action, state", "'cancel', 'delivered'"),
            "refused|0|0|0|{}|only pending callbacks can be cancelled, not delivered ones",
        ),
        (
            command("action, origin", "'pause', 'merchant.example'"),
            "refused|0|0|0|{}|\"merchant.example\" is no origin; write scheme and host, for instance https://merchant.example",
        ),
        (
            command("action, app_id", "'resume', '6'"),
            "refused|1|0|0|{}|app 6 is not paused",
        ),
        (
            command("action, order_number", "'resend', 'nobody'"),
            "done|0|0|0|{}|no callback matches",
        ),
    ];
    for (id, (sql, expected)) in (1..).zip(table) {
        place.sql(&sql);
        assert_eq!(answered(&place, id).await, expected);
    }
    daemon.stop().await;
}

/// A paused origin gets nothing, not even a first attempt, while another one is served; a resume
/// sends what has gathered.
async fn a_paused_origin_waits_and_a_resumed_one_gets_what_has_gathered(store: StoreKind) {
    let place = Place::on(store);
    let daemon = Daemon::start(&place, &[]).await;
    let clock = Arc::new(daemon.clock.clone());
    let paused = place.merchant(Answer::Ack, clock.clone()).await;
    let other = place.merchant(Answer::Ack, clock).await;
    // As a person copies it: a whole URL, in any case.
    let url = paused.url("/callback").to_uppercase();
    place.sql(&command("action, origin", &format!("'pause', '{url}'")));
    let found = answered(&place, 1).await;
    assert!(
        found.starts_with("done|1|1|0|{}|origin http://127.0.0.1:"),
        "{found}"
    );
    daemon
        .enqueue(vec![payment(&paused.url("/callback"), "held")])
        .await;
    daemon
        .enqueue(vec![payment(&other.url("/callback"), "canary")])
        .await;
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
    place.write_keys(&format!(
        "{}{}",
        super::KEYS,
        super::KEYS.replace("\"6\"", "\"7\"")
    ));
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = place
        .merchant(Answer::Ack, Arc::new(daemon.clock.clone()))
        .await;
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
    let merchant = place
        .merchant(Answer::Ack, Arc::new(daemon.clock.clone()))
        .await;
    daemon
        .enqueue(vec![payment(&merchant.url("/callback"), "canary")])
        .await;
    daemon.until_state("canary", ShownState::Delivered).await;
    assert_eq!(daemon.attempts("held").await.len(), 0);
    daemon.stop().await;
}

on_both!(
    an_exhausted_callback_is_resent_with_a_full_budget_and_tells_who_asked,
    a_filter_takes_all_that_match_and_skips_what_was_acknowledged,
    a_resend_is_paced_by_its_rate,
    more_than_one_batch_is_resent_without_a_limit,
    a_resend_that_a_crash_cuts_off_goes_on_and_doubles_nothing,
    what_is_in_flight_is_cancelled_when_its_attempt_ends_unacknowledged,
    what_can_not_be_done_is_refused_in_words,
    a_paused_origin_waits_and_a_resumed_one_gets_what_has_gathered,
    a_paused_app_does_not_hold_up_another_one_at_its_origin,
    a_pause_that_was_asked_for_while_nobody_ran_holds_from_the_first_claim_on,
);
