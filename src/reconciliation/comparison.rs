//! Holding a day against the gateway's books, in both directions.

use serde::Serialize;
use thiserror::Error;

use super::payments::{Payments, PaymentsError};
use super::report::Within;
use crate::domain::{Difference, GatewayPayment, Kind, Period, ReconciledCallback, ResultKey};
use crate::store::sqlite::KnownResults;
use crate::store::{AuditChain, StoreError};

/// Results that are looked up in one go.
const BATCH: usize = 500;

/// Why books could not be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// The books can't be read.
    #[error(transparent)]
    Payments(#[from] PaymentsError),
    /// The books have a result twice.
    #[error("the {} {} is at {first} and again at {again}; list each result once", .key.kind, .key.number)]
    Twice {
        /// Which.
        key: ResultKey,
        /// Where first.
        first: String,
        /// Where again.
        again: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A difference could not be shown.
    #[error(transparent)]
    Show(#[from] std::io::Error),
}

/// What a comparison found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Results in the books.
    pub payments: u64,
    /// Those that the queue has with the same contents, on that day or another.
    pub matched: u64,
    /// In the books, but never queued (or pruned).
    pub not_queued: u64,
    /// Queued that day, but not in the books.
    pub not_in_payments: u64,
    /// In both, with other contents.
    pub differs: u64,
}

impl Comparison {
    /// Whether there is no difference.
    pub const fn is_clean(&self) -> bool {
        self.not_queued == 0 && self.not_in_payments == 0 && self.differs == 0
    }
}

/// Shows every difference between `payments` and the callbacks queued within `period`; of `app`
/// alone, if there is one. Memory does not grow with the books: what was seen is kept in a file.
///
/// # Errors
///
/// The books are faulty, the store failed, or `show` did.
pub async fn compare(
    chain: &dyn AuditChain,
    payments: Payments,
    period: Period,
    app: Option<&str>,
    mut show: impl FnMut(&Difference) -> std::io::Result<()>,
) -> Result<Comparison, CompareError> {
    let known = KnownResults::new()?;
    let mut found = Comparison::default();
    let mut batch = Vec::with_capacity(BATCH);
    for payment in payments {
        let payment = payment?;
        if app.is_some_and(|app| payment.app_id != app) {
            continue;
        }
        if let Some(first) = known.add(&payment.key, &payment.place)? {
            let (key, again) = (payment.key, payment.place);
            return Err(CompareError::Twice { key, first, again });
        }
        batch.push(payment);
        if batch.len() == BATCH {
            look_up(chain, &mut batch, &mut found, &mut show).await?;
        }
    }
    look_up(chain, &mut batch, &mut found, &mut show).await?;
    let mut within = Within::new(chain, period, app).await?;
    while let Some(callbacks) = within.page().await? {
        for callback in callbacks {
            let Some(key) = key_of(&callback) else {
                continue;
            };
            if !known.has(&key)? {
                found.not_in_payments += 1;
                show(&Difference::NotInPayments {
                    key,
                    app_id: callback.app_id,
                    callback_id: callback.id,
                })?;
            }
        }
    }
    Ok(found)
}

/// Looks the batch up in the queue, and empties it.
async fn look_up(
    chain: &dyn AuditChain,
    batch: &mut Vec<GatewayPayment>,
    found: &mut Comparison,
    show: &mut impl FnMut(&Difference) -> std::io::Result<()>,
) -> Result<(), CompareError> {
    let keys = batch.iter().map(|payment| payment.key.clone()).collect();
    let results = chain.results(keys).await?;
    for (payment, queued) in batch.drain(..).zip(results) {
        found.payments += 1;
        let Some(queued) = queued else {
            found.not_queued += 1;
            show(&Difference::NotQueued {
                key: payment.key,
                app_id: payment.app_id,
                place: payment.place,
            })?;
            continue;
        };
        let fields = payment.differences(&queued);
        if fields.is_empty() {
            found.matched += 1;
            continue;
        }
        found.differs += 1;
        show(&Difference::Differs {
            key: payment.key,
            place: payment.place,
            callback_id: queued.id,
            fields,
        })?;
    }
    Ok(())
}

/// What a callback's result is known by; the schema sees to it that there is such a number.
fn key_of(callback: &ReconciledCallback) -> Option<ResultKey> {
    let kind: Kind = callback.kind.parse().ok()?;
    let number = match kind {
        Kind::Payment => callback.newpay_order_no.clone(),
        Kind::Refund => callback.newpay_refund_order_no.clone()?,
    };
    Some(ResultKey { kind, number })
}
