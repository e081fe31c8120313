//! How a process ends, and the next one begins.

use super::super::operation::{Reply, Way};
use super::super::order::{MERCHANTS, Order};
use super::{RECOVERY, Run, Violation};

impl Run {
    pub(super) async fn stop_loaded(&mut self, merchant: u8) -> Result<(), Violation> {
        for (mood, count) in [(Some(Reply::Acknowledge), 2), (None, 8)] {
            self.world.lock().moods[usize::from(merchant % MERCHANTS)] = mood;
            for _ in 0..count {
                self.orders += 1;
                let order = Order::new(self.orders, 0, merchant, false);
                self.enqueue(Way::Sql, order).await?;
            }
            self.process().queue.committed.notify_one();
            self.settle().await?;
            self.restart_if_dead().await?;
        }
        self.stop().await
    }

    pub(super) async fn stop(&mut self) -> Result<(), Violation> {
        let process = self.process.take().expect("it runs");
        // What was not sent is given back, and one deadline fits into a drain.
        let has_recovered = self.world.lock().faults.has_recovered(RECOVERY);
        let stopped = process.stop().await;
        self.tally.add("stops", 1);
        let mut world = self.world.lock();
        world.faults.has_crashed = false;
        match stopped {
            Ok(0) => {
                world.oracle.expect_nothing_in_flight();
                let owed = world.faults.uncounts_owed.len();
                if owed > 0 {
                    world
                        .oracle
                        .violation(format!("a drain has left {owed} attempts to be un-counted"));
                }
            }
            Ok(cut) if has_recovered => {
                world
                    .oracle
                    .violation(format!("a drain cut {cut} attempts off, for no reason"));
            }
            Err(error) if !world.faults.is_fatal => {
                world.oracle.violation(format!("it stopped with {error}"));
            }
            Ok(_) | Err(_) => {}
        }
        drop(world);
        self.start();
        Ok(())
    }

    /// Starts anew what has died, as the service manager does.
    pub(super) async fn restart_if_dead(&mut self) -> Result<(), Violation> {
        // A start may fail as well, as often as the store does.
        for _ in 0..20 {
            let has_crashed = std::mem::take(&mut self.world.lock().faults.has_crashed);
            if !has_crashed && !self.process().has_ended() {
                return Ok(());
            }
            let ended = self.process.take().expect("it was there").die().await;
            let is_fatal = self.world.lock().faults.is_fatal;
            if let Some(ended) = ended
                && !is_fatal
            {
                return Err(format!("the dispatcher ended by itself: {ended:?}"));
            }
            self.tally.add(
                if has_crashed {
                    "crashes"
                } else {
                    "deaths by a store fault"
                },
                1,
            );
            self.start();
            self.settle().await?;
        }
        Err("it can't be started".to_owned())
    }
}
