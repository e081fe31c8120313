//! Whatever happens, in whatever order: no limit is exceeded, the sums are right, and when the
//! merchants answer everything is sent.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Due { app: u8, origin: u8, callbacks: u8 },
    Dispatch,
    Complete { nth: u8 },
    Advance { millis: u16 },
    Review,
    Forget,
    GiveUp,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..5u8, 1..20u8).prop_map(|(app, origin, callbacks)| Step::Due { app, origin, callbacks }),
        6 => Just(Step::Dispatch),
        6 => any::<u8>().prop_map(|nth| Step::Complete { nth }),
        2 => (1..3_000u16).prop_map(|millis| Step::Advance { millis }),
        1 => Just(Step::Review),
        1 => Just(Step::Forget),
        1 => Just(Step::GiveUp),
    ]
}

/// A queue table in memory, and the scheduler that works on it.
#[derive(Default)]
struct World {
    scheduler: Scheduler<Endpoint>,
    due: std::collections::BTreeMap<Endpoint, usize>,
    open: Vec<(Endpoint, Slot)>,
    millis: i64,
    sent: usize,
}

impl World {
    fn limits(&self) -> Limits {
        Limits {
            in_flight: 12,
            in_flight_per_app: 9,
            ..at(self.millis)
        }
    }

    fn take(&mut self, step: &Step) {
        let limits = self.limits();
        match step {
            Step::Due {
                app,
                origin,
                callbacks,
            } => {
                let endpoint = Endpoint::new([*app], [*origin]);
                *self.due.entry(endpoint.clone()).or_default() += usize::from(*callbacks);
                let due = limits.at.now;
                self.scheduler
                    .became_due(EndpointDue { endpoint, due }, limits);
            }
            Step::Dispatch => self.dispatch(),
            Step::Complete { nth } if !self.open.is_empty() => {
                let nth = usize::from(*nth) % self.open.len();
                let (_, slot) = self.open.swap_remove(nth);
                self.sent += 1;
                self.scheduler
                    .completed(slot, SOON, Signal::Answered, limits);
            }
            Step::Complete { .. } => {}
            Step::Advance { millis } => self.millis += i64::from(*millis),
            Step::Review => self.scheduler.review(limits),
            Step::Forget => self.scheduler.forget(limits.at),
            Step::GiveUp => {
                for endpoint in self.scheduler.give_up_prefetched(limits) {
                    *self.due.entry(endpoint.clone()).or_default() += 1;
                    let due = limits.at.now;
                    self.scheduler
                        .became_due(EndpointDue { endpoint, due }, limits);
                }
            }
        }
        self.check();
    }

    fn dispatch(&mut self) {
        let limits = self.limits();
        if self.scheduler.has_use_for_a_claim(limits) {
            let requests = self.scheduler.plan(limits);
            assert!(
                !requests.is_empty(),
                "a claim that is of use claims something"
            );
            for ClaimRequest { endpoint, limit } in requests {
                let left = self.due.entry(endpoint.clone()).or_default();
                let claimed = limit.min(*left);
                *left -= claimed;
                let then_due = (*left > 0).then_some(limits.at.now);
                self.scheduler.claimed(
                    &endpoint,
                    vec![endpoint.clone(); claimed],
                    then_due,
                    limits,
                );
            }
        }
        while let Some(Assignment {
            slot,
            endpoint,
            claimed,
        }) = self.scheduler.assign(limits)
        {
            assert_eq!(endpoint, claimed);
            self.open.push((endpoint, slot));
        }
    }

    fn check(&self) {
        let limits = self.limits();
        assert!(self.open.len() <= limits.in_flight);
        assert_eq!(self.scheduler.in_flight(), self.open.len());
        for (endpoint, _) in &self.open {
            let of = |same: fn(&Endpoint, &Endpoint) -> bool| {
                self.open
                    .iter()
                    .filter(|(other, _)| same(endpoint, other))
                    .count()
            };
            assert!(of(|a, b| a.origin == b.origin) <= limits.in_flight_per_origin);
            assert!(of(|a, b| a.app_id == b.app_id) <= limits.in_flight_per_app);
        }
        assert_eq!(
            self.scheduler.load.held(),
            self.scheduler.load.by_class.iter().sum::<usize>()
        );
        let mut sum = Load::NOTHING;
        for id in self.scheduler.endpoints.ids() {
            let load = self.scheduler.endpoints[id].load;
            for class in LatencyClass::ALL {
                sum.by_class[class as usize] += load.by_class[class as usize];
                sum.beyond_origin[class as usize] += load.beyond_origin[class as usize];
            }
        }
        assert_eq!(sum.by_class, self.scheduler.load.by_class);
        assert_eq!(sum.beyond_origin, self.scheduler.load.beyond_origin);
    }

    /// Lets everything be sent.
    fn finish(&mut self) {
        for _ in 0..2_000 {
            self.dispatch();
            let Some((_, slot)) = self.open.pop() else {
                break;
            };
            let limits = self.limits();
            self.sent += 1;
            self.scheduler
                .completed(slot, SOON, Signal::Answered, limits);
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn limits_hold_and_everything_that_is_due_is_sent(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        let mut queued = 0;
        for step in &steps {
            if let Step::Due { callbacks, .. } = step {
                queued += usize::from(*callbacks);
            }
            world.take(step);
        }
        world.finish();
        prop_assert_eq!(world.sent, queued);
        prop_assert_eq!(world.scheduler.load.held(), 0);
    }
}
