//! A callback: one final result of a payment or a refund, owed to a merchant.

use super::payment::Payment;
use super::refund::Refund;
use super::value::{CallbackId, Kind};
use super::wire::{Member, Value};

/// A callback as queued: what to say and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Its row.
    pub id: CallbackId,
    /// The merchant's `callBackUrl`, exactly as queued.
    pub callback_url: String,
    /// Where an operator has it sent instead.
    pub to_url: Option<String>,
    /// What the merchant is told.
    pub message: Message,
}

impl Callback {
    /// Where it goes.
    pub fn url(&self) -> &str {
        self.to_url.as_ref().unwrap_or(&self.callback_url)
    }

    /// How long its texts are together, in bytes.
    pub fn text_bytes(&self) -> usize {
        let members = self.message.members("");
        let texts = members.iter().map(|member| match member.value {
            Value::Text(text) => text.len(),
            Value::Number(_) => 0,
        });
        self.callback_url.len() + texts.sum::<usize>()
    }
}

/// A callback on its way into the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCallback {
    /// The merchant's `callBackUrl`.
    pub callback_url: String,
    /// What the merchant is to be told.
    pub message: Message,
}

/// What a merchant is told, in one of the document's two shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Section 4.4, part 1 of the document.
    Payment(Payment),
    /// Section 4.4, part 2 of the document.
    Refund(Refund),
}

impl Message {
    /// Which of the two shapes it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Payment(_) => Kind::Payment,
            Self::Refund(_) => Kind::Refund,
        }
    }

    /// The app whose key signs it.
    pub fn app_id(&self) -> &str {
        match self {
            Self::Payment(payment) => &payment.app_id,
            Self::Refund(refund) => &refund.app_id,
        }
    }

    /// The merchant's number of what it is about: the refund's if it is one.
    pub fn order(&self) -> &str {
        match self {
            Self::Payment(payment) => &payment.order_no,
            Self::Refund(refund) => &refund.refund_order_no,
        }
    }

    /// The members of the body without `sign`, in the document's order; `timestamp` is the
    /// moment of this attempt.
    ///
    /// Body and canonical form are both made from this one list, so they can't disagree.
    pub fn members<'a>(&'a self, timestamp: &'a str) -> Vec<Member<'a>> {
        match self {
            Self::Payment(payment) => payment.members(timestamp).to_vec(),
            Self::Refund(refund) => refund.members(timestamp).to_vec(),
        }
    }
}
