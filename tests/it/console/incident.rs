//! A mass incident: many given up of one merchant, few of another, an app paused, one without a key.
//! Front page, `stats`, metrics and SQL tell the same, and nothing is green that is not well.

use serde_json::Value;

use super::client::Client;
use crate::live::Daemon;
use crate::support::callback::{finished, insert_rows};
use crate::support::place::Place;
use crate::support::store::{StoreKind, on_both};
use crate::support::waiting::until;

const DELIVERED: u64 = 6000;
const GIVEN_UP: u64 = 2500;
const PAUSED: u64 = 270;
const UNSIGNABLE: u64 = 12;

/// A minute ago.
const LATELY: &str =
    "(SELECT max(created_at) - 60000 FROM (SELECT created_at FROM callback_queue WHERE id = 1) q)";

fn fill(place: &Place) {
    let rows = |rows: u64, app: &str, changes: &[(&str, &str)]| {
        let number = format!("'{app}-' || n");
        let app = format!("'{app}'");
        let mut changes = changes.to_vec();
        changes.extend([("app_id", &*app), ("newpay_order_no", &number)]);
        let rows = usize::try_from(rows).expect("few");
        place.sql(&insert_rows(rows, "https://merchant.example/", &changes));
    };
    rows(PAUSED, "9", &[]);
    rows(UNSIGNABLE, "10", &[]);
    rows(DELIVERED, "6", &finished("'delivered'", LATELY));
    rows(GIVEN_UP, "7", &finished("'exhausted'", LATELY));
    rows(3, "8", &finished("'exhausted'", LATELY));
    place.sql(
        "INSERT INTO operator_command (action, app_id, actor, reason)
         VALUES ('pause', '9', 'noy', 'they move house')",
    );
}

/// The value of a series.
fn value(metrics: &str, series: &str) -> u64 {
    let name = format!("callback_dispatcher_{series} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    let text = line.unwrap_or_else(|| panic!("no {series} in {metrics}"));
    text.parse::<f64>().expect("a number") as u64
}

async fn an_incident_is_told_alike_everywhere(store: StoreKind) {
    let place = Place::on(store);
    fill(&place);
    let daemon = Daemon::start(&place, &[("ADMIN__LISTEN", "127.0.0.1:0")]).await;
    let client = Client::new(daemon.admin_addr());
    // Counted after the last of its callbacks has been tried, and all of them are back.
    until("the missing key is counted", async || {
        let page = client.get("/console").await.body;
        if !page.contains("app 10: 12 callbacks") {
            return false;
        }
        let metrics = client.get("/metrics").await.body;
        value(&metrics, "troubles{kind=\"unsignable\"}") == 1
            && value(&metrics, "troubles{kind=\"paused\"}") == 1
            && value(&metrics, "queue_callbacks{state=\"in_flight\"}") == 0
    })
    .await;

    let metrics = client.get("/metrics").await.body;
    let stats = place.ask(&["stats", "--json"]).json();
    let page = client.get("/console").await.body;
    let (_, cards) = page.split_once("<dl class=\"cards\">").expect("the counts");
    for (state, callbacks) in [
        ("pending", PAUSED + UNSIGNABLE),
        ("in_flight", 0),
        ("delivered", DELIVERED),
        ("exhausted", GIVEN_UP + 3),
        ("cancelled", 0),
    ] {
        let by_sql = place.sql(&format!(
            "SELECT count(*) FROM callback_status WHERE state = '{state}'"
        ));
        assert_eq!(by_sql.trim(), callbacks.to_string(), "{state}");
        let series = format!("queue_callbacks{{state=\"{state}\"}}");
        assert_eq!(value(&metrics, &series), callbacks, "{state}");
        assert_eq!(stats["depth"][state], callbacks, "{state}");
        let card = format!("?state={state}\">");
        let (_, shown) = cards.split_once(&card).expect("a card of each state");
        let shown: String = shown
            .split('<')
            .next()
            .expect("a number")
            .replace('\u{a0}', "");
        assert_eq!(shown, callbacks.to_string(), "{state}");
    }
    let troubles = stats["health"].as_array().expect("an array");
    let found: Vec<(&str, Option<&str>, u64)> = troubles
        .iter()
        .map(|trouble: &Value| {
            (
                trouble["kind"].as_str().expect("a word"),
                trouble["app_id"].as_str(),
                trouble["callbacks"].as_u64().expect("a count"),
            )
        })
        .collect();
    let expected = [
        ("unsignable", Some("10"), UNSIGNABLE),
        ("exhausted", Some("7"), GIVEN_UP),
        ("exhausted", Some("8"), 3),
        ("paused", Some("9"), PAUSED),
    ];
    // Whether it is late by now depends on the machine.
    let found: Vec<_> = found
        .into_iter()
        .filter(|found| found.0 != "late")
        .collect();
    assert_eq!(found, expected);
    assert_eq!(value(&metrics, "troubles{kind=\"exhausted\"}"), 2);
    for words in [
        "app 10: 12 callbacks to https://merchant.example can't be signed",
        "app 7: 2500 callbacks to https://merchant.example given up",
        "app 8: 3 callbacks to https://merchant.example given up",
        "app 9 is paused since",
        "by noy (they move house); 270 callbacks wait",
    ] {
        assert!(page.contains(words), "{words}: {page}");
        let text = place.ask(&["stats"]).done();
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!page.contains("Nothing needs you"), "{page}");
    let merchants = client.get("/console/merchants").await.body;
    let place_of = |app: &str| merchants.find(&format!("<th scope=\"row\"><bdi>{app}</bdi></th>"));
    let order = ["10", "7", "8", "9", "6"].map(|app| place_of(app).expect(app));
    assert!(order.is_sorted(), "{merchants}");
    assert_eq!(
        merchants.matches("badge good").count(),
        1,
        "app 6 alone: {merchants}"
    );
    daemon.stop().await;
}

/// A dispatcher whose file was replaced is of no use, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_queue_file_is_noticed() {
    let place = Place::new();
    let daemon = Daemon::start(&place, &[("ADMIN__LISTEN", "127.0.0.1:0")]).await;
    let client = Client::new(daemon.admin_addr());
    until("it is ready", async || {
        client.get("/readyz").await.status == 200
    })
    .await;
    std::fs::rename(place.path("queue.db"), place.path("moved.db")).expect("renamed");
    std::fs::copy(place.path("moved.db"), place.path("queue.db")).expect("copied");
    until("it is not ready", async || {
        client.get("/readyz").await.status == 503
    })
    .await;
    let answer = client.get("/readyz").await.body;
    assert!(
        answer.contains("queue.db was replaced or removed"),
        "{answer}"
    );
    let page = client.get("/console").await.body;
    assert!(page.contains("was replaced or removed"), "{page}");
    let metrics = client.get("/metrics").await.body;
    assert_eq!(value(&metrics, "troubles{kind=\"queue\"}"), 1);
    daemon.stop().await;
}

on_both!(an_incident_is_told_alike_everywhere,);
