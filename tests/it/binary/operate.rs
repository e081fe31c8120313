//! `resend`, `cancel`, `pause`, `resume` and `prune`: with a dispatcher at work, and without one.

use std::time::Duration;

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::merchant::Answer;
use serde_json::{Value, json};

use crate::support::callback::insert;
use crate::support::waiting::until;

use super::{Place, Process, StoreKind, on_both, payment, refund};

const URL: &str = "http://127.0.0.1:9/cb";

/// Callback `id` got into this state at this moment.
fn finish(place: &Place, id: i64, state: &str, at: Timestamp) {
    place.rows(&format!(
        "UPDATE callback_queue SET state = '{state}', next_attempt_at = NULL, finished_at = {}
         WHERE id = {id}",
        at.as_millis()
    ));
}

fn states(place: &Place) -> Value {
    let rows = place.rows("SELECT state FROM callback_queue ORDER BY id");
    rows.into_iter().map(|row| row["state"].clone()).collect()
}

async fn a_running_dispatcher_carries_out_a_command_and_reports_it(store: StoreKind) {
    let place = Place::on(store);
    let merchant = place.merchant(Answer::Ack).await;
    place.enqueue(&[
        payment(&merchant.url("/cb"), 1),
        payment(&merchant.url("/cb"), 2),
    ]);
    finish(&place, 1, "exhausted", SystemClock.now());
    finish(&place, 2, "delivered", SystemClock.now());
    let daemon = place.run().ready().await;
    let said = place.ask(&["resend", "--app", "6", "--dry-run"]).done();
    assert_eq!(
        said,
        "command 1: would resend 1 of 2 callbacks; left as they are: 1 acknowledged\n"
    );
    let reason = "their firewall is mended";
    let said = place
        .ask(&[
            "resend", "--app", "6", "--reason", reason, "--actor", "support", "--json",
        ])
        .json();
    assert_eq!(said["status"], "done");
    assert_eq!(said["selected"], 2);
    assert_eq!(said["done"], 1);
    assert_eq!(said["skipped_why"], json!({"acknowledged": 1}));
    assert_eq!(said["actor"], "support");
    assert_eq!(said["reason"], reason);
    place.all_finished().await;
    assert_eq!(states(&place), json!(["delivered", "delivered"]));
    assert_eq!(
        merchant.count(),
        1,
        "the acknowledged one is not sent again"
    );
    let shown = place.ask(&["show", "M1"]).done();
    assert!(
        shown.contains("by support, command 2: their firewall is mended"),
        "{shown}"
    );

    let said = place
        .ask(&["pause", "--origin", &merchant.url("/x"), "--reason", "r"])
        .done();
    assert!(
        said.starts_with("command 3: origin http://127.0.0.1:"),
        "{said}"
    );
    place.enqueue(&[payment(&merchant.url("/cb"), 3)]);
    let shown = place.ask(&["show", "M3"]).done();
    assert!(
        shown.contains("nothing is sent: origin http://127.0.0.1:"),
        "{shown}"
    );
    assert!(
        shown.contains("We are holding back what we send"),
        "{shown}"
    );
    let said = place.ask(&["stats"]).done();
    assert!(said.contains("note: origin http://127.0.0.1:"), "{said}");
    place
        .ask(&["resume", "--origin", &merchant.url("/x"), "--reason", "r"])
        .done();
    place.all_finished().await;
    assert_eq!(merchant.count(), 2);
    daemon.stops().await;
}

/// The gateway had queued a wrong URL.
async fn a_callback_is_sent_to_another_url_that_the_policy_allows(store: StoreKind) {
    let place = Place::on(store);
    let merchant = place.merchant(Answer::Ack).await;
    place.enqueue(&[payment(URL, 1)]);
    finish(&place, 1, "exhausted", SystemClock.now());
    let resend = |to: &str| place.ask(&["resend", "M1", "--to", to, "--reason", "a slip"]);
    let forbidden = "https://10.0.0.1/cb";
    resend(forbidden).failed(1, &["command 1 is refused", "10.0.0.1"]);
    let daemon = place.run().ready().await;
    resend(forbidden).failed(1, &["command 2 is refused", "10.0.0.1"]);
    resend(&merchant.url("/new?token=x")).done();
    place.all_finished().await;
    assert_eq!(merchant.count(), 1);
    let shown = place.ask(&["show", "M1"]).done();
    let flat: Vec<&str> = shown.split_whitespace().collect();
    let flat = flat.join(" ");
    let new = merchant.url("/new?token=x");
    for words in [
        format!("callBackUrl {URL}"),
        format!("sent to instead {new}"),
        format!("went to {new}"),
        format!("was sent to {} and acknowledged", merchant.url("")),
    ] {
        assert!(flat.contains(&words), "{words}: {shown}");
    }
    daemon.stops().await;
}

/// Whoever stops the daemon to call something off wants it called off before the next start.
fn without_a_dispatcher_the_command_is_carried_out_at_once(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1), refund(URL, 1), payment(URL, 2)]);
    let said = place
        .ask(&["cancel", "M1", "--reason", "queued by mistake"])
        .done();
    assert_eq!(said, "command 1: cancelled 2 of 2 callbacks\n");
    assert_eq!(states(&place), json!(["cancelled", "cancelled", "pending"]));
    let said = place
        .ask(&["resend", "NR1", "--reason", "that one after all"])
        .done();
    assert_eq!(said, "command 2: resent 1 of 1 callback\n");
    assert_eq!(states(&place), json!(["cancelled", "pending", "pending"]));
    let asked = place.rows("SELECT actor, reason FROM operator_command WHERE id = 1");
    assert_ne!(asked[0]["actor"], "", "the login name is the default");
    let shown = place.ask(&["show", "2"]).done();
    assert!(
        shown.contains("queued by mistake") && shown.contains("that one after all"),
        "{shown}"
    );
}

fn callbacks_in_flight_of_a_dead_dispatcher_are_left_and_reported(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1)]);
    place.rows("UPDATE callback_queue SET leased_until = 1, leased_at = 1, lease_token = 1");
    place.ask(&["cancel", "M1", "--reason", "r"]).failed(
        1,
        &[
            "command 1",
            "no dispatcher works on this queue",
            "callback-dispatcher run",
        ],
    );
    assert_eq!(states(&place), json!(["pending"]));
}

fn wrong_requests_are_refused_before_anything_is_written(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1), payment(URL, 2)]);
    place.rows(&format!(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
           newpay_order_no, order_no, result, settlement_status)
         VALUES ('payment', '{URL}', '6', 1, '1', 'LAK', 'N9', '2', 'success', 1)"
    ));
    let table: [(&[&str], i32, &str); 8] = [
        (&["resend", "--reason", "r"], 2, "required"),
        (&["resend", "M1"], 2, "--reason"),
        (&["pause", "--reason", "r"], 2, "required"),
        (
            &["pause", "--app", "6", "--origin", URL, "--reason", "r"],
            2,
            "cannot be used",
        ),
        (
            &["resend", "M1", "--rate", "0", "--reason", "r"],
            2,
            "--rate",
        ),
        (
            &["cancel", "--state", "in_flight", "--reason", "r"],
            2,
            "pending, delivered, exhausted, cancelled",
        ),
        (
            &["resend", "nobody", "--reason", "r"],
            1,
            "no callback with id",
        ),
        (
            &["resend", "2", "--reason", "r"],
            1,
            "is the id of callback 2 and a number of callback 3",
        ),
    ];
    for (arguments, code, word) in table {
        place.ask(arguments).failed(code, &[word]);
    }
    assert_eq!(
        place.rows("SELECT * FROM operator_command"),
        Vec::<Value>::new()
    );
    place
        .ask(&["cancel", "--state", "delivered", "--reason", "r"])
        .failed(1, &["command 1 is refused", "only pending callbacks"]);
}

const DAY: Duration = Duration::from_secs(86_400);

/// Four days ago, so that its day is closed by every clock.
async fn prune_leaves_a_trace_and_the_days_that_are_not_closed(store: StoreKind) {
    let place = Place::on(store);
    let now = SystemClock.now();
    let old = now.before(DAY * 4);
    let queued = old.as_millis().to_string();
    for order in ["N1", "N2", "N3", "N4"] {
        place.sql(&insert(URL, order, &[("created_at", &queued)]));
    }
    place.enqueue(&[payment(URL, 5)]);
    finish(&place, 1, "delivered", old);
    finish(&place, 2, "exhausted", old);
    finish(&place, 3, "delivered", now);
    place
        .ask(&["pause", "--app", "6", "--reason", "nothing is to be sent"])
        .done();
    let ages = ["prune", "--keep-delivered", "2d", "--keep-exhausted", "2d"];
    let reason = ["--actor", "noy", "--reason", "they asked us to"];
    let prune = [&ages[..], &reason[..]].concat();
    let refused = place.ask(&prune);
    refused.failed(1, &["command 2 is refused", "no day is closed yet"]);

    let mut daemon = place.run().ready().await;
    let closed = "SELECT count(*) FROM reconciliation";
    until("the days up to yesterday are closed", async || {
        place.sql(closed).trim() == "1"
    })
    .await;
    daemon.signal("TERM");
    daemon.ends().await;

    let dry = place.ask(&[&ages[..], &["--dry-run"][..]].concat()).done();
    assert!(
        dry.contains("would prune 1 of 2 callbacks; left as they are: 1 finished later"),
        "{dry}"
    );
    let all = ["delivered", "exhausted", "delivered", "pending", "pending"];
    assert_eq!(states(&place), json!(all));
    let today = [&["prune", "--keep-delivered", "0s"][..], &reason[..]].concat();
    place
        .ask(&today)
        .failed(1, &["is refused", "are not closed yet"]);
    assert_eq!(states(&place), json!(all));
    place.ask(&ages).failed(2, &["--reason"]);

    let said = place.ask(&prune).done();
    assert!(said.contains("pruned 1 of 2 callbacks"), "{said}");
    assert_eq!(states(&place), json!(["delivered", "pending", "pending"]));
    let kept = place.rows(
        "SELECT actor, reason, state, done FROM operator_command
         WHERE action = 'prune' AND done > 0 AND dry_run = 0 ORDER BY id",
    );
    let kept_as = |state: &str| json!({"actor": "noy", "reason": "they asked us to", "state": state, "done": 1});
    assert_eq!(kept, [kept_as("delivered"), kept_as("exhausted")]);
    let verified = place.ask(&["reconcile", "--verify"]).done();
    assert!(verified.contains("0 differ"), "{verified}");
    assert!(verified.contains("of noy (they asked us to)"), "{verified}");
    let day = &old.to_string()[..10];
    let told = place.ask(&["reconcile", "--day", day]).done();
    assert!(told.contains("pruned by hand: command"), "{told}");
    assert!(told.contains("1 exhausted callbacks"), "{told}");
}

fn several_orders_are_acted_on_one_by_one(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1), payment(URL, 2), payment(URL, 3)]);
    for id in 1..=3 {
        finish(&place, id, "exhausted", SystemClock.now());
    }
    let said = place.ask(&["resend", "M1", "M3", "--reason", "r"]).done();
    assert_eq!(
        said,
        "command 1: resent 1 of 1 callback\ncommand 2: resent 1 of 1 callback\n"
    );
    assert_eq!(states(&place), json!(["pending", "exhausted", "pending"]));
    place.write("orders.txt", "M1\n\n  M9\nM3\n");
    let partly = place.ask(&["cancel", "--orders-from", "orders.txt", "--reason", "r"]);
    assert_eq!(partly.code, Some(1), "{partly:?}");
    assert!(partly.err.contains("error: M9: no callback"), "{partly:?}");
    assert!(
        partly.err.contains("1 of 3 orders were not acted on"),
        "{partly:?}"
    );
    assert_eq!(
        states(&place),
        json!(["cancelled", "exhausted", "cancelled"])
    );
}

fn an_app_that_the_queue_does_not_know_is_warned_of(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1)]);
    let slip = place.ask(&["pause", "--app", "shop-vientaine", "--reason", "r"]);
    assert!(
        slip.err.contains("no callback of app shop-vientaine"),
        "{slip:?}"
    );
    let known = place.ask(&["pause", "--app", "6", "--reason", "r"]);
    assert!(!known.err.contains("no callback of app"), "{known:?}");
}

/// Standard output is no terminal here, so there is nothing to clear, and nothing coloured.
/// Paced, so that most of it is still to come.
fn a_paced_resend_is_stopped(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1), payment(URL, 2), payment(URL, 3)]);
    for id in 1..=3 {
        finish(&place, id, "exhausted", SystemClock.now());
    }
    let resend = ["resend", "--app", "6", "--rate", "1", "--reason", "r"];
    let said = place.ask(&resend).done();
    assert!(
        said.contains("resent 3 of 3 callbacks; queued, the last at"),
        "{said}"
    );
    let said = place.ask(&["stop", "1", "--reason", "too early"]).done();
    assert_eq!(said, "command 2: cancelled 3 of 3 callbacks\n");
    assert_eq!(
        states(&place),
        json!(["cancelled", "cancelled", "cancelled"])
    );
}

async fn top_shows_the_queue_again_and_again(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1), payment(URL, 2)]);
    finish(&place, 1, "exhausted", SystemClock.now());
    let mut top = Process::spawn(place.command(&["top"]));
    top.says("no dispatcher works on this queue").await;
    top.says("M1").await;
    finish(&place, 2, "exhausted", SystemClock.now());
    top.says("M2").await;
    top.signal("INT");
    assert_eq!(top.ends().await.code(), Some(0));
}

async fn a_watch_asks_again_until_it_is_interrupted(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1)]);
    let mut watch = Process::spawn(place.command(&["list", "--watch=1"]));
    watch.says("M1").await;
    place.enqueue(&[payment(URL, 2)]);
    watch.says("M2").await;
    watch.signal("INT");
    let status = watch.ends().await;
    let said = watch.said();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

on_both!(
    a_callback_is_sent_to_another_url_that_the_policy_allows,
    a_running_dispatcher_carries_out_a_command_and_reports_it,
    a_watch_asks_again_until_it_is_interrupted,
    top_shows_the_queue_again_and_again,
    prune_leaves_a_trace_and_the_days_that_are_not_closed,
);

on_both!(
    plain:
    without_a_dispatcher_the_command_is_carried_out_at_once,
    callbacks_in_flight_of_a_dead_dispatcher_are_left_and_reported,
    wrong_requests_are_refused_before_anything_is_written,
    several_orders_are_acted_on_one_by_one,
    a_paced_resend_is_stopped,
    an_app_that_the_queue_does_not_know_is_warned_of,
);
