//! The gateway's columns of `callback_queue`: read strictly into a callback, and written from one.
//!
//! The schema refuses bad rows, but a table can be written with checks switched off. What can't be
//! read as a callback is reported as [`Malformed`], never sent.

use crate::domain::{
    Callback, CallbackId, InvalidValue, Kind, Message, NewCallback, PayMethod, Payment, Refund,
    Settlement,
};
use crate::store::session::Value;

macro_rules! gateway_columns {
    ($first:literal $(, $other:literal)* $(,)?) => {
        const COLUMNS: &[&str] = &[$first $(, $other)*];

        /// The columns for a SELECT, in the order in which a [`GatewayRow`] has them.
        pub(super) const GATEWAY_COLUMNS: &str = concat!($first $(, ", ", $other)*);
    };
}

gateway_columns! {
    "kind",
    "callback_url",
    "app_id",
    "pay_method",
    "amount",
    "currency",
    "newpay_order_no",
    "order_no",
    "newpay_refund_order_no",
    "refund_order_no",
    "subject",
    "extra",
    "result",
    "trans_info",
    "settlement_status",
}

/// A row that the schema should have refused, for instance a text that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "callback_queue row {id}, column {column}: {fault}; cancel it, delete it and queue a corrected one"
)]
pub struct Malformed {
    /// The row.
    pub id: CallbackId,
    /// The column.
    pub column: &'static str,
    /// What is wrong.
    pub fault: String,
}

/// A row as a database gives it; `index` counts within [`GATEWAY_COLUMNS`].
pub(super) trait GatewayRow {
    /// A column of text, or what is there instead.
    fn text(&self, index: usize) -> Result<&str, String>;

    /// A column of a number, or what is there instead.
    fn integer(&self, index: usize) -> Result<i64, String>;
}

/// Reads callback `id`, which goes to `to_url` if there is one.
pub(super) fn callback(
    row: &impl GatewayRow,
    id: CallbackId,
    to_url: Option<String>,
) -> Result<Callback, Malformed> {
    let columns = Columns { row, id };
    let message = match columns.parsed::<Kind>("kind")? {
        Kind::Payment => Message::Payment(columns.payment()?),
        Kind::Refund => Message::Refund(columns.refund()?),
    };
    Ok(Callback {
        id,
        callback_url: columns.text("callback_url")?.to_owned(),
        to_url,
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
            app_id: self.text("app_id")?.to_owned(),
            pay_method: self.coded::<PayMethod>("pay_method")?,
            amount: self.parsed("amount")?,
            currency: self.parsed("currency")?,
            newpay_order_no: self.text("newpay_order_no")?.to_owned(),
            order_no: self.text("order_no")?.to_owned(),
            subject: self.text("subject")?.to_owned(),
            extra: self.text("extra")?.to_owned(),
            result: self.parsed("result")?,
            trans_info: self.text("trans_info")?.to_owned(),
            settlement: self.coded::<Settlement>("settlement_status")?,
        })
    }

    fn refund(&self) -> Result<Refund, Malformed> {
        Ok(Refund {
            app_id: self.text("app_id")?.to_owned(),
            pay_method: self.coded::<PayMethod>("pay_method")?,
            amount: self.parsed("amount")?,
            currency: self.parsed("currency")?,
            newpay_order_no: self.text("newpay_order_no")?.to_owned(),
            order_no: self.text("order_no")?.to_owned(),
            newpay_refund_order_no: self.text("newpay_refund_order_no")?.to_owned(),
            refund_order_no: self.text("refund_order_no")?.to_owned(),
            result: self.parsed("result")?,
            trans_info: self.text("trans_info")?.to_owned(),
        })
    }

    fn text(&self, column: &'static str) -> Result<&str, Malformed> {
        let text = self.row.text(position(column));
        text.map_err(|fault| self.malformed(column, fault))
    }

    fn parsed<T: std::str::FromStr<Err = InvalidValue>>(
        &self,
        column: &'static str,
    ) -> Result<T, Malformed> {
        self.text(column)?
            .parse()
            .map_err(|error: InvalidValue| self.malformed(column, error.to_string()))
    }

    fn coded<T: TryFrom<i64, Error = InvalidValue>>(
        &self,
        column: &'static str,
    ) -> Result<T, Malformed> {
        let code = self.row.integer(position(column));
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

/// Where a column is in a [`GatewayRow`].
fn position(column: &str) -> usize {
    let position = COLUMNS.iter().position(|name| *name == column);
    position.expect("whoever reads a column names one of the table")
}

/// What the gateway would write for a callback, by column; a column that is not given is left to its
/// default.
pub(super) fn values(callback: &NewCallback) -> Vec<(&'static str, Value)> {
    let url = ("callback_url", callback.callback_url.as_str().into());
    match &callback.message {
        Message::Payment(payment) => vec![
            url,
            ("kind", Kind::Payment.as_str().into()),
            ("app_id", payment.app_id.as_str().into()),
            ("pay_method", payment.pay_method.code().into()),
            ("amount", payment.amount.as_str().into()),
            ("currency", payment.currency.as_str().into()),
            ("newpay_order_no", payment.newpay_order_no.as_str().into()),
            ("order_no", payment.order_no.as_str().into()),
            ("subject", payment.subject.as_str().into()),
            ("extra", payment.extra.as_str().into()),
            ("result", payment.result.as_str().into()),
            ("trans_info", payment.trans_info.as_str().into()),
            ("settlement_status", payment.settlement.code().into()),
        ],
        Message::Refund(refund) => vec![
            url,
            ("kind", Kind::Refund.as_str().into()),
            ("app_id", refund.app_id.as_str().into()),
            ("pay_method", refund.pay_method.code().into()),
            ("amount", refund.amount.as_str().into()),
            ("currency", refund.currency.as_str().into()),
            ("newpay_order_no", refund.newpay_order_no.as_str().into()),
            ("order_no", refund.order_no.as_str().into()),
            (
                "newpay_refund_order_no",
                refund.newpay_refund_order_no.as_str().into(),
            ),
            ("refund_order_no", refund.refund_order_no.as_str().into()),
            ("result", refund.result.as_str().into()),
            ("trans_info", refund.trans_info.as_str().into()),
        ],
    }
}
