//! The message as the merchant got it, made again from the row.
//!
//! A row does not change after its INSERT, and the attempt log has `timestamp` and `sign`; so the
//! body can be made again to the byte, and its SHA-256 in the log proves that it is the same.

use serde::Serialize;

use crate::domain::{
    self, Convention, InvalidValue, Kind, Message, PayMethod, Payment, Refund, Settlement,
    Timestamp,
};
use crate::store::{AttemptRow, CallbackRow};

/// What was POSTed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentMessage {
    /// The body, byte by byte.
    pub body: String,
    /// The text that was signed, by today's `[signing]`; without the secret that `append_key`
    /// adds.
    pub canonical_form: String,
    /// The key that signed it.
    pub key_id: String,
    /// Whether the body has the SHA-256 that the log has. If not, the row or the log was changed
    /// past its triggers.
    pub is_proven: bool,
}

impl SentMessage {
    /// What `attempt` has sent of `callback`; `None`: nothing, or the row is no message.
    pub(super) fn of(
        attempt: &AttemptRow,
        callback: &CallbackRow,
        convention: &Convention,
    ) -> Option<Self> {
        let sign = attempt.sign.as_deref()?;
        let timestamp = Timestamp::from_millis(attempt.sent_timestamp?).to_wire();
        let message = message(callback).ok()?;
        let members = message.members(&timestamp);
        let body = domain::body(&members, sign);
        let digest = domain::body_sha256(&body);
        Some(Self {
            canonical_form: convention.canonical_form(&members),
            key_id: attempt.key_id.clone().unwrap_or_default(),
            is_proven: attempt.body_sha256.as_deref() == Some(&digest),
            body: String::from_utf8(body).ok()?,
        })
    }
}

fn message(row: &CallbackRow) -> Result<Message, InvalidValue> {
    let number = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(match row.kind.parse::<Kind>()? {
        Kind::Payment => Message::Payment(Payment {
            app_id: row.app_id.clone(),
            pay_method: PayMethod::try_from(row.pay_method)?,
            amount: row.amount.parse()?,
            currency: row.currency.parse()?,
            newpay_order_no: row.newpay_order_no.clone(),
            order_no: row.order_no.clone(),
            subject: row.subject.clone(),
            extra: row.extra.clone(),
            result: row.result.parse()?,
            trans_info: row.trans_info.clone(),
            settlement: Settlement::try_from(row.settlement_status.unwrap_or_default())?,
        }),
        Kind::Refund => Message::Refund(Refund {
            app_id: row.app_id.clone(),
            pay_method: PayMethod::try_from(row.pay_method)?,
            amount: row.amount.parse()?,
            currency: row.currency.parse()?,
            newpay_order_no: row.newpay_order_no.clone(),
            order_no: row.order_no.clone(),
            newpay_refund_order_no: number(&row.newpay_refund_order_no),
            refund_order_no: number(&row.refund_order_no),
            result: row.result.parse()?,
            trans_info: row.trans_info.clone(),
        }),
    })
}
