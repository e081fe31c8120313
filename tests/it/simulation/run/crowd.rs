//! Many callbacks are due at once for a small merchant.

use std::time::Duration;

use callback_dispatcher::clock::Clock as _;

use super::super::capacity::Capacity;
use super::super::operation::{Crowd, Way};
use super::super::oracle::State;
use super::super::order::{KEYED_APPS, MERCHANTS, Order};
use super::super::terms::Generation;
use super::{RECOVERY, Run, Violation};

/// All retries of a callback, and more: what timed out before the limit was learned is due again.
const RETRIES: Duration = Duration::from_secs(16 * 60);

/// As long as a merchant may take for an answer without being slow.
const STEP: Duration = Duration::from_secs(1);

impl Run {
    /// A merchant that answers within its capacity exhausts nothing: our own crowd is not its fault.
    pub(super) async fn crowd(&mut self, crowd: Crowd) -> Result<(), Violation> {
        let merchant = crowd.merchant % MERCHANTS;
        self.reload(Generation::roomy());
        let has_recovered = {
            let mut world = self.world.lock();
            let (workers, service) = (
                crowd.workers.into(),
                Duration::from_secs(crowd.seconds.into()),
            );
            world.capacity = Some(Capacity::new(merchant, workers, service));
            world.faults.has_recovered(RECOVERY)
        };
        let mut orders = Vec::new();
        for _ in 0..crowd.count {
            self.orders += 1;
            let order = Order::new(self.orders, merchant % KEYED_APPS, merchant, false);
            orders.push(self.enqueue(Way::Sql, order).await?);
        }
        self.process().queue.committed.notify_one();
        self.settle().await?;
        let ideal =
            STEP * u32::from(crowd.seconds) * u32::from(crowd.count).div_ceil(crowd.workers.into());
        let until = self.clock.steady() + ideal * 2 + RETRIES;
        while self.pending_of(&orders) > 0 && self.clock.steady() < until {
            self.advance(STEP).await?;
        }
        if let Some(capacity) = self.world.lock().capacity.take() {
            capacity.close();
        }
        self.settle().await?;
        let world = self.world.lock();
        let is = |id: &i64, state| world.oracle.state(*id) == state;
        if let Some(id) = orders.iter().find(|id| is(id, State::Exhausted)) {
            return Err(format!("row {id} was exhausted by our own crowd"));
        }
        match orders.iter().find(|id| is(id, State::Pending)) {
            Some(id) if has_recovered => Err(format!(
                "row {id} of a merchant that answers is not delivered after {RETRIES:?} and twice the time it needs"
            )),
            _ => Ok(()),
        }
    }

    fn pending_of(&self, ids: &[i64]) -> usize {
        let world = self.world.lock();
        let pending = |id: &&i64| world.oracle.state(**id) == State::Pending;
        ids.iter().filter(pending).count()
    }
}
