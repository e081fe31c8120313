//! Stopping, reloading, and being the only one.

use std::time::Duration;

use callback_dispatcher::merchant::{Answer, MockMerchant};
use serde_json::json;

use super::{HMAC, Place, SETTINGS, StoreKind, found, in_time, key, on_both, payment, with};

/// Far longer than it takes to send the signal.
const SLOW: Answer = Answer::Slow(Duration::from_secs(2));

async fn receives(merchant: &MockMerchant, count: usize) {
    in_time("the POSTs arrive", merchant.wait_for(count)).await;
}

fn state_of(place: &Place, order: &str) -> String {
    let sql = format!("SELECT state FROM callback_queue WHERE order_no = '{order}'");
    let state = place.rows(&sql)[0]["state"].clone();
    state.as_str().expect("text").to_owned()
}

async fn becomes(place: &Place, order: &str, state: &str) {
    let what = format!("{order} becomes {state}");
    found(&what, || (state_of(place, order) == state).then_some(())).await;
}

async fn a_stop_completes_and_records_what_is_in_flight(store: StoreKind) {
    for signal in ["TERM", "INT"] {
        let place = Place::on(store);
        let merchant = place.merchant(SLOW).await;
        let mut daemon = place.run().ready().await;
        place.enqueue(&[payment(&merchant.url("/"), 1)]);
        receives(&merchant, 1).await;
        assert_eq!(
            state_of(&place, "M1"),
            "pending",
            "the answer is on its way"
        );
        daemon.signal(signal);
        let status = daemon.ends().await;
        let said = daemon.said();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {said}");
        assert!(said.contains(&format!("SIG{signal}")), "{said}");
        assert_eq!(state_of(&place, "M1"), "delivered", "SIG{signal}: {said}");
        let log = place.rows("SELECT outcome, counted FROM callback_attempt");
        assert_eq!(
            json!(log),
            json!([{"outcome": "acknowledged", "counted": 1}])
        );
    }
}

async fn a_drain_starts_nothing_new(store: StoreKind) {
    let place = Place::on(store);
    place.change_settings("per_merchant = 16", "per_merchant = 1");
    let merchant = place.merchant(SLOW).await;
    let url = merchant.url("/");
    place.enqueue(&[payment(&url, 1), payment(&url, 2), payment(&url, 3)]);
    let daemon = place.run().ready().await;
    receives(&merchant, 1).await;
    daemon.stops().await;
    assert_eq!(merchant.count(), 1);
    let states = "SELECT count(*) AS n, count(leased_until) AS leased
                  FROM callback_queue WHERE state = 'pending'";
    assert_eq!(json!(place.rows(states)), json!([{"n": 2, "leased": 0}]));
}

async fn a_key_added_before_sighup_makes_its_callbacks_deliverable(store: StoreKind) {
    let place = Place::on(store);
    let merchant = place.merchant(Answer::Ack).await;
    let daemon = place.run().ready().await;
    let url = merchant.url("/");
    place.enqueue(&[with(payment(&url, 7), "appId", json!("7"))]);
    let unsignable = "SELECT counted FROM callback_attempt WHERE outcome = 'unsignable' LIMIT 1";
    let log = found("it can't be signed", || place.rows(unsignable).pop()).await;
    assert_eq!(log["counted"], 0);
    assert_eq!(merchant.count(), 0);

    place.write_keys(&(key("6", HMAC) + &key("7", "newpay-demo-secret-7")));
    place.change_settings("[delivery]", "[delivery]\nmax_in_flight = 7");
    daemon.signal("HUP");
    becomes(&place, "M7", "delivered").await;
    let said = daemon.stops().await;
    for changed in [
        "reloaded",
        "settings=\"delivery.max_in_flight\"",
        "keys_added=\"7/of-7\"",
    ] {
        assert!(said.contains(changed), "{changed}: {said}");
    }
    let delivered = "SELECT attempts FROM callback_queue";
    assert_eq!(place.rows(delivered)[0]["attempts"], 1);
    let key = "SELECT key_id FROM callback_attempt WHERE outcome = 'acknowledged'";
    assert_eq!(place.rows(key)[0]["key_id"], "of-7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_on_sighup_changes_nothing_and_is_logged() {
    let place = Place::new();
    let merchant = place.merchant(Answer::Ack).await;
    let mut daemon = place.run().ready().await;
    place.write("good.toml", SETTINGS);
    place.change_settings("listen", "lissten");
    place.write("keys.toml", "[[key]]\napp_id = \"6\"\n");
    daemon.signal("HUP");
    let fault = daemon.says("lissten").await;
    assert!(fault.contains("stays in force"), "{fault}");
    daemon.says("no id").await;

    let line = payment(&merchant.url("/"), 1).to_string();
    place
        .feed(&["--config", "good.toml", "enqueue"], &line)
        .done();
    becomes(&place, "M1", "delivered").await;
    assert_eq!(merchant.received()[0].sign_holds, Some(true));

    // Mended, it is taken.
    place.change_settings("lissten", "listen");
    place.write_keys(&key("6", HMAC));
    daemon.signal("HUP");
    daemon.says("reloaded").await;
    daemon.stops().await;
}

/// From a file. A database is for several.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_dispatcher_is_turned_away() {
    let place = Place::new();
    let daemon = place.run().ready().await;
    let pid = daemon.pid().to_string();
    place
        .ask(&["run"])
        .failed(75, &[&pid, "stop that one first"]);
    daemon.stops().await;
    place.run().ready().await.stops().await;
}

on_both!(
    a_stop_completes_and_records_what_is_in_flight,
    a_drain_starts_nothing_new,
    a_key_added_before_sighup_makes_its_callbacks_deliverable,
);
