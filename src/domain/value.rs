//! The values of a callback: each admits what the document or the contract allows, and no more.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::words::{InvalidValue, codes, words};

/// The row of `callback_queue` that a callback came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CallbackId(pub i64);

impl fmt::Display for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

words!(Kind, "kind", "payment or refund", {
    Payment => "payment",
    Refund => "refund",
});

/// The final state of the payment or refund. The queue stores it in words; only the two message
/// types know the wire's codes, which are opposite to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// The money moved.
    Success,
    /// It did not.
    Failure,
}

words!(TransactionResult, "result", "success or failure", {
    Success => "success",
    Failure => "failure",
});

/// How the payer paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayMethod {
    /// Code 1.
    NewPay,
    /// Code 4.
    MasterCard,
}

codes!(PayMethod, "payMethod", "1 (NewPay) or 4 (MasterCard)", {
    NewPay => 1,
    MasterCard => 4,
});

/// Whether the provider has paid the merchant out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Code 1.
    NotSettled,
    /// Code 2.
    Settled,
}

codes!(Settlement, "settlementStatus", "1 (not settled) or 2 (settled)", {
    NotSettled => 1,
    Settled => 2,
});

/// The currencies of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Currency {
    /// Lao kip.
    Lak,
    /// United States dollar.
    Usd,
}

words!(Currency, "currency", "LAK or USD", {
    Lak => "LAK",
    Usd => "USD",
});

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
