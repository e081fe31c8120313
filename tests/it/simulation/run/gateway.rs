//! What the gateway does, and whoever writes past the schema's checks.

use std::sync::Arc;

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::Queue;

use super::super::operation::Way;
use super::super::order::Order;
use super::{OWN_IDS, Run, Violation, nth};

impl Run {
    pub(super) async fn enqueue(&mut self, way: Way, order: Order) -> Result<i64, Violation> {
        let id = self.insert(way, &order).await?;
        let now = self.now();
        self.world.lock().oracle.queued(id, order, true, now);
        Ok(id)
    }

    async fn insert(&self, way: Way, order: &Order) -> Result<i64, Violation> {
        let now = self.now();
        match way {
            Way::Command => {
                let queue = Arc::clone(&self.process().queue);
                let callbacks = vec![order.new_callback()];
                let ids = queue.enqueue(callbacks, Timestamp::from_millis(now)).await;
                let ids = ids.map_err(|error| error.to_string())?;
                ids.first().map(|id| id.0).ok_or("no id".to_owned())
            }
            Way::Sql | Way::SqlOwnId => {
                // Descending, so that each is below all that the dispatcher has seen.
                let own = OWN_IDS - i64::from(self.orders);
                let id = (way == Way::SqlOwnId).then_some(own);
                let inserted = self.world.lock().database.insert(order, id, now);
                inserted.map_err(|error| error.to_string())
            }
        }
    }

    pub(super) async fn enqueue_again(&mut self, way: Way, which: u8) -> Result<(), Violation> {
        let order = {
            let world = self.world.lock();
            let ids = world.oracle.readable_ids();
            let Some(id) = nth(&ids, which) else {
                return Ok(());
            };
            world.oracle.callbacks[&id].order.clone()
        };
        self.orders += 1;
        match self.insert(way, &order).await {
            Ok(id) => Err(format!(
                "a result was queued twice, the second time as row {id}"
            )),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn enqueue_unreadable(&mut self, merchant: u8) {
        self.orders += 1;
        let mut order = Order::new(self.orders, 0, merchant, false);
        order.currency = "EUR";
        let now = self.now();
        let mut world = self.world.lock();
        let id = world.database.insert_unchecked(&order, now);
        world.oracle.queued(id, order, false, now);
        drop(world);
        self.process().queue.committed.notify_one();
    }
}
