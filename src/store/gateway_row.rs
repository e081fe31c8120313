//! The gateway's columns of `callback_queue`: read strictly into a callback, and written from one.
//!
//! The schema refuses bad rows, but a table can be written with checks switched off. What can't be
//! read as a callback is reported as [`Malformed`], never sent.

use crate::domain::{
    Callback, CallbackId, InvalidValue, Kind, Message, NewCallback, PayMethod, Payment, Refund,
    Settlement,
};
use crate::store::Malformed;
use crate::store::session::Value;

/// What the gateway writes, in the order in which [`GatewayRow`] and [`values`] have it.
pub(super) const GATEWAY_COLUMNS: &str = "kind, callback_url, app_id, pay_method, amount, currency, \
     newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result, \
     trans_info, settlement_status";

/// A row as a database gives it; `index` counts within [`GATEWAY_COLUMNS`].
pub(super) trait GatewayRow {
    /// A column of text, or what is there instead.
    fn text(&self, index: usize) -> Result<&str, String>;

    /// A column of a number, or what is there instead.
    fn integer(&self, index: usize) -> Result<i64, String>;
}

/// Reads callback `id`.
pub(super) fn callback(row: &impl GatewayRow, id: CallbackId) -> Result<Callback, Malformed> {
    let columns = Columns { row, id };
    let message = match columns.parsed::<Kind>("kind", 0)? {
        Kind::Payment => Message::Payment(columns.payment()?),
        Kind::Refund => Message::Refund(columns.refund()?),
    };
    Ok(Callback {
        id,
        callback_url: columns.text("callback_url", 1)?.to_owned(),
        message,
    })
}

struct Columns<'a, R> {
    row: &'a R,
    id: CallbackId,
}

impl<R: GatewayRow> Columns<'_, R> {
    fn payment(&self) -> Result<Payment, Malformed> {
        Ok(Payment {
            app_id: self.text("app_id", 2)?.to_owned(),
            pay_method: self.coded::<PayMethod>("pay_method", 3)?,
            amount: self.parsed("amount", 4)?,
            currency: self.parsed("currency", 5)?,
            newpay_order_no: self.text("newpay_order_no", 6)?.to_owned(),
            order_no: self.text("order_no", 7)?.to_owned(),
            subject: self.text("subject", 10)?.to_owned(),
            extra: self.text("extra", 11)?.to_owned(),
            result: self.parsed("result", 12)?,
            trans_info: self.text("trans_info", 13)?.to_owned(),
            settlement: self.coded::<Settlement>("settlement_status", 14)?,
        })
    }

    fn refund(&self) -> Result<Refund, Malformed> {
        Ok(Refund {
            app_id: self.text("app_id", 2)?.to_owned(),
            pay_method: self.coded::<PayMethod>("pay_method", 3)?,
            amount: self.parsed("amount", 4)?,
            currency: self.parsed("currency", 5)?,
            newpay_order_no: self.text("newpay_order_no", 6)?.to_owned(),
            order_no: self.text("order_no", 7)?.to_owned(),
            newpay_refund_order_no: self.text("newpay_refund_order_no", 8)?.to_owned(),
            refund_order_no: self.text("refund_order_no", 9)?.to_owned(),
            result: self.parsed("result", 12)?,
            trans_info: self.text("trans_info", 13)?.to_owned(),
        })
    }

    fn text(&self, column: &'static str, index: usize) -> Result<&str, Malformed> {
        let text = self.row.text(index);
        text.map_err(|fault| self.malformed(column, fault))
    }

    fn parsed<T: std::str::FromStr<Err = InvalidValue>>(
        &self,
        column: &'static str,
        index: usize,
    ) -> Result<T, Malformed> {
        self.text(column, index)?
            .parse()
            .map_err(|error: InvalidValue| self.malformed(column, error.to_string()))
    }

    fn coded<T: TryFrom<i64, Error = InvalidValue>>(
        &self,
        column: &'static str,
        index: usize,
    ) -> Result<T, Malformed> {
        let code = self.row.integer(index);
        let code = code.map_err(|fault| self.malformed(column, fault))?;
        T::try_from(code).map_err(|error| self.malformed(column, error.to_string()))
    }

    fn malformed(&self, column: &'static str, fault: String) -> Malformed {
        Malformed {
            id: self.id,
            column,
            fault,
        }
    }
}

/// The values of a new callback, in the order of [`GATEWAY_COLUMNS`].
pub(super) fn values(callback: &NewCallback) -> [Value; 15] {
    let callback_url = callback.callback_url.as_str();
    match &callback.message {
        Message::Payment(payment) => [
            Kind::Payment.as_str().into(),
            callback_url.into(),
            payment.app_id.as_str().into(),
            payment.pay_method.code().into(),
            payment.amount.as_str().into(),
            payment.currency.as_str().into(),
            payment.newpay_order_no.as_str().into(),
            payment.order_no.as_str().into(),
            Value::Null,
            Value::Null,
            payment.subject.as_str().into(),
            payment.extra.as_str().into(),
            payment.result.as_str().into(),
            payment.trans_info.as_str().into(),
            payment.settlement.code().into(),
        ],
        Message::Refund(refund) => [
            Kind::Refund.as_str().into(),
            callback_url.into(),
            refund.app_id.as_str().into(),
            refund.pay_method.code().into(),
            refund.amount.as_str().into(),
            refund.currency.as_str().into(),
            refund.newpay_order_no.as_str().into(),
            refund.order_no.as_str().into(),
            refund.newpay_refund_order_no.as_str().into(),
            refund.refund_order_no.as_str().into(),
            "".into(),
            "".into(),
            refund.result.as_str().into(),
            refund.trans_info.as_str().into(),
            Value::Null,
        ],
    }
}
