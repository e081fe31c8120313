//! The origin of a callback: scheme, host and port of its URL.

use callback_dispatcher::store::Origin;
use serde_json::json;

use super::{CLIENTS, POSTGRES_SCHEMA, Queue, Row, plain};
use crate::support::callback::insert;
use crate::support::postgres::Server;
use crate::support::table::rows;

/// URL and origin.
const TABLE: &str = r"
# Scheme and host have no case; path and query have, and are not part of it.
https://merchant.example/notify | https://merchant.example
HTTPS://Merchant.EXAMPLE/Notify?Q=1 | https://merchant.example
http://merchant.example/notify | http://merchant.example
# Wherever the host ends.
https://merchant.example | https://merchant.example
https://merchant.example?a=b/c | https://merchant.example
https://merchant.example#f/g | https://merchant.example
https://merchant.example\evil.example/ | https://merchant.example
https://merchant.example/a?b#c/d | https://merchant.example
http://a | http://a
http://a/b | http://a
https://a | https://a
https://a?b | https://a
# The default port is none; any other is.
https://merchant.example:443/ | https://merchant.example
http://merchant.example:80/ | http://merchant.example
https://merchant.example:80/ | https://merchant.example:80
http://merchant.example:443/ | http://merchant.example:443
https://merchant.example:8443/x | https://merchant.example:8443
https://merchant.example:4430/ | https://merchant.example:4430
http://merchant.example:8080?x | http://merchant.example:8080
HTTP://MERCHANT.EXAMPLE:80 | http://merchant.example
# Literal addresses.
http://127.0.0.1:8080/x | http://127.0.0.1:8080
http://[::1]:8080/x | http://[::1]:8080
https://[2001:DB8::1]/x | https://[2001:db8::1]
https://[2001:db8::1]:443/x | https://[2001:db8::1]
http://[::80]/x | http://[::80]
# What is part of a path is not mistaken for a port.
https://merchant.example/a:443 | https://merchant.example
https://merchant.example/https://b.example:443 | https://merchant.example
# Userinfo stays: the egress policy has it refused, and nothing is to be hidden from it.
https://user:pass@merchant.example/ | https://user:pass@merchant.example
";

#[test]
fn origin_of_a_url() {
    let table = rows::<2>(TABLE);
    for client in CLIENTS {
        let queue = Queue::of(client);
        let inserts: Vec<_> = table
            .iter()
            .enumerate()
            .map(|(number, [url, _])| {
                let row = Row::payment().with("newpay_order_no", json!(number.to_string()));
                row.with("callback_url", json!(url)).insert()
            })
            .collect();
        queue.takes(client, &inserts);
        let origins = queue.rows("SELECT origin FROM callback_queue ORDER BY id");
        assert_eq!(origins.len(), table.len());
        for ([url, origin], row) in table.iter().zip(origins) {
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
        let set = |origin: &str| plain(&format!("UPDATE callback_queue SET origin = '{origin}'"));
        let (wrong, right) = ("https://other.example", "https://merchant.example");
        let words = "the origin is that of callback_url";
        queue.refuses(client, &[(given(wrong), words)]);
        queue.takes(client, &[given(right), set(right)]);
        queue.refuses(client, &[(set(wrong), words)]);
    }
}

/// As when logical replication or a restore brings the row.
#[test]
fn a_row_that_is_replicated_has_an_origin() {
    let database = Server::shared().create_database();
    database.sql(POSTGRES_SCHEMA);
    let inserted = insert("https://merchant.example/notify", "1", &[]);
    database.sql(&format!(
        "SET session_replication_role = replica; {inserted}"
    ));
    let origin = database.value("SELECT origin FROM callback_queue");
    assert_eq!(origin, "https://merchant.example");
}

#[test]
fn an_amount_has_its_point_whatever_the_roles_strings_are() {
    let database = Server::shared().create_database();
    database.sql(&format!(
        "SET standard_conforming_strings = off; {POSTGRES_SCHEMA}"
    ));
    let inserted = insert(
        "https://merchant.example/notify",
        "1",
        &[("amount", "'1x50'")],
    );
    let complaint = database.try_sql(&inserted).expect_err("no decimal number");
    let rule = "amount_is_decimal_with_at_most_two_decimals";
    assert!(complaint.contains(rule), "{complaint}");
}
