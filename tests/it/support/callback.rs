//! Callbacks in each form in which they are queued: a line for `enqueue`, a value for the store, SQL.

use std::collections::BTreeMap;

use callback_dispatcher::domain::NewCallback;
use serde_json::{Value, json};

/// The document's payment as a line for `enqueue`, as the `number`th of its kind.
pub(crate) fn payment_line(url: &str, number: usize) -> Value {
    json!({
        "kind": "payment", "callBackUrl": url, "appId": "6", "payMethod": 1,
        "orderAmt": "123.00", "currency": "LAK", "newpayOrderNo": format!("N{number}"),
        "orderNo": format!("M{number}"), "subject": "1", "result": "success",
        "transInfo": "Transaction Success", "settlementStatus": 1,
    })
}

/// The refund of [`payment_line`].
pub(crate) fn refund_line(url: &str, number: usize) -> Value {
    json!({
        "kind": "refund", "callBackUrl": url, "appId": "6", "payMethod": 1,
        "refundOrderAmt": "123.00", "currency": "LAK", "newpayOrderNo": format!("N{number}"),
        "newpayRefundOrderNo": format!("NR{number}"), "orderNo": format!("M{number}"),
        "refundOrderNo": format!("MR{number}"), "result": "success",
        "transInfo": "Transaction Success",
    })
}

/// The line with another value of one member.
pub(crate) fn with(mut line: Value, member: &str, value: Value) -> Value {
    line[member] = value;
    line
}

/// A payment of app 6 with this number at NewPay.
pub(crate) fn payment(url: &str, order: &str) -> NewCallback {
    payment_of("6", url, order)
}

/// The same for another app.
pub(crate) fn payment_of(app: &str, url: &str, order: &str) -> NewCallback {
    let mut line = payment_line(url, 1);
    line["appId"] = json!(app);
    line["newpayOrderNo"] = json!(order);
    line["orderNo"] = json!(format!("shop-{order}"));
    NewCallback::from_json_line(&line.to_string()).expect("a payment")
}

/// The INSERT of a payment of app 6 as a gateway writes it, with `changes`: columns and their SQL.
pub(crate) fn insert(url: &str, order: &str, changes: &[(&str, &str)]) -> String {
    let (url, order) = (format!("'{url}'"), format!("'{order}'"));
    let (columns, values) = columns(&url, &order, changes);
    format!("INSERT INTO callback_queue ({columns}) VALUES ({values});")
}

/// The INSERT of `rows` payments with the numbers `N1`, `N2` and so on; `changes` may name the
/// number `n`.
pub(crate) fn insert_rows(rows: usize, url: &str, changes: &[(&str, &str)]) -> String {
    let url = format!("'{url}'");
    let (columns, values) = columns(&url, "'N' || n", changes);
    format!(
        "INSERT INTO callback_queue ({columns})
         WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {rows})
         SELECT {values} FROM number;"
    )
}

fn columns(url: &str, order: &str, changes: &[(&str, &str)]) -> (String, String) {
    let mut columns = BTreeMap::from([
        ("kind", "'payment'"),
        ("callback_url", url),
        ("app_id", "'6'"),
        ("pay_method", "1"),
        ("amount", "'123.00'"),
        ("currency", "'LAK'"),
        ("newpay_order_no", order),
        ("order_no", order),
        ("result", "'success'"),
        ("settlement_status", "1"),
    ]);
    columns.extend(changes.iter().copied());
    let names: Vec<&str> = columns.keys().copied().collect();
    let values: Vec<&str> = columns.values().copied().collect();
    (names.join(", "), values.join(", "))
}

/// A callback that was finished at this moment: changes for [`insert`].
pub(crate) fn finished<'a>(state: &'a str, at: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("state", state),
        ("finished_at", at),
        ("next_attempt_at", "NULL"),
    ]
}
