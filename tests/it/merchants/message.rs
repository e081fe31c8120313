//! True messages, and what forgers make of them.

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::domain::{
    Convention, Currency, Message, Payment, Refund, Secret, SigningKey, Timestamp, body,
};
use serde_json::Value;

use crate::support::vectors;

/// The two messages whose signs the contract gives, and the secret of app 6.
pub(super) use crate::support::vectors::{BODIES as VECTORS, SECRET};

/// A payment that went well.
pub(super) fn payment(order: &str) -> Payment {
    Payment {
        newpay_order_no: order.to_owned(),
        order_no: format!("shop-{order}"),
        ..vectors::payment()
    }
}

/// The refund of it, which went well too.
pub(super) fn refund(order: &str) -> Refund {
    Refund {
        amount: "23.00".parse().expect("an amount"),
        currency: Currency::Usd,
        newpay_order_no: order.to_owned(),
        newpay_refund_order_no: format!("{order}-R"),
        order_no: format!("shop-{order}"),
        refund_order_no: format!("shop-{order}-R"),
        ..vectors::refund()
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
