//! What operators do: to the rows themselves, by SQL, or by asking the dispatcher.

use super::super::operation::{Asked, Chosen};
use super::super::oracle::Selected;
use super::super::world::World;
use super::{Run, nth};

impl Run {
    pub(super) fn by_operator(&self, which: u8, act: impl FnOnce(&mut World, i64, i64)) {
        let mut world = self.world.lock();
        let now = world.now();
        if let Some(id) = nth(&world.oracle.ids(), which) {
            act(&mut world, id, now);
        }
        drop(world);
        self.process().queue.committed.notify_one();
    }

    pub(super) fn command(&self, asked: Asked, chosen: Chosen, acknowledged: bool, dry_run: bool) {
        let mut world = self.world.lock();
        let now = world.now();
        if let Some(chosen) = Selected::of(&world.oracle, chosen) {
            let command = world
                .database
                .command(asked, chosen, acknowledged, dry_run, now);
            world
                .oracle
                .commanded(command, asked, chosen, acknowledged, dry_run);
            world.oracle.judge_skip(command, now);
        }
    }
}
