//! The origin of a callback: scheme, host and port of its URL.

use callback_dispatcher::store::Origin;
use serde_json::json;

use super::{CLIENTS, Queue, Row, plain};
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
