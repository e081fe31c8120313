//! The payment callback: section 4.4, part 1 of the document.

use super::value::{Amount, Currency, PayMethod, Settlement, TransactionResult};
use super::wire::{Member, SignedName};

/// The final result of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// `appId`
    pub app_id: String,
    /// `payMethod`
    pub pay_method: PayMethod,
    /// `orderAmt`
    pub amount: Amount,
    /// `currency`
    pub currency: Currency,
    /// `newpayOrderNo`
    pub newpay_order_no: String,
    /// `orderNo`, the merchant's own
    pub order_no: String,
    /// `subject`
    pub subject: String,
    /// `transStatus`
    pub result: TransactionResult,
    /// `transInfo`, the reason for failure
    pub trans_info: String,
    /// `settlementStatus`
    pub settlement: Settlement,
    /// `extra`
    pub extra: String,
}

impl Payment {
    pub(super) fn members<'a>(&'a self, timestamp: &'a str) -> [Member<'a>; 12] {
        [
            Member::text("appId", &self.app_id),
            Member::number("payMethod", self.pay_method.code()),
            Member::text("orderAmt", self.amount.as_str()),
            Member::text("currency", self.currency.as_str()),
            Member::text("newpayOrderNo", &self.newpay_order_no),
            Member::text("orderNo", &self.order_no),
            Member::text("subject", &self.subject),
            Member::number("transStatus", trans_status(self.result)),
            Member::text("transInfo", &self.trans_info),
            Member::number("settlementStatus", self.settlement.code()),
            Member::text("timestamp", timestamp),
            Member::text("extra", &self.extra),
        ]
    }
}

/// The names of the members in the order of signing, and which of their texts may be empty.
pub(super) const SIGNED_NAMES: [SignedName; 12] = [
    SignedName::filled("appId"),
    SignedName::filled("currency"),
    SignedName::optional("extra"),
    SignedName::filled("newpayOrderNo"),
    SignedName::filled("orderAmt"),
    SignedName::filled("orderNo"),
    SignedName::filled("payMethod"),
    SignedName::filled("settlementStatus"),
    SignedName::optional("subject"),
    SignedName::filled("timestamp"),
    SignedName::optional("transInfo"),
    SignedName::filled("transStatus"),
];

/// "Payment result: 0-success; 1-failure": the opposite of a refund's codes.
const fn trans_status(result: TransactionResult) -> i64 {
    match result {
        TransactionResult::Success => 0,
        TransactionResult::Failure => 1,
    }
}
