//! The walk over a day that merchants' health needs, made rarely and kept.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Stopwatch;
use crate::domain::Timestamp;
use crate::store::{Inspection, MerchantRow, StoreError};

/// Fresher than this nobody needs it.
const AGE_MIN: Duration = Duration::from_secs(15);

/// With this much rest after each walk, in multiples of what it took, a page that is reloaded all
/// the time costs a twentieth of a core at most.
const REST: u32 = 20;

/// The newest walk over what was delivered in a day.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Walk>>);

#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) merchants: Arc<[MerchantRow]>,
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
        let mut merchants = inspection.merchants().await?;
        merchants.sort_by_key(urgency);
        let walk = Walk {
            merchants: merchants.into(),
            ended_at: now(),
            took: stopwatch.elapsed(),
            ended: Stopwatch::start(),
        };
        *newest = Some(walk.clone());
        Ok(walk)
    }
}

/// Those whose callbacks are given up first, then those that are being tried again.
fn urgency(merchant: &MerchantRow) -> (Reverse<i64>, Reverse<i64>, Reverse<i64>, String) {
    (
        Reverse(merchant.exhausted_24h),
        Reverse(merchant.retrying),
        Reverse(merchant.pending),
        merchant.app_id.clone(),
    )
}
