//! The walk over a day that merchants' health needs, made rarely and kept.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Stopwatch;
use crate::domain::Timestamp;
use crate::health::{Trouble, TroubleKind, troubles};
use crate::store::{Inspection, LoweredLimit, MerchantRow, StoreError};

/// Fresher than this nobody needs it.
const AGE_MIN: Duration = Duration::from_secs(15);

/// With this much rest after each walk, in multiples of what it took, a page that is reloaded all
/// the time costs a twentieth of a core at most.
const REST: u32 = 20;

/// The newest walk over what was delivered in a day.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Walk>>);

/// A merchant, with the most urgent kind of trouble that its callbacks have.
#[derive(Clone, Debug)]
pub(super) struct Merchant {
    pub(super) row: MerchantRow,
    pub(super) trouble: Option<TroubleKind>,
}

#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) merchants: Arc<[Merchant]>,
    pub(super) lowered: Arc<[LoweredLimit]>,
    pub(super) ended_at: Timestamp,
    ended: Stopwatch,
    took: Duration,
}

impl Health {
    /// The newest walk; makes one if that is old. Requests that come meanwhile wait for the same one.
    pub(super) async fn newest(
        &self,
        inspection: &dyn Inspection,
        now: impl Fn() -> Timestamp,
    ) -> Result<Walk, StoreError> {
        let mut newest = self.0.lock().await;
        if let Some(walk) = &*newest
            && walk.ended.elapsed() < AGE_MIN.max(walk.took * REST)
        {
            return Ok(walk.clone());
        }
        let stopwatch = Stopwatch::start();
        let moment = now();
        let troubled = inspection.troubled(moment).await?;
        let pauses = inspection.pauses().await?;
        let troubles = troubles(&troubled, &pauses, moment);
        let with_trouble = |row: MerchantRow| {
            let own = |trouble: &&Trouble| match (&trouble.app_id, &trouble.origin) {
                (Some(app_id), _) => *app_id == row.app_id,
                (None, Some(origin)) => troubled.iter().any(|endpoint| {
                    endpoint.app_id.as_text() == row.app_id && endpoint.origin.as_text() == *origin
                }),
                (None, None) => false,
            };
            // The most urgent ones come first.
            let trouble = troubles.iter().find(own).map(|trouble| trouble.kind);
            Merchant { row, trouble }
        };
        let rows = inspection.merchants().await?.into_iter();
        let mut merchants: Vec<Merchant> = rows.map(with_trouble).collect();
        merchants.sort_by_key(urgency);
        let walk = Walk {
            merchants: merchants.into(),
            lowered: inspection.lowered_limits().await?.into(),
            ended_at: now(),
            took: stopwatch.elapsed(),
            ended: Stopwatch::start(),
        };
        *newest = Some(walk.clone());
        Ok(walk)
    }
}

/// Those in the most urgent trouble first, then those whose callbacks are being tried again.
fn urgency(merchant: &Merchant) -> (bool, Option<TroubleKind>, [Reverse<i64>; 3], String) {
    let row = &merchant.row;
    let counts = [row.exhausted_24h, row.retrying, row.pending].map(Reverse);
    (
        merchant.trouble.is_none(),
        merchant.trouble,
        counts,
        row.app_id.clone(),
    )
}
