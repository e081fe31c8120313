//! Which addresses the program connects to, whatever its environment and its queue say.

use std::net::SocketAddr;

use callback_dispatcher::merchant::Answer;
use serde_json::{Value, json};

use super::{Place, Process, SETTINGS, found, payment};
use crate::support::callback::insert;
use crate::support::connections::{Conduct, Connections};

async fn listener(address: &str, port: u16) -> Connections {
    Connections::at(address, port, Conduct::HangsUp).await
}

/// The variables that programs take a proxy from, in both cases.
const PROXY_VARIABLES: &str =
    "HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy";

/// `run` with a proxy in its environment, and `no_proxy` as the exceptions.
fn run_behind(place: &Place, proxy: SocketAddr, no_proxy: &str) -> Process {
    let mut command = place.command(&["run"]);
    for name in PROXY_VARIABLES.split(' ') {
        let value = match name.eq_ignore_ascii_case("NO_PROXY") {
            true => no_proxy.to_owned(),
            false => format!("http://{proxy}"),
        };
        command.env(name, value);
    }
    Process::spawn(command)
}

const ATTEMPTS: &str = "SELECT q.newpay_order_no AS number, a.outcome, a.remote_addr, a.detail,
   a.sent_timestamp FROM callback_attempt a JOIN callback_queue q ON q.id = a.callback_id
   ORDER BY q.id, a.seq";

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let place = Place::new();
    let proxy = listener("127.0.0.1", 0).await;
    let merchant = place.merchant(Answer::Ack).await;
    let closed = listener("127.0.0.1", 0).await;
    let daemon = run_behind(&place, proxy.address, "").ready().await;
    place.enqueue(&[
        payment(&merchant.url("/callback"), 1),
        // No TLS is spoken there; a proxy would have been asked to CONNECT.
        payment(&format!("https://{}/callback", closed.address), 2),
    ]);
    place.all_finished().await;
    daemon.stops().await;
    let attempts = place.rows(ATTEMPTS);
    assert_eq!(attempts[0]["outcome"], "acknowledged", "{attempts:?}");
    // The address recorded is the one that was sent to.
    assert_eq!(attempts[0]["remote_addr"], merchant.addr().to_string());
    assert_eq!(merchant.count(), 1);
    assert_eq!(attempts.len(), 4, "{attempts:?}");
    for attempt in &attempts[1..] {
        assert_eq!(attempt["outcome"], "tls", "{attempt}");
        assert_eq!(attempt["remote_addr"], closed.address.to_string());
    }
    assert_eq!(closed.count().await, 3);
    assert_eq!(proxy.count().await, 0);
}

#[tokio::test]
async fn exceptions_of_the_environment_are_ignored_too() {
    let place = Place::new();
    // Another address than the merchant's: nobody may have a callback sent to the proxy itself.
    let proxy = listener("127.0.0.2", 0).await;
    let from_environment = listener("127.0.0.1", 0).await;
    let merchant = place.merchant(Answer::Ack).await;
    let settings = format!("[egress]\nproxy = \"http://{}\"", proxy.address);
    place.change_settings("[egress]", &settings);
    let daemon = run_behind(&place, from_environment.address, "*")
        .ready()
        .await;
    place.enqueue(&[payment(&merchant.url("/callback"), 1)]);
    // The proxy hangs up on us, which is no failure of the merchant: it is tried again later.
    found("an attempt is recorded", || {
        (!place.rows(ATTEMPTS).is_empty()).then_some(())
    })
    .await;
    daemon.stops().await;
    assert!(proxy.count().await >= 1);
    assert_eq!(from_environment.count().await, 0);
    assert_eq!(merchant.count(), 0);
}

#[tokio::test]
async fn the_address_that_a_name_led_to_is_recorded() {
    let place = Place::new();
    let merchant = place.merchant(Answer::Ack).await;
    // Whatever this host calls localhost.
    let networks = "allow_networks = [\"127.0.0.1\", \"::1\"]";
    place.change_settings("allow_networks = [\"127.0.0.1\"]", networks);
    let daemon = place.run().ready().await;
    let port = merchant.addr().port();
    place.enqueue(&[
        payment(&format!("http://localhost:{port}/callback"), 1),
        payment(&format!("http://0x7f.1:{port}/callback"), 2),
    ]);
    place.all_finished().await;
    daemon.stops().await;
    let attempts = place.rows(ATTEMPTS);
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    for attempt in &attempts {
        assert_eq!(attempt["outcome"], "acknowledged", "{attempt}");
        assert_eq!(attempt["remote_addr"], merchant.addr().to_string());
    }
}

#[tokio::test]
async fn no_connection_is_made_to_a_forbidden_address() {
    let place = Place::new();
    let merchant = place.merchant(Answer::Ack).await;
    let port = merchant.addr().port();
    let forbidden = [
        listener("127.0.0.2", port).await,
        listener("::1", port).await,
    ];
    let hosts = "127.0.0.2 127.2 2130706434 0x7f000002 0177.0.0.2 １２７.0.0.2 127。0。0。2
        %31%32%37.0.0.2 127.0.0.2. [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.2] [64:ff9b::7f00:2]
        [2002:7f00:2::] [::] 0.0.0.0 user:pass@127.0.0.1 127.0.0.1@127.0.0.2";
    let hosts: Vec<&str> = hosts.split_whitespace().collect();
    let inserts = hosts.iter().enumerate();
    let inserts = inserts
        .map(|(number, host)| {
            let url = format!("http://{host}:{port}/callback");
            insert(&url, &format!("N{number}"), &[])
        })
        .collect::<String>();
    place.rows(&inserts);
    let daemon = place.run().ready().await;
    place.all_finished().await;
    daemon.stops().await;
    let attempts = place.rows(ATTEMPTS);
    // Each attempt of each round was stopped, and none has left a trace of having been sent.
    assert_eq!(attempts.len(), 3 * hosts.len());
    for attempt in &attempts {
        assert_eq!(attempt["outcome"], "blocked", "{attempt}");
        assert_eq!(attempt["sent_timestamp"], Value::Null, "{attempt}");
        assert_eq!(attempt["remote_addr"], Value::Null, "{attempt}");
    }
    for listener in &forbidden {
        assert_eq!(listener.count().await, 0, "{}", listener.address);
    }
    assert_eq!(merchant.count(), 0);
}

#[tokio::test]
async fn enqueue_refuses_what_would_be_blocked() {
    let place = Place::new();
    let said = place.feed(
        &["enqueue"],
        &json!({
            "kind": "payment", "callBackUrl": "http://0x7f.2/", "appId": "6", "payMethod": 1,
            "orderAmt": "1", "currency": "LAK", "newpayOrderNo": "N", "orderNo": "M",
            "result": "success", "settlementStatus": 1,
        })
        .to_string(),
    );
    said.failed(1, &["callBackUrl", "127.0.0.2", "egress.allow_networks"]);
    assert!(SETTINGS.contains("allow_networks = [\"127.0.0.1\"]"));
}
