//! The refund callback: section 4.4, part 2 of the document.

use super::value::{Amount, Currency, PayMethod, TransactionResult};
use super::wire::{Member, SignedName};

/// The final result of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// `appId`
    pub app_id: String,
    /// `payMethod`
    pub pay_method: PayMethod,
    /// `refundOrderAmt`
    pub amount: Amount,
    /// `currency`
    pub currency: Currency,
    /// `newpayOrderNo`, of the payment
    pub newpay_order_no: String,
    /// `newpayRefundOrderNo`
    pub newpay_refund_order_no: String,
    /// `orderNo`, the merchant's own for the payment
    pub order_no: String,
    /// `refundOrderNo`, the merchant's own for the refund
    pub refund_order_no: String,
    /// `tranStatus`
    pub result: TransactionResult,
    /// `transInfo`, the reason for failure
    pub trans_info: String,
}

impl Refund {
    pub(super) fn members<'a>(&'a self, timestamp: &'a str) -> [Member<'a>; 11] {
        [
            Member::text("appId", &self.app_id),
            Member::number("payMethod", self.pay_method.code()),
            Member::text("refundOrderAmt", self.amount.as_str()),
            Member::text("currency", self.currency.as_str()),
            Member::text("newpayOrderNo", &self.newpay_order_no),
            Member::text("newpayRefundOrderNo", &self.newpay_refund_order_no),
            Member::text("orderNo", &self.order_no),
            Member::text("refundOrderNo", &self.refund_order_no),
            Member::number("tranStatus", tran_status(self.result)),
            Member::text("transInfo", &self.trans_info),
            Member::text("timestamp", timestamp),
        ]
    }
}

/// The names of the members in the order of signing, and which of their texts may be empty.
pub(super) const SIGNED_NAMES: [SignedName; 11] = [
    SignedName::filled("appId"),
    SignedName::filled("currency"),
    SignedName::filled("newpayOrderNo"),
    SignedName::filled("newpayRefundOrderNo"),
    SignedName::filled("orderNo"),
    SignedName::filled("payMethod"),
    SignedName::filled("refundOrderAmt"),
    SignedName::filled("refundOrderNo"),
    SignedName::filled("timestamp"),
    SignedName::filled("tranStatus"),
    SignedName::optional("transInfo"),
];

/// "Payment result: 1-success; 0-failure": the opposite of a payment's codes, and the member's
/// name has no s.
const fn tran_status(result: TransactionResult) -> i64 {
    match result {
        TransactionResult::Success => 1,
        TransactionResult::Failure => 0,
    }
}
