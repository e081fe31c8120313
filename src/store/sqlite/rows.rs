//! A row of `callback_queue`, read strictly.
//!
//! The schema refuses bad rows, but a file can be written with checks switched off, and SQLite
//! does not check that text is UTF-8. What can't be read as a callback is reported as
//! [`Malformed`], never sent.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::domain::{
    Callback, CallbackId, InvalidValue, Kind, Message, NewCallback, PayMethod, Payment, Refund,
    Settlement, Timestamp,
};
use crate::store::Malformed;

/// What the gateway writes, in the order in which [`callback`] and [`new_callback_values`] have it.
pub(super) const GATEWAY_COLUMNS: &str = "kind, callback_url, app_id, pay_method, amount, currency, \
     newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, subject, extra, result, \
     trans_info, settlement_status";

/// Reads `id` from column `first`, and [`GATEWAY_COLUMNS`] from those behind it.
pub(super) fn callback(row: &Row<'_>, id: CallbackId, first: usize) -> Result<Callback, Malformed> {
    let columns = Columns { row, id, first };
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

struct Columns<'a> {
    row: &'a Row<'a>,
    id: CallbackId,
    first: usize,
}

impl Columns<'_> {
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
        match self.value(column, index)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes)
                .map_err(|_| self.malformed(column, "not valid UTF-8".to_owned())),
            other => Err(self.malformed(column, format!("{} instead of text", other.data_type()))),
        }
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
        match self.value(column, index)? {
            ValueRef::Integer(code) => {
                T::try_from(code).map_err(|error| self.malformed(column, error.to_string()))
            }
            other => {
                let fault = format!("{} instead of a number", other.data_type());
                Err(self.malformed(column, fault))
            }
        }
    }

    fn value(&self, column: &'static str, index: usize) -> Result<ValueRef<'_>, Malformed> {
        self.row
            .get_ref(self.first + index)
            .map_err(|error| self.malformed(column, error.to_string()))
    }

    fn malformed(&self, column: &'static str, fault: String) -> Malformed {
        Malformed {
            id: self.id,
            column,
            fault,
        }
    }
}

/// Binds a new callback to parameters 1 to 15, in the order of [`GATEWAY_COLUMNS`].
pub(super) fn bind_new_callback(
    statement: &mut rusqlite::Statement<'_>,
    callback: &NewCallback,
) -> rusqlite::Result<()> {
    let url = &callback.callback_url;
    match &callback.message {
        Message::Payment(payment) => bind(
            statement,
            rusqlite::params![
                Kind::Payment.as_str(),
                url,
                payment.app_id,
                payment.pay_method.code(),
                payment.amount.as_str(),
                payment.currency.as_str(),
                payment.newpay_order_no,
                payment.order_no,
                None::<&str>,
                None::<&str>,
                payment.subject,
                payment.extra,
                payment.result.as_str(),
                payment.trans_info,
                payment.settlement.code(),
            ],
        ),
        Message::Refund(refund) => bind(
            statement,
            rusqlite::params![
                Kind::Refund.as_str(),
                url,
                refund.app_id,
                refund.pay_method.code(),
                refund.amount.as_str(),
                refund.currency.as_str(),
                refund.newpay_order_no,
                refund.order_no,
                refund.newpay_refund_order_no,
                refund.refund_order_no,
                "",
                "",
                refund.result.as_str(),
                refund.trans_info,
                None::<i64>,
            ],
        ),
    }
}

fn bind(
    statement: &mut rusqlite::Statement<'_>,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<()> {
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

/// A column of Unix milliseconds.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A column of Unix milliseconds or NULL.
pub(super) fn timestamp_or_null(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)
        .map(|millis| millis.map(Timestamp::from_millis))
}
