//! What the gateway queues, and what the merchant must get of it: written from the contract, in
//! code that shares nothing with the program's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::domain::NewCallback;
use rusqlite::types::Value;
use serde_json::json;

use super::terms::Key;
use crate::domain::body::hmac_sha256;

/// Merchants, each with an origin of its own.
pub(super) const MERCHANTS: u8 = 6;

/// The apps; the last one never has a key.
pub(super) const APPS: [&str; KEYED_APPS as usize + 1] = ["6", "7", "8", "9", "10", "keyless"];

/// Those that have a key: as many as an outage of our own has to concern.
pub(super) const KEYED_APPS: u8 = 5;

/// Texts that have to come through as they are.
const TEXTS: [&str; 5] = [
    "",
    "Transaction Success",
    "ສະບາຍດີ",
    "a=1&b=\"2\"\\",
    " \u{1f} ",
];

/// A row's columns of the gateway's.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) merchant: u8,
    pub(super) refund: bool,
    pub(super) url: String,
    pub(super) app: &'static str,
    pub(super) pay_method: i64,
    pub(super) amount: &'static str,
    pub(super) currency: &'static str,
    number: String,
    subject: &'static str,
    extra: &'static str,
    success: bool,
    trans_info: &'static str,
    settlement: i64,
}

impl Order {
    /// The `n`th order; its texts differ by `n`.
    pub(super) fn new(n: u32, app: u8, merchant: u8, refund: bool) -> Self {
        let nth = usize::try_from(n).expect("a small number");
        let merchant = merchant % MERCHANTS;
        // Two spellings of one origin.
        let host = match n % 3 {
            0 => format!("https://MERCHANT-{merchant}.example:443"),
            _ => format!("https://merchant-{merchant}.example"),
        };
        Self {
            merchant,
            refund,
            url: format!("{host}/callback?n={n}"),
            app: APPS[usize::from(app) % APPS.len()],
            pay_method: if n.is_multiple_of(2) { 1 } else { 4 },
            amount: ["123.00", "0.5", "1000000000000"][nth % 3],
            currency: ["LAK", "USD"][nth % 2],
            number: n.to_string(),
            subject: if refund { "" } else { TEXTS[nth % 5] },
            extra: if refund { "" } else { TEXTS[(nth + 1) % 5] },
            success: n % 4 != 3,
            trans_info: TEXTS[(nth + 2) % 5],
            settlement: if n.is_multiple_of(5) { 2 } else { 1 },
        }
    }

    /// The number that is unique among its kind.
    pub(super) fn unique_number(&self) -> String {
        match self.refund {
            true => format!("NR{}", self.number),
            false => format!("NP{}", self.number),
        }
    }

    /// The columns in the order of [`super::records::GATEWAY_COLUMNS`].
    pub(super) fn columns(&self) -> Vec<Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        let of_refund = |prefix: &str| match self.refund {
            true => Value::Text(format!("{prefix}{}", self.number)),
            false => Value::Null,
        };
        vec![
            text(if self.refund { "refund" } else { "payment" }),
            text(&self.url),
            text(self.app),
            Value::Integer(self.pay_method),
            text(self.amount),
            text(self.currency),
            Value::Text(format!("NP{}", self.number)),
            Value::Text(format!("P{}", self.number)),
            of_refund("NR"),
            of_refund("R"),
            text(self.subject),
            text(self.extra),
            text(if self.success { "success" } else { "failure" }),
            text(self.trans_info),
            match self.refund {
                true => Value::Null,
                false => Value::Integer(self.settlement),
            },
        ]
    }

    /// The same as a line of `enqueue`.
    pub(super) fn new_callback(&self) -> NewCallback {
        let n = &self.number;
        let result = if self.success { "success" } else { "failure" };
        let line = match self.refund {
            false => json!({
                "kind": "payment", "callBackUrl": self.url, "appId": self.app,
                "payMethod": self.pay_method, "orderAmt": self.amount, "currency": self.currency,
                "newpayOrderNo": format!("NP{n}"), "orderNo": format!("P{n}"),
                "subject": self.subject, "extra": self.extra, "result": result,
                "transInfo": self.trans_info, "settlementStatus": self.settlement,
            }),
            true => json!({
                "kind": "refund", "callBackUrl": self.url, "appId": self.app,
                "payMethod": self.pay_method, "refundOrderAmt": self.amount,
                "currency": self.currency, "newpayOrderNo": format!("NP{n}"),
                "newpayRefundOrderNo": format!("NR{n}"), "orderNo": format!("P{n}"),
                "refundOrderNo": format!("R{n}"), "result": result, "transInfo": self.trans_info,
            }),
        };
        NewCallback::from_json_line(&line.to_string()).expect("an order follows the rules")
    }

    /// The body of a POST at `timestamp` under `key`, byte for byte, and its `sign`.
    pub(super) fn body(&self, timestamp: i64, key: &Key) -> (String, String) {
        let members = self.members(timestamp);
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by_key(|(name, _)| name.as_bytes());
        let canonical_form: Vec<String> = sorted
            .iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(text) => format!("{name}={text}"),
                number => format!("{name}={number}"),
            })
            .collect();
        let mac = hmac_sha256(key.secret.as_bytes(), canonical_form.join("&").as_bytes());
        let sign = BASE64.encode(mac);
        let mut body = String::from("{");
        for (name, value) in &members {
            body.push_str(&format!("\"{name}\":{value},"));
        }
        body.push_str(&format!("\"sign\":\"{sign}\"}}"));
        (body, sign)
    }

    fn members(&self, timestamp: i64) -> Vec<(&'static str, serde_json::Value)> {
        let n = &self.number;
        match self.refund {
            false => vec![
                ("appId", json!(self.app)),
                ("payMethod", json!(self.pay_method)),
                ("orderAmt", json!(self.amount)),
                ("currency", json!(self.currency)),
                ("newpayOrderNo", json!(format!("NP{n}"))),
                ("orderNo", json!(format!("P{n}"))),
                ("subject", json!(self.subject)),
                ("transStatus", json!(i64::from(!self.success))),
                ("transInfo", json!(self.trans_info)),
                ("settlementStatus", json!(self.settlement)),
                ("timestamp", json!(timestamp.to_string())),
                ("extra", json!(self.extra)),
            ],
            true => vec![
                ("appId", json!(self.app)),
                ("payMethod", json!(self.pay_method)),
                ("refundOrderAmt", json!(self.amount)),
                ("currency", json!(self.currency)),
                ("newpayOrderNo", json!(format!("NP{n}"))),
                ("newpayRefundOrderNo", json!(format!("NR{n}"))),
                ("orderNo", json!(format!("P{n}"))),
                ("refundOrderNo", json!(format!("R{n}"))),
                ("tranStatus", json!(i64::from(self.success))),
                ("transInfo", json!(self.trans_info)),
                ("timestamp", json!(timestamp.to_string())),
            ],
        }
    }
}
