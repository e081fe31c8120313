//! What is written down of a POST, and what is made of its signature.

use serde_json::Value;

use super::*;
use crate::clock::ManualClock;
use crate::domain::{KeyEntry, Secret, SigningKey, Timestamp};

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The contract's vector for a payment.
const SIGNED: &str = r#"{"appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK","newpayOrderNo":"202209210000006950","orderNo":"202209067002502223","subject":"1","transStatus":0,"transInfo":"Transaction Success","settlementStatus":1,"timestamp":"1663738614280","extra":"","sign":"ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0="}"#;

/// Two keys of app 6, the second of which made the contract's vectors.
fn keyring() -> Arc<Keyring> {
    let entry = |id: &str, secret: &str, not_before| KeyEntry {
        app_id: "6".to_owned(),
        id: id.to_owned(),
        not_before,
        key: SigningKey::hmac(Secret::new(secret.to_owned())).expect("not empty"),
    };
    let entries = vec![
        entry("old", "another", None),
        entry("new", "newpay-demo-secret", Some(NOON)),
    ];
    Arc::new(Keyring::new(entries).expect("no fault"))
}

#[tokio::test]
async fn signatures_are_checked_with_every_key_of_the_app() {
    let merchant = start(MerchantSettings {
        keyring: keyring(),
        clock: Arc::new(ManualClock::at(NOON)),
        ..MerchantSettings::default()
    })
    .await;
    let tampered = SIGNED.replace("123.00", "124.00");
    let unsigned = r#"{"appId":"6"}"#;
    let foreign = SIGNED.replace(r#""appId":"6""#, r#""appId":"7""#);
    for body in [SIGNED, &tampered, unsigned, &foreign, "[]"] {
        assert_eq!(post(&merchant, body).await.0, 200, "no opinion");
    }
    let received = merchant.received();
    let holds: Vec<Option<bool>> = received.iter().map(|post| post.sign_holds).collect();
    assert_eq!(holds, [Some(true), Some(false), Some(false), None, None]);
    let first = &received[0];
    assert_eq!(first.arrived_at, NOON);
    assert_eq!(first.path, "/cb?a=1");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.body, SIGNED.as_bytes());
    assert_eq!(first.text("orderAmt"), Some("123.00"));
    assert_eq!(received[4].object, None);
}

#[tokio::test]
async fn the_journal_has_each_post_before_its_answer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("journal.ndjson");
    let settings = MerchantSettings {
        fail_first: 1,
        journal: Some(path.clone()),
        keyring: keyring(),
        clock: Arc::new(ManualClock::at(NOON)),
        remember: 0,
        ..MerchantSettings::default()
    };
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.ends_with('\n'));
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON lines")
    };
    let merchant = start(settings.clone()).await;
    post(&merchant, SIGNED).await;
    let lines = read();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["arrived_at"], NOON.as_millis());
    assert_eq!(lines[0]["path"], "/cb?a=1");
    assert_eq!(lines[0]["headers"]["content-type"], "application/json");
    assert_eq!(lines[0]["body"]["orderAmt"], "123.00");
    assert_eq!(lines[0]["sign_holds"], true);
    assert_eq!(lines[0]["answer"], "refuse");
    post(&merchant, SIGNED).await;
    in_time(merchant.stop()).await;

    let merchant = start(settings).await;
    post(&merchant, "not\nJSON").await;
    let lines = read();
    assert_eq!(lines.len(), 3, "a restarted merchant appends");
    assert_eq!(lines[1]["answer"], "ack");
    assert_eq!(lines[2]["body"], "not\nJSON");
    assert_eq!(lines[2]["sign_holds"], Value::Null);
}

#[tokio::test]
async fn what_the_journal_cannot_take_is_not_acknowledged() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        return;
    }
    let merchant = start(MerchantSettings {
        journal: Some(full),
        ..MerchantSettings::default()
    })
    .await;
    assert_eq!(post(&merchant, "{}").await.0, 500);
    assert_eq!(merchant.count(), 0);
}

#[tokio::test]
async fn an_impossible_journal_is_an_error_with_a_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let settings = MerchantSettings {
        journal: Some(PathBuf::from("/nowhere/journal")),
        ..MerchantSettings::default()
    };
    let error = MockMerchant::start(listener, settings).expect_err("no such directory");
    assert!(
        error.to_string().starts_with("journal /nowhere/journal: "),
        "{error}"
    );
}
