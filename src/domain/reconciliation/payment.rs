//! The gateway's own word on what was to be told, and how it differs from the queue.

use serde::Serialize;

use super::super::value::{CallbackId, Kind};

/// What a result is known by: there is one callback for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ResultKey {
    /// Payment or refund.
    pub kind: Kind,
    /// A payment's `newpay_order_no`, a refund's `newpay_refund_order_no`.
    pub number: String,
}

/// A final result as the gateway's own books have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPayment {
    /// What it is known by.
    pub key: ResultKey,
    /// The app.
    pub app_id: String,
    /// Decimal text.
    pub amount: String,
    /// `LAK` or `USD`
    pub currency: String,
    /// `success` or `failure`
    pub result: String,
    /// Where it stands in the books, for instance `line 7`.
    pub place: String,
}

/// The same, as the queue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns are documented in schema.sql")]
pub struct QueuedResult {
    pub id: CallbackId,
    pub app_id: String,
    pub amount: String,
    pub currency: String,
    pub result: String,
}

/// Where the books and the queue disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// The books have it, the queue never got it.
    NotQueued {
        /// Which.
        #[serde(flatten)]
        key: ResultKey,
        /// Whose.
        app_id: String,
        /// Where in the books.
        place: String,
    },
    /// The queue has it for that day, the books don't.
    NotInPayments {
        /// Which.
        #[serde(flatten)]
        key: ResultKey,
        /// Whose.
        app_id: String,
        /// Its row.
        callback_id: CallbackId,
    },
    /// Both have it, with other contents.
    Differs {
        /// Which.
        #[serde(flatten)]
        key: ResultKey,
        /// Where in the books.
        place: String,
        /// Its row.
        callback_id: CallbackId,
        /// In what.
        fields: Vec<FieldDifference>,
    },
}

/// A field with two contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Its name in the queue.
    pub field: &'static str,
    /// What was queued.
    pub queued: String,
    /// What the books say.
    pub payments: String,
}

impl GatewayPayment {
    /// What `queued` has otherwise. Amounts are compared as numbers: `5.1` is `5.10`.
    pub fn differences(&self, queued: &QueuedResult) -> Vec<FieldDifference> {
        let fields = [
            ("app_id", &queued.app_id, &self.app_id),
            ("amount", &queued.amount, &self.amount),
            ("currency", &queued.currency, &self.currency),
            ("result", &queued.result, &self.result),
        ];
        fields
            .into_iter()
            .filter(|(field, queued, ours)| match *field {
                "amount" => normal(queued) != normal(ours),
                _ => queued != ours,
            })
            .map(|(field, queued, payments)| FieldDifference {
                field,
                queued: queued.clone(),
                payments: payments.clone(),
            })
            .collect()
    }
}

/// Decimal text without the zeros that make no difference.
fn normal(amount: &str) -> (&str, &str) {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    (
        whole.trim_start_matches('0'),
        decimals.trim_end_matches('0'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(queued_amount: &str, amount: &str) -> Vec<&'static str> {
        let payment = GatewayPayment {
            key: ResultKey {
                kind: Kind::Payment,
                number: "1".to_owned(),
            },
            app_id: "6".to_owned(),
            amount: amount.to_owned(),
            currency: "LAK".to_owned(),
            result: "success".to_owned(),
            place: "line 2".to_owned(),
        };
        let queued = QueuedResult {
            id: CallbackId(1),
            app_id: "7".to_owned(),
            amount: queued_amount.to_owned(),
            currency: "USD".to_owned(),
            result: "failure".to_owned(),
        };
        let fields = payment.differences(&queued).into_iter();
        fields.map(|difference| difference.field).collect()
    }

    #[test]
    fn every_field_is_compared_and_amounts_as_numbers() {
        for (queued, ours) in [
            ("5.10", "5.1"),
            ("123.00", "123"),
            ("0", "0.0"),
            ("007", "7"),
        ] {
            assert_eq!(differing(queued, ours), ["app_id", "currency", "result"]);
        }
        for (queued, ours) in [("5.10", "5.01"), ("100", "10"), ("0.5", "5")] {
            let all = ["app_id", "amount", "currency", "result"];
            assert_eq!(differing(queued, ours), all, "{queued} {ours}");
        }
    }
}
