//! True messages, and what forgers make of them.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::domain::{
    Convention, Currency, Message, PayMethod, Payment, Refund, Secret, Settlement, SigningKey,
    Timestamp, TransactionResult, body,
};
use serde_json::Value;

/// The secret of app 6.
pub(super) const SECRET: &str = "newpay-demo-secret";

/// The two messages whose signs the contract gives, byte for byte.
pub(super) const VECTORS: [&str; 2] = [
    concat!(
        r#"{"appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK","#,
        r#""newpayOrderNo":"202209210000006950","orderNo":"202209067002502223","subject":"1","#,
        r#""transStatus":0,"transInfo":"Transaction Success","settlementStatus":1,"#,
        r#""timestamp":"1663738614280","extra":"","#,
        r#""sign":"ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0="}"#,
    ),
    concat!(
        r#"{"appId":"6","payMethod":1,"refundOrderAmt":"123.00","currency":"LAK","#,
        r#""newpayOrderNo":"202209210000006950","newpayRefundOrderNo":"202209210000006951","#,
        r#""orderNo":"202209067002502223","refundOrderNo":"202209067002502232","tranStatus":1,"#,
        r#""transInfo":"Transaction Success","timestamp":"1663738614280","#,
        r#""sign":"3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU="}"#,
    ),
];

/// A payment that went well.
pub(super) fn payment(order: &str) -> Payment {
    Payment {
        app_id: "6".to_owned(),
        pay_method: PayMethod::NewPay,
        amount: "123.00".parse().expect("an amount"),
        currency: Currency::Lak,
        newpay_order_no: order.to_owned(),
        order_no: format!("shop-{order}"),
        subject: "1".to_owned(),
        result: TransactionResult::Success,
        trans_info: "Transaction Success".to_owned(),
        settlement: Settlement::NotSettled,
        extra: String::new(),
    }
}

/// The refund of it, which went well too.
pub(super) fn refund(order: &str) -> Refund {
    Refund {
        app_id: "6".to_owned(),
        pay_method: PayMethod::NewPay,
        amount: "23.00".parse().expect("an amount"),
        currency: Currency::Usd,
        newpay_order_no: order.to_owned(),
        newpay_refund_order_no: format!("{order}-R"),
        order_no: format!("shop-{order}"),
        refund_order_no: format!("shop-{order}-R"),
        result: TransactionResult::Success,
        trans_info: "Transaction Success".to_owned(),
    }
}

pub(super) fn hmac_key(secret: &str) -> SigningKey {
    SigningKey::hmac(Secret::new(secret.to_owned())).expect("not empty")
}

/// Now, as the receivers' clock has it.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// The body, as sent at `moment` with `key`.
pub(super) fn signed_at(moment: Timestamp, key: &SigningKey, message: &Message) -> Vec<u8> {
    let timestamp = moment.to_wire();
    let members = message.members(&timestamp);
    let convention = Convention::default();
    let sign = key.sign(&convention, &convention.canonical_form(&members));
    body(&members, &sign.expect("it signs"))
}

/// The body, as sent now with the secret of app 6.
pub(super) fn genuine(message: &Message) -> Vec<u8> {
    signed_at(now(), &hmac_key(SECRET), message)
}

/// The body of a payment with one member changed, or removed by `Value::Null`, after it was signed.
pub(super) fn tampered(body: &[u8], member: &str, value: Value) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(body).expect("JSON");
    let members = message.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(member).expect("it was there");
    } else {
        members.insert(member.to_owned(), value);
    }
    message.to_string().into_bytes()
}

/// The body with a piece of its text replaced.
pub(super) fn edited(body: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(body).expect("UTF-8");
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to).into_bytes()
}
