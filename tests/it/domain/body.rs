//! The body that a merchant parses, and that it can check the signature from what it parsed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::domain::{
    Convention, Currency, Message, PayMethod, Payment, Refund, Secret, Settlement, SigningKey,
    TransactionResult, body,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Members, properties};
use crate::support::vectors::{self, BODIES, SECRET, TIMESTAMP};

const PAYMENT_ORDER: &str = "appId payMethod orderAmt currency newpayOrderNo orderNo subject \
    transStatus transInfo settlementStatus timestamp extra sign";

const REFUND_ORDER: &str = "appId payMethod refundOrderAmt currency newpayOrderNo newpayRefundOrderNo \
    orderNo refundOrderNo tranStatus transInfo timestamp sign";

/// The body as the dispatcher sends it.
fn signed_body(message: &Message, timestamp: &str) -> Vec<u8> {
    let members = message.members(timestamp);
    let convention = Convention::default();
    let key = SigningKey::hmac(Secret::new(SECRET.to_owned())).expect("a key");
    let sign = key.sign(&convention, &convention.canonical_form(&members));
    body(&members, &sign.expect("an HMAC never fails"))
}

/// What a merchant does with what it parsed, in code that shares nothing with ours.
fn sign_of_parsed(members: &[(String, Value)]) -> String {
    let mut pairs: Vec<_> = members.iter().filter(|(name, _)| name != "sign").collect();
    pairs.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    let texts = pairs.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        Value::Number(number) => format!("{name}={number}"),
        other => panic!("{name} is {other}"),
    });
    let canonical_form = texts.collect::<Vec<_>>().join("&");
    BASE64.encode(hmac_sha256(SECRET.as_bytes(), canonical_form.as_bytes()))
}

/// RFC 2104, for keys of at most one block.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], message].concat());
    Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner[..]].concat()).to_vec()
}

fn parsed(body: &[u8]) -> Vec<(String, Value)> {
    let members: Members<Value> = serde_json::from_slice(body).expect("one JSON object");
    members.0
}

#[test]
fn the_documents_samples_byte_for_byte() {
    for (message, body) in vectors::messages().iter().zip(BODIES) {
        let sent = signed_body(message, TIMESTAMP);
        assert_eq!(String::from_utf8(sent).expect("UTF-8"), body);
    }
}

#[test]
fn the_status_codes_are_opposite_in_the_two_messages() {
    let status = |message: &Message, name: &str| {
        let members = parsed(&signed_body(message, TIMESTAMP));
        let found = members.into_iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value)
    };
    let payment = |result| {
        Message::Payment(Payment {
            result,
            ..vectors::payment()
        })
    };
    let refund = |result| {
        Message::Refund(Refund {
            result,
            ..vectors::refund()
        })
    };
    let (success, failure) = (TransactionResult::Success, TransactionResult::Failure);
    assert_eq!(status(&payment(success), "transStatus"), Some(json!(0)));
    assert_eq!(status(&payment(failure), "transStatus"), Some(json!(1)));
    assert_eq!(status(&refund(success), "tranStatus"), Some(json!(1)));
    assert_eq!(status(&refund(failure), "tranStatus"), Some(json!(0)));
    assert_eq!(status(&payment(success), "tranStatus"), None);
    assert_eq!(status(&refund(success), "transStatus"), None);
}

#[test]
fn each_attempt_has_its_own_timestamp_and_sign() {
    for message in vectors::messages() {
        let first = parsed(&signed_body(&message, "1663738614280"));
        let second = parsed(&signed_body(&message, "1663738914280"));
        for ((name, one), (_, other)) in first.iter().zip(&second) {
            let differs = name == "timestamp" || name == "sign";
            assert_eq!(one != other, differs, "{name}: {one} {other}");
        }
    }
}

/// Any text at all: control characters, NUL, quotes, Lao, emoji.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        3 => any::<char>(),
        1 => prop::sample::select(vec!['"', '\\', '/', '&', '=', '%', '+', ' ', '\0', '\n', '\r',
            '\u{7f}', '\u{2028}', '\u{feff}', '<', 'ກ', '\u{1f600}']),
    ];
    prop::collection::vec(character, 0..24).prop_map(|characters| characters.into_iter().collect())
}

fn amount() -> impl Strategy<Value = String> {
    (0..u64::MAX, 0..3_usize).prop_map(|(digits, decimals)| match decimals {
        0 => digits.to_string(),
        1 => format!("{digits}.{}", digits % 10),
        _ => format!("{digits}.{:02}", digits % 100),
    })
}

fn payment() -> impl Strategy<Value = Payment> {
    let texts = (text(), text(), text(), text(), text(), text());
    (texts, amount(), any::<[bool; 4]>()).prop_map(|(texts, amount, [one, two, three, four])| {
        Payment {
            app_id: texts.0,
            newpay_order_no: texts.1,
            order_no: texts.2,
            subject: texts.3,
            trans_info: texts.4,
            extra: texts.5,
            amount: amount.parse().expect("an amount"),
            pay_method: [PayMethod::NewPay, PayMethod::MasterCard][usize::from(one)],
            currency: [Currency::Usd, Currency::Lak][usize::from(two)],
            result: [TransactionResult::Failure, TransactionResult::Success][usize::from(three)],
            settlement: [Settlement::NotSettled, Settlement::Settled][usize::from(four)],
        }
    })
}

fn refund() -> impl Strategy<Value = Refund> {
    (payment(), text(), text()).prop_map(|(payment, newpay_refund_order_no, refund_order_no)| {
        Refund {
            app_id: payment.app_id,
            pay_method: payment.pay_method,
            amount: payment.amount,
            currency: payment.currency,
            newpay_order_no: payment.newpay_order_no,
            newpay_refund_order_no,
            order_no: payment.order_no,
            refund_order_no,
            result: payment.result,
            trans_info: payment.trans_info,
        }
    })
}

proptest! {
    #![proptest_config(properties())]

    #[test]
    fn a_payment_arrives_as_it_was_queued(payment in payment(), timestamp in 0..i64::MAX) {
        let timestamp = timestamp.to_string();
        let members = parsed(&signed_body(&Message::Payment(payment.clone()), &timestamp));
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(names.join(" "), PAYMENT_ORDER);
        let sign = sign_of_parsed(&members);
        let success = payment.result == TransactionResult::Success;
        let expected = [
            json!(payment.app_id),
            json!(if payment.pay_method == PayMethod::NewPay { 1 } else { 4 }),
            json!(payment.amount.as_str()),
            json!(if payment.currency == Currency::Lak { "LAK" } else { "USD" }),
            json!(payment.newpay_order_no),
            json!(payment.order_no),
            json!(payment.subject),
            json!(if success { 0 } else { 1 }),
            json!(payment.trans_info),
            json!(if payment.settlement == Settlement::NotSettled { 1 } else { 2 }),
            json!(timestamp),
            json!(payment.extra),
            json!(sign),
        ];
        let values: Vec<_> = members.into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn a_refund_arrives_as_it_was_queued(refund in refund(), timestamp in 0..i64::MAX) {
        let timestamp = timestamp.to_string();
        let members = parsed(&signed_body(&Message::Refund(refund.clone()), &timestamp));
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(names.join(" "), REFUND_ORDER);
        let sign = sign_of_parsed(&members);
        let success = refund.result == TransactionResult::Success;
        let expected = [
            json!(refund.app_id),
            json!(if refund.pay_method == PayMethod::NewPay { 1 } else { 4 }),
            json!(refund.amount.as_str()),
            json!(if refund.currency == Currency::Lak { "LAK" } else { "USD" }),
            json!(refund.newpay_order_no),
            json!(refund.newpay_refund_order_no),
            json!(refund.order_no),
            json!(refund.refund_order_no),
            json!(if success { 1 } else { 0 }),
            json!(refund.trans_info),
            json!(timestamp),
            json!(sign),
        ];
        let values: Vec<_> = members.into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(values, expected);
    }
}
