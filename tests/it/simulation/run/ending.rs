//! The day when all merchants are well.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::operation::Reply;
use super::super::oracle::State;
use super::super::order::MERCHANTS;
use super::super::terms::Generation;
use super::{RECOVERY, Run, Violation};

/// Longer than the pause between two surveys.
const SURVEYED: Duration = Duration::from_secs(35);

/// Longer than operators' commands are left alone after one has failed.
const COMMANDS_PAUSE: Duration = Duration::from_secs(11);

/// Longer than the pause between two looks at the queue.
const LOOKED: Duration = Duration::from_secs(1);

impl Run {
    /// Every merchant is healthy, every key is there, the store works, and time goes on: all that
    /// can be delivered is.
    pub(super) async fn all_is_well(&mut self) -> Result<(), Violation> {
        {
            let mut world = self.world.lock();
            world.faults.clear();
            world.moods = [Some(Reply::Acknowledge); MERCHANTS as usize];
            world.answer_all(Reply::Acknowledge);
        }
        self.reload(Generation::healthy());
        self.advance(RECOVERY.max(COMMANDS_PAUSE)).await?;
        let owed = self.world.lock().oracle.deliverable(self.now());
        self.deliver_all(&owed).await?;
        self.pass(LOOKED).await?;
        self.check()?;
        self.world.lock().oracle.expect_all_answered();
        self.stop().await?;
        self.settle().await?;
        self.check()?;
        let integrity = self.world.lock().database.integrity();
        match integrity.as_str() {
            "ok" => Ok(()),
            fault => Err(format!("the file is damaged: {fault}")),
        }
    }

    async fn deliver_all(&mut self, owed: &BTreeSet<i64>) -> Result<(), Violation> {
        let mut overdue = Duration::ZERO;
        loop {
            let next = {
                let world = self.world.lock();
                let left: BTreeSet<i64> = owed
                    .iter()
                    .filter(|id| world.oracle.state(**id) == State::Pending)
                    .copied()
                    .collect();
                if left.is_empty() {
                    break;
                }
                // Those that are claimed wait for their origin: after a 429 they go out further apart.
                world.oracle.next_due(&left).unwrap_or(world.now())
            };
            let wait = u64::try_from(next - self.now()).unwrap_or_default();
            if wait == 0 {
                overdue += Duration::from_secs(1);
                if overdue > SURVEYED {
                    return Err(format!(
                        "a row that was due or claimed at {next} is not delivered"
                    ));
                }
            } else {
                overdue = Duration::ZERO;
            }
            // In one leap: what else would happen on the way has happened often enough.
            let leap = if wait == 0 { 1000 } else { wait };
            self.pass(Duration::from_millis(leap)).await?;
            self.restart_if_dead().await?;
            self.check()?;
        }
        let world = self.world.lock();
        let not_delivered = |id: &&i64| world.oracle.state(**id) != State::Delivered;
        match owed.iter().find(not_delivered) {
            Some(id) => Err(format!("row {id} of a healthy merchant was not delivered")),
            None => Ok(()),
        }
    }
}
