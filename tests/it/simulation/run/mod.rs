//! One seed, from the first operation to the day when all merchants are well.

mod crowd;
mod ending;
mod gateway;
mod operators;
mod passing;
mod stopping;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Clock, ManualClock, SharedClock};
use callback_dispatcher::delivery::DeliveryPolicy;
use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::housekeeping::{HousekeepingJob, Pruning};
use callback_dispatcher::store::Queue;
use tokio::sync::watch;

use super::START;
use super::operation::{Operation, Reply, Way};
use super::oracle::State;
use super::order::{KEYED_APPS, MERCHANTS, Order};
use super::process::Process;
use super::records::Database;
use super::tally::Tally;
use super::terms::Generation;
use super::world::{SharedWorld, SimulatedPost};

/// Longer than every pause after a failure of the store.
const RECOVERY: Duration = Duration::from_secs(7);

/// Ids that the table gives begin above; the gateway's own stay below.
const OWN_IDS: i64 = 1000;

/// A rule that was broken, in words.
pub(super) type Violation = String;

/// See the module.
pub(super) struct Run {
    path: PathBuf,
    clock: ManualClock,
    world: SharedWorld,
    terms: watch::Sender<Arc<DeliveryPolicy>>,
    process: Option<Process>,
    orders: u32,
    tally: Tally,
}

impl Run {
    /// Lets `operations` happen to a new queue in `folder`, a copy of `template`.
    pub(super) async fn of(
        operations: &[Operation],
        template: &Path,
        folder: &Path,
    ) -> (Result<(), Violation>, Tally) {
        let mut run = Self::begin(template, folder);
        let result = run.all(operations).await;
        if let Some(process) = run.process.take() {
            process.die().await;
        }
        run.count();
        (result, run.tally)
    }

    fn begin(template: &Path, folder: &Path) -> Self {
        let path = folder.join("queue.db");
        std::fs::copy(template, &path).expect("room for a queue");
        let clock = ManualClock::at(Timestamp::from_millis(START));
        let database = Database::open(&path);
        database.count_ids_from(OWN_IDS);
        let world = SharedWorld::new(clock.clone(), database);
        let (terms, _) = watch::channel(put_in_place(&world, Generation::healthy()));
        let mut run = Self {
            path,
            clock,
            world,
            terms,
            process: None,
            orders: 0,
            tally: Tally::default(),
        };
        run.start();
        run
    }

    async fn all(&mut self, operations: &[Operation]) -> Result<(), Violation> {
        self.settle().await?;
        for operation in operations {
            self.tally.add(format!("operation {}", operation.kind()), 1);
            self.happens(operation).await?;
            self.settle().await?;
            self.restart_if_dead().await?;
            self.check()?;
        }
        self.all_is_well().await
    }

    fn start(&mut self) {
        self.world.lock().faults.is_fatal = false;
        self.process = Some(Process::start(
            &self.path,
            self.world.clone(),
            self.clock.clone(),
            self.terms.subscribe(),
        ));
    }

    fn process(&self) -> &Process {
        self.process
            .as_ref()
            .expect("it is started again whenever it ends")
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    async fn happens(&mut self, operation: &Operation) -> Result<(), Violation> {
        match *operation {
            Operation::Enqueue {
                way,
                app,
                merchant,
                refund,
                count,
                notify,
            } => {
                for _ in 0..count {
                    self.orders += 1;
                    let order = Order::new(self.orders, app, merchant, refund);
                    self.enqueue(way, order).await?;
                }
                if notify {
                    self.process().queue.committed.notify_one();
                }
            }
            Operation::EnqueueAgain { way, which } => self.enqueue_again(way, which).await?,
            Operation::EnqueueUnreadable { merchant } => self.enqueue_unreadable(merchant),
            Operation::Advance { seconds } => {
                self.advance(Duration::from_secs(seconds.into())).await?;
            }
            Operation::SetClock { by_seconds } => {
                let was = self.now();
                let mut world = self.world.lock();
                world.oracle.clock_was = world.oracle.clock_was.max(was);
                drop(world);
                let now = was + i64::from(by_seconds) * 1000;
                self.clock.set(Timestamp::from_millis(now));
            }
            Operation::Answer { which, reply } => self.world.lock().answer(which, reply),
            Operation::ChangeMind { merchant, mood } => {
                self.world.lock().moods[usize::from(merchant % MERCHANTS)] = mood;
            }
            Operation::StoreFails { call, fault, times } => {
                self.world.lock().faults.add_fault(call, fault, times);
            }
            Operation::LockHeld => self.lock_held().await,
            Operation::Crash => self.world.lock().faults.has_crashed = true,
            Operation::CrashAt { point } => self.world.lock().faults.crash_at = Some(point),
            Operation::Stop => self.stop().await?,
            Operation::StopLoaded { merchant } => self.stop_loaded(merchant).await?,
            Operation::Prune { keep_minutes } => self.prune(keep_minutes).await?,
            Operation::Maintain => {
                let maintained = self.process().queue.maintain().await;
                maintained.map_err(|error| format!("maintenance failed: {error}"))?;
            }
            Operation::Reload {
                waits,
                places,
                without_key_of,
                rotated,
                shield,
            } => self.reload(Generation::new(
                waits,
                places,
                without_key_of,
                rotated,
                shield,
            )),
            Operation::NetworkLost { minutes, shows_as } => {
                self.network_lost(minutes, shows_as).await?;
            }
            Operation::Crowd(crowd) => self.crowd(crowd).await?,
            Operation::Cancel { which } => self.by_operator(which, |world, id, now| {
                let was_pending = world.database.cancel(id, now);
                world.oracle.cancelled(id, was_pending, now);
            }),
            Operation::Resend { which } => self.by_operator(which, |world, id, now| {
                let was_finished = world.database.resend(id, now);
                world.oracle.resent(id, was_finished, now);
            }),
            Operation::Command {
                asked,
                chosen,
                acknowledged,
                dry_run,
                notify,
            } => {
                self.command(asked, chosen, acknowledged, dry_run);
                if notify {
                    self.process().queue.committed.notify_one();
                }
            }
        }
        Ok(())
    }

    fn reload(&self, generation: Generation) {
        self.terms
            .send_replace(put_in_place(&self.world, generation));
    }

    /// The dispatcher has something to write while another process holds the lock.
    async fn lock_held(&self) {
        self.world.lock().database.hold_the_lock(true);
        self.world.lock().answer_all(Reply::Acknowledge);
        self.process().queue.committed.notify_one();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.world.lock().database.hold_the_lock(false);
    }

    async fn prune(&self, keep_minutes: u16) -> Result<(), Violation> {
        let keep = Duration::from_secs(60 * u64::from(keep_minutes));
        let before = Timestamp::from_millis(self.now()).before(keep).as_millis();
        let outdated = self.world.lock().oracle.outdated(before);
        let pruning = Pruning {
            queue: Arc::clone(&self.process().queue) as Arc<dyn Queue>,
            clock: Arc::new(self.clock.clone()) as SharedClock,
            keep_delivered: keep,
            keep_exhausted: keep,
            cron: String::new(),
        };
        let pruned = pruning.run().await;
        pruned.map_err(|error| format!("pruning failed: {error}"))?;
        let mut world = self.world.lock();
        for id in outdated {
            world.oracle.pruned(id);
        }
        Ok(())
    }

    /// The merchants' retries are not used up by an outage of ours. What was exhausted within the
    /// minute before it could be told from one is no sign of that.
    async fn network_lost(&mut self, minutes: u8, shows_as: Reply) -> Result<(), Violation> {
        self.reload(Generation::healthy());
        let moods = {
            let mut world = self.world.lock();
            world.answer_all(shows_as);
            std::mem::replace(&mut world.moods, [Some(shows_as); MERCHANTS as usize])
        };
        let has_recovered = self.world.lock().faults.has_recovered(RECOVERY);
        self.advance(Duration::from_secs(61)).await?;
        for merchant in 0..MERCHANTS {
            self.orders += 1;
            let order = Order::new(self.orders, merchant % KEYED_APPS, merchant, false);
            self.enqueue(Way::Sql, order).await?;
        }
        self.process().queue.committed.notify_one();
        self.settle().await?;
        let exhausted = |run: &Self| {
            run.world
                .lock()
                .oracle
                .states()
                .get(&State::Exhausted)
                .copied()
        };
        let before = exhausted(self);
        self.advance(Duration::from_secs(60 * u64::from(minutes)))
            .await?;
        let after = exhausted(self);
        self.world.lock().moods = moods;
        if has_recovered && after > before {
            return Err(format!(
                "exhausted by an outage of ours: {after:?}, before {before:?}"
            ));
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Violation> {
        let mut world = self.world.lock();
        world.absorb_commands();
        let (rows, log) = (world.database.rows(), world.database.log());
        world.oracle.compare(&rows, &log);
        if world.faults.has_recovered(RECOVERY) {
            world.oracle.expect_all_recorded();
        }
        self.tally.add("checks", 1);
        match world.oracle.violations() {
            [] => Ok(()),
            [first, ..] => Err(first.clone()),
        }
    }

    fn count(&mut self) {
        let world = self.world.lock();
        self.tally.add("seeds", 1);
        self.tally.add(
            "POSTs",
            u64::try_from(world.oracle.posts.len()).expect("few"),
        );
        self.tally.add("store failures", world.faults.failures);
        self.tally.add("attempts", world.oracle.attempts());
        for (outcome, count) in &world.oracle.logged {
            self.tally.add(format!("attempts {outcome}"), *count);
        }
        for (state, count) in world.oracle.states() {
            self.tally.add("callbacks", count);
            self.tally
                .add(format!("callbacks {}", state.as_str()), count);
        }
    }
}

fn put_in_place(world: &SharedWorld, generation: Generation) -> Arc<DeliveryPolicy> {
    let mut locked = world.lock();
    let number = locked.oracle.generations.len();
    let post = SimulatedPost {
        world: world.clone(),
        generation: number,
    };
    let terms = generation.terms(Arc::new(post));
    locked.oracle.generations.push(generation);
    Arc::new(terms)
}

fn nth(ids: &[i64], which: u8) -> Option<i64> {
    let at = usize::from(which).checked_rem(ids.len())?;
    ids.get(at).copied()
}
