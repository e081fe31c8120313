//! The messages as a merchant meets them: bodies, signatures and what counts as an answer.

mod acknowledgement;
pub(crate) mod body;
mod signature;

use std::fmt;

use callback_dispatcher::domain::{
    Currency, Message, PayMethod, Payment, Refund, Settlement, TransactionResult,
};
use proptest::test_runner::Config;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The moment in the document's samples.
const TIMESTAMP: &str = "1663738614280";

/// The document's sample payment.
fn sample_payment() -> Payment {
    Payment {
        app_id: "6".to_owned(),
        pay_method: PayMethod::NewPay,
        amount: "123.00".parse().expect("an amount"),
        currency: Currency::Lak,
        newpay_order_no: "202209210000006950".to_owned(),
        order_no: "202209067002502223".to_owned(),
        subject: "1".to_owned(),
        result: TransactionResult::Success,
        trans_info: "Transaction Success".to_owned(),
        settlement: Settlement::NotSettled,
        extra: String::new(),
    }
}

/// The document's sample refund.
fn sample_refund() -> Refund {
    Refund {
        app_id: "6".to_owned(),
        pay_method: PayMethod::NewPay,
        amount: "123.00".parse().expect("an amount"),
        currency: Currency::Lak,
        newpay_order_no: "202209210000006950".to_owned(),
        newpay_refund_order_no: "202209210000006951".to_owned(),
        order_no: "202209067002502223".to_owned(),
        refund_order_no: "202209067002502232".to_owned(),
        result: TransactionResult::Success,
        trans_info: "Transaction Success".to_owned(),
    }
}

fn sample_messages() -> [Message; 2] {
    [
        Message::Payment(sample_payment()),
        Message::Refund(sample_refund()),
    ]
}

/// Enough cases to find what a table forgot, few enough for every run; and nothing is written
/// into the source tree.
fn properties() -> Config {
    Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    }
}

/// An object's members as they stand there: in order, doubled ones included.
#[derive(Debug)]
struct Members<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(std::marker::PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}
