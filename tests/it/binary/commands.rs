//! The commands that write, and those that need no queue.

use std::fs;
use std::process::Command;

use callback_dispatcher::domain::{Convention, FlatObject, Secret, SigningKey};
use callback_dispatcher::store::{postgres, sqlite};
use serde_json::{Value, json};

use super::{Place, Process, StoreKind, found, lines, on_both, payment, refund, with};
use crate::support::vectors::{BODIES, CANONICAL_FORMS};

const URL: &str = "http://127.0.0.1:9/cb";

const VECTOR: &str = BODIES[0];

fn queued(place: &Place) -> Value {
    place.rows("SELECT count(*) AS n FROM callback_queue")[0]["n"].clone()
}

fn init_creates_the_database_once(store: StoreKind) {
    let place = Place::bare_on(store);
    let (version, stands) = match store {
        StoreKind::Sqlite => (sqlite::SCHEMA_VERSION, "SELECT * FROM pragma_user_version"),
        StoreKind::Postgres => (postgres::SCHEMA_VERSION, "SELECT version FROM queue_schema"),
    };
    let first = place.ask(&["init"]).done();
    let created = format!("{} created, schema version {version}", place.queue_name());
    assert!(first.contains(&created), "{first}");
    place.enqueue(&[payment(URL, 1)]);
    let second = place.ask(&["init"]).done();
    let is_there = format!("{} is up to date", place.queue_name());
    assert!(second.contains(&is_there), "{second}");
    assert_eq!(queued(&place), 1);
    assert_eq!(place.sql(stands), version.to_string());
}

fn enqueue_reads_standard_input_or_a_file_and_prints_ids(store: StoreKind) {
    let place = Place::on(store);
    assert_eq!(place.enqueue(&[payment(URL, 1), refund(URL, 1)]), [1, 2]);
    place.write("more.ndjson", &format!("\n{}\n\n", payment(URL, 2)));
    assert_eq!(place.ask(&["enqueue", "more.ndjson"]).done(), "3\n");
    assert_eq!(place.ask(&["enqueue"]).done(), "", "no line, no callback");
    place
        .ask(&["enqueue", "nowhere.ndjson"])
        .failed(1, &["nowhere.ndjson"]);
    let kept = "SELECT kind, amount, order_no, newpay_refund_order_no AS refund, result, state
                FROM callback_queue WHERE id <= 2 ORDER BY id";
    assert_eq!(
        json!(place.rows(kept)),
        json!([
            {"kind": "payment", "amount": "123.00", "order_no": "M1", "refund": null,
             "result": "success", "state": "pending"},
            {"kind": "refund", "amount": "123.00", "order_no": "M1", "refund": "NR1",
             "result": "success", "state": "pending"},
        ])
    );
}

fn a_bad_line_is_named_and_nothing_is_queued(store: StoreKind) {
    let place = Place::on(store);
    let good = payment(URL, 1);
    let unnamed = with(payment(URL, 3), "orderNumber", json!("M3"));
    for (bad, word) in [
        (
            with(payment(URL, 2), "orderAmt", json!("1,000")),
            "orderAmt",
        ),
        (with(payment(URL, 2), "currency", json!("EUR")), "currency"),
        (with(payment(URL, 2), "payMethod", json!(2)), "payMethod"),
        (with(payment(URL, 2), "result", json!("ok")), "result"),
        (with(payment(URL, 2), "kind", json!("gift")), "kind"),
        (payment("ftp://127.0.0.1/", 2), "callBackUrl"),
        (payment("http://10.0.0.1/", 2), "callBackUrl"),
        (with(payment(URL, 2), "orderAmt", json!(123)), "orderAmt"),
        (
            with(refund(URL, 2), "refundOrderAmt", json!("")),
            "refundOrderAmt",
        ),
        (unnamed, "orderNumber"),
        (
            with(payment(URL, 2), "extra", json!("1&newpayOrderNo=2")),
            "extra holds \"&newpayOrderNo=\", so the sign would also hold for another message",
        ),
        (
            with(payment(URL, 2), "subject", json!("x".repeat(16_385))),
            "subject has 16385 bytes",
        ),
        (json!([]), "not a JSON object"),
    ] {
        let input = lines(&[good.clone(), bad]);
        let said = place.feed(&["enqueue"], &input);
        said.failed(1, &["standard input, line 2", word, "nothing was queued"]);
        assert!(!said.err.contains("line 1"), "{said:?}");
        assert_eq!(queued(&place), 0);
    }
    let two = format!("nonsense\n{good}\n{{}}\n");
    place.write("two.ndjson", &two);
    let words = ["two.ndjson, line 1", "two.ndjson, line 3"];
    place.ask(&["enqueue", "two.ndjson"]).failed(1, &words);
}

fn a_duplicate_queues_nothing(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[payment(URL, 1)]);
    let input = lines(&[payment(URL, 2), payment(URL, 1)]);
    let words = ["line 2", "nothing was queued"];
    place.feed(&["enqueue"], &input).failed(1, &words);
    let input = lines(&[refund(URL, 3), refund(URL, 3)]);
    place.feed(&["enqueue"], &input).failed(1, &words);
    assert_eq!(queued(&place), 1);
}

#[test]
fn verify_prints_the_canonical_form_and_whether_the_sign_holds() {
    let place = Place::bare();
    let holds = place.feed(&["verify"], VECTOR).done();
    assert!(holds.contains(CANONICAL_FORMS[0]), "{holds}");
    assert!(holds.contains("of-6"), "the key is named: {holds}");

    let altered = VECTOR.replace("123.00", "923.00");
    let said = place.feed(&["verify"], &altered);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("orderAmt=923.00"), "{said:?}");

    let foreign = VECTOR.replace("\"appId\":\"6\"", "\"appId\":\"8\"");
    let said = place.feed(&["verify"], &foreign);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("no key for app \"8\""), "{said:?}");
    let said = place.feed(&["verify", "--app", "6"], &foreign);
    assert_eq!(said.code, Some(1), "another text: {said:?}");
    place
        .feed(&["verify"], "{\"a\":{}}")
        .failed(1, &["standard input"]);
}

#[test]
fn verify_does_not_trust_a_sign_that_holds_for_another_message_as_well() {
    let place = Place::bare();
    let unsigned = VECTOR.replace("\"extra\":\"\"", "\"extra\":\"1&newpayOrderNo=2\"");
    let object = FlatObject::parse(unsigned.as_bytes()).expect("flat");
    let convention = Convention::default();
    let key = SigningKey::hmac(Secret::new("newpay-demo-secret".to_owned())).expect("a key");
    let sign = key.sign(&convention, &object.canonical_form(&convention));
    let sign = sign.expect("signed");
    let signed = unsigned.replace(object.sign().expect("its own"), &sign);
    let said = place.feed(&["verify"], &signed);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("not to be trusted: extra holds"),
        "{said:?}"
    );
    assert!(!said.out.contains("holds      with"), "{said:?}");
}

#[test]
fn verify_does_not_trust_a_message_with_a_member_dropped() {
    let place = Place::bare();
    for (dropped, into, text) in [
        (
            "transStatus",
            "transInfo",
            "Transaction Success&transStatus=0",
        ),
        ("extra", "currency", "LAK&extra="),
    ] {
        let mut forged: Value = serde_json::from_str(VECTOR).expect("JSON");
        forged[into] = text.into();
        let members = forged.as_object_mut().expect("an object");
        members.remove(dropped).expect("it was there");
        let said = place.feed(&["verify"], &forged.to_string());
        assert_eq!(said.code, Some(1), "{said:?}");
        let why = format!("not to be trusted: {into} holds \"&{dropped}=\"");
        assert!(said.out.contains(&why), "{said:?}");
        assert!(
            said.out.contains(CANONICAL_FORMS[0]),
            "the same text: {said:?}"
        );
    }
}

#[tokio::test]
async fn the_mock_merchant_answers_and_keeps_a_journal() {
    let place = Place::bare();
    let arguments = "mock-merchant --listen 127.0.0.1:0 --fail-first 1 --journal seen.ndjson";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let mut daemon = Process::spawn(place.command(&arguments));
    let line = daemon.says("listening on").await;
    let url = line.trim_start_matches("listening on ").to_owned();

    // By an HTTP client that is not ours.
    let post = || {
        let output = Command::new("curl")
            .args([
                "-s",
                "--noproxy",
                "*",
                "-H",
                "Content-Type: application/json",
            ])
            .args(["-d", VECTOR, &url])
            .output()
            .expect("curl is there");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(post(), r#"{"transResult":"FAIL"}"#);
    assert_eq!(post(), r#"{"transResult":"SUCCESS"}"#);
    let seen = fs::read_to_string(place.path("seen.ndjson")).expect("a journal");
    let seen: Vec<Value> = seen
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(seen.len(), 2);
    for (line, answer) in seen.iter().zip(["refuse", "ack"]) {
        assert_eq!(line["answer"], answer);
        assert_eq!(line["sign_holds"], true);
        assert_eq!(line["body"]["orderNo"], "202209067002502223");
        assert_eq!(line["headers"]["content-type"], "application/json");
    }
    let said = daemon.stops().await;
    assert!(said.contains("2 POSTs received"), "{said}");
}

async fn our_mock_merchant_and_our_daemon_understand_each_other(store: StoreKind) {
    let place = Place::on(store);
    let arguments = ["mock-merchant", "--listen", "127.0.0.1:0"];
    let mut merchant = Process::spawn(place.command(&arguments));
    let line = merchant.says("listening on").await;
    let url = line.trim_start_matches("listening on ");
    place.enqueue(&[payment(url, 1), refund(url, 1)]);
    let daemon = place.run().ready().await;
    found("both are delivered", || {
        let delivered = "SELECT 1 FROM callback_queue WHERE state = 'delivered'";
        (place.rows(delivered).len() == 2).then_some(())
    })
    .await;
    daemon.stops().await;
    merchant.stops().await;
}

on_both!(our_mock_merchant_and_our_daemon_understand_each_other,);

on_both!(
    plain:
    init_creates_the_database_once,
    enqueue_reads_standard_input_or_a_file_and_prints_ids,
    a_bad_line_is_named_and_nothing_is_queued,
    a_duplicate_queues_nothing,
);
