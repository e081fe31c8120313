//! A callback: one final result of a payment or a refund, owed to a merchant.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

use super::wire::Member;
use super::{Payment, Refund};

/// The row of `callback_queue` that a callback came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CallbackId(pub i64);

impl fmt::Display for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A callback as queued: what to say and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Its row.
    pub id: CallbackId,
    /// The merchant's `callBackUrl`, exactly as queued.
    pub callback_url: String,
    /// What the merchant is told.
    pub message: Message,
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

/// A value that is not among those that the document or the contract allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} is {found:?}; use {expected}")]
pub struct InvalidValue {
    /// What was read.
    pub name: &'static str,
    /// What stood there.
    pub found: String,
    /// What may stand there.
    pub expected: &'static str,
}

impl InvalidValue {
    pub(crate) fn new(
        name: &'static str,
        found: impl fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self {
            name,
            found: found.to_string(),
            expected,
        }
    }
}

/// Payment or refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The result of a payment.
    Payment,
    /// The result of a refund.
    Refund,
}

impl Kind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Payment, Self::Refund];

    /// The word that stands in the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }
}

impl FromStr for Kind {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "payment" => Ok(Self::Payment),
            "refund" => Ok(Self::Refund),
            other => Err(InvalidValue::new("kind", other, "payment or refund")),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The final state of the payment or refund. The queue stores it in words; only the two message
/// types know the wire's codes, which are opposite to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// The money moved.
    Success,
    /// It did not.
    Failure,
}

impl TransactionResult {
    /// The word that stands in the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl FromStr for TransactionResult {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "success" => Ok(Self::Success),
            "failure" => Ok(Self::Failure),
            other => Err(InvalidValue::new("result", other, "success or failure")),
        }
    }
}

/// How the payer paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayMethod {
    /// Code 1.
    NewPay,
    /// Code 4.
    MasterCard,
}

impl PayMethod {
    /// The document's code.
    pub const fn code(self) -> i64 {
        match self {
            Self::NewPay => 1,
            Self::MasterCard => 4,
        }
    }
}

impl TryFrom<i64> for PayMethod {
    type Error = InvalidValue;

    fn try_from(code: i64) -> Result<Self, Self::Error> {
        match code {
            1 => Ok(Self::NewPay),
            4 => Ok(Self::MasterCard),
            other => Err(InvalidValue::new(
                "payMethod",
                other,
                "1 (NewPay) or 4 (MasterCard)",
            )),
        }
    }
}

/// Whether the provider has paid the merchant out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Code 1.
    NotSettled,
    /// Code 2.
    Settled,
}

impl Settlement {
    /// The document's code.
    pub const fn code(self) -> i64 {
        match self {
            Self::NotSettled => 1,
            Self::Settled => 2,
        }
    }
}

impl TryFrom<i64> for Settlement {
    type Error = InvalidValue;

    fn try_from(code: i64) -> Result<Self, Self::Error> {
        match code {
            1 => Ok(Self::NotSettled),
            2 => Ok(Self::Settled),
            other => Err(InvalidValue::new(
                "settlementStatus",
                other,
                "1 (not settled) or 2 (settled)",
            )),
        }
    }
}

/// The currencies of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Currency {
    /// Lao kip.
    Lak,
    /// United States dollar.
    Usd,
}

impl Currency {
    /// The code that stands on the wire and in the queue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lak => "LAK",
            Self::Usd => "USD",
        }
    }
}

impl FromStr for Currency {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "LAK" => Ok(Self::Lak),
            "USD" => Ok(Self::Usd),
            other => Err(InvalidValue::new("currency", other, "LAK or USD")),
        }
    }
}

/// An amount of money as decimal text, kept and sent exactly as it was queued: `"123.00"` never
/// becomes `123`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(String);

impl Amount {
    /// The text as queued.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Amount {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (text, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let well_formed =
            digits(whole) && decimals.is_none_or(|part| digits(part) && part.len() <= 2);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue::new(
                "amount",
                text,
                "digits with at most two decimals, as in 123.00",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for good in [
            "0",
            "7",
            "123.00",
            "123.5",
            "000.10",
            "99999999999999999999.99",
        ] {
            assert_eq!(good.parse::<Amount>().map(|a| a.0).as_deref(), Ok(good));
        }
        for bad in [
            "", ".", "1.", ".5", "1.234", "1.2.3", "-1", "+1", "1,00", " 1", "1 ", "1e3", "٣",
            "1\0",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn codes_are_those_of_the_document() {
        assert_eq!(PayMethod::try_from(1), Ok(PayMethod::NewPay));
        assert_eq!(PayMethod::try_from(4), Ok(PayMethod::MasterCard));
        assert!(PayMethod::try_from(2).is_err());
        assert_eq!(Settlement::try_from(2), Ok(Settlement::Settled));
        assert!(Settlement::try_from(0).is_err());
    }
}
