//! Whom a callback goes to, as the dispatcher groups them: scheme, host and port.

use callback_dispatcher::store::Origin;
use serde_json::json;

use super::{CLIENTS, Queue, Row, plain};

const TABLE: &[(&str, &str)] = &[
    // Scheme and host have no case; path and query have, and are not part of it.
    (
        "https://merchant.example/notify",
        "https://merchant.example",
    ),
    (
        "HTTPS://Merchant.EXAMPLE/Notify?Q=1",
        "https://merchant.example",
    ),
    ("http://merchant.example/notify", "http://merchant.example"),
    // Wherever the host ends.
    ("https://merchant.example", "https://merchant.example"),
    ("https://merchant.example?a=b/c", "https://merchant.example"),
    ("https://merchant.example#f/g", "https://merchant.example"),
    (
        "https://merchant.example\\evil.example/",
        "https://merchant.example",
    ),
    (
        "https://merchant.example/a?b#c/d",
        "https://merchant.example",
    ),
    ("http://a", "http://a"),
    ("http://a/b", "http://a"),
    ("https://a", "https://a"),
    ("https://a?b", "https://a"),
    // The default port is none; any other is.
    ("https://merchant.example:443/", "https://merchant.example"),
    ("http://merchant.example:80/", "http://merchant.example"),
    (
        "https://merchant.example:80/",
        "https://merchant.example:80",
    ),
    (
        "http://merchant.example:443/",
        "http://merchant.example:443",
    ),
    (
        "https://merchant.example:8443/x",
        "https://merchant.example:8443",
    ),
    (
        "https://merchant.example:4430/",
        "https://merchant.example:4430",
    ),
    (
        "http://merchant.example:8080?x",
        "http://merchant.example:8080",
    ),
    ("HTTP://MERCHANT.EXAMPLE:80", "http://merchant.example"),
    // Literal addresses.
    ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
    ("http://[::1]:8080/x", "http://[::1]:8080"),
    ("https://[2001:DB8::1]/x", "https://[2001:db8::1]"),
    ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]"),
    ("http://[::80]/x", "http://[::80]"),
    // What is part of a path is not mistaken for a port.
    ("https://merchant.example/a:443", "https://merchant.example"),
    (
        "https://merchant.example/https://b.example:443",
        "https://merchant.example",
    ),
    // Userinfo stays: the egress policy has it refused, and nothing is to be hidden from it.
    (
        "https://user:pass@merchant.example/",
        "https://user:pass@merchant.example",
    ),
];

#[test]
fn origin_of_a_url() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let inserts: Vec<_> = TABLE
            .iter()
            .enumerate()
            .map(|(number, (url, _))| {
                let row = Row::payment().with("newpay_order_no", json!(number.to_string()));
                row.with("callback_url", json!(url)).insert()
            })
            .collect();
        for answer in queue.ask(client, &inserts) {
            answer.expect("a good URL");
        }
        let read = plain("SELECT origin FROM callback_queue ORDER BY id");
        let rows = queue.ask(client, &[read]).remove(0).expect("origins");
        assert_eq!(rows.len(), TABLE.len());
        for ((url, origin), row) in TABLE.iter().zip(rows) {
            assert_eq!(row, [json!(origin)], "{client:?}: {url}");
            // What an operator gives for an origin is read by the same rule.
            assert_eq!(Origin::of_url(url), Some(Origin::new(origin)), "{url}");
        }
    }
}

#[test]
fn a_given_origin_is_the_right_one() {
    let row = Row::payment().with("callback_url", json!("https://Merchant.example:443/a"));
    let given = |origin: &str| row.clone().with("origin", json!(origin)).insert();
    for client in CLIENTS {
        let queue = Queue::of(client);
        let answers = queue.ask(
            client,
            &[
                given("https://other.example"),
                given("https://merchant.example"),
                plain("UPDATE callback_queue SET origin = 'https://other.example'"),
                plain("UPDATE callback_queue SET origin = 'https://merchant.example'"),
            ],
        );
        for position in [0, 2] {
            let error = answers[position].as_ref().expect_err("a wrong origin");
            assert!(
                error.contains("the origin is that of callback_url"),
                "{client:?}: {error}"
            );
        }
        assert!(
            answers[1].is_ok() && answers[3].is_ok(),
            "{client:?}: {answers:?}"
        );
    }
}
