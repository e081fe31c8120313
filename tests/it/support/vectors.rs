//! The contract's two samples, a payment and its refund, with what is sent of them byte for byte.

use callback_dispatcher::domain::{
    Currency, Message, PayMethod, Payment, Refund, Settlement, TransactionResult,
};

/// The key's secret.
pub(crate) const SECRET: &str = "newpay-demo-secret";

/// The moment in the samples.
pub(crate) const TIMESTAMP: &str = "1663738614280";

pub(crate) const BODIES: [&str; 2] = [
    r#"{"appId":"6","payMethod":1,"orderAmt":"123.00","currency":"LAK","newpayOrderNo":"202209210000006950","orderNo":"202209067002502223","subject":"1","transStatus":0,"transInfo":"Transaction Success","settlementStatus":1,"timestamp":"1663738614280","extra":"","sign":"ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0="}"#,
    r#"{"appId":"6","payMethod":1,"refundOrderAmt":"123.00","currency":"LAK","newpayOrderNo":"202209210000006950","newpayRefundOrderNo":"202209210000006951","orderNo":"202209067002502223","refundOrderNo":"202209067002502232","tranStatus":1,"transInfo":"Transaction Success","timestamp":"1663738614280","sign":"3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU="}"#,
];

pub(crate) const CANONICAL_FORMS: [&str; 2] = [
    "appId=6&currency=LAK&extra=&newpayOrderNo=202209210000006950&orderAmt=123.00&orderNo=202209067002502223&payMethod=1&settlementStatus=1&subject=1&timestamp=1663738614280&transInfo=Transaction Success&transStatus=0",
    "appId=6&currency=LAK&newpayOrderNo=202209210000006950&newpayRefundOrderNo=202209210000006951&orderNo=202209067002502223&payMethod=1&refundOrderAmt=123.00&refundOrderNo=202209067002502232&timestamp=1663738614280&tranStatus=1&transInfo=Transaction Success",
];

pub(crate) const SIGNS: [&str; 2] = [
    "ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0=",
    "3lf/50YGa04ep5kxUKKCwAzvh8qnbCx8UzHBVm91ciU=",
];

pub(crate) fn payment() -> Payment {
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

pub(crate) fn refund() -> Refund {
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

pub(crate) fn messages() -> [Message; 2] {
    [Message::Payment(payment()), Message::Refund(refund())]
}
