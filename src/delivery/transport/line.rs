//! What a courier keeps between one exchange and the next.
//!
//! Two workers that post to one merchant meet in whatever they share, and a cache line that goes to
//! and fro between two cores costs as much as a signature. So each courier has a timer of its own,
//! which goes on to the next deadline without a lock, and remembers the target that it posted to
//! last.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, Sleep};

use super::targets::Targets;
use crate::delivery::egress::Target;

/// See the module. One that is new knows nothing, and is as good.
#[derive(Debug, Default)]
pub struct Line {
    pub(super) timer: Timer,
    pub(super) memory: Memory,
}

/// Tells when a deadline has come.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

/// The target of the last exchange.
#[derive(Debug, Default)]
pub(super) struct Memory(Option<Last>);

#[derive(Debug)]
struct Last {
    /// Who has judged it: another transport has another policy.
    judges: Arc<Targets>,
    url: String,
    target: Arc<Target>,
}

impl Timer {
    /// Ends at `deadline`.
    pub(super) fn until(&mut self, deadline: Instant) -> Pin<&mut Sleep> {
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut()
    }
}

impl Memory {
    /// What `judges` say of `url`, or have said when it was the last one.
    pub(super) fn target(
        &mut self,
        judges: &Arc<Targets>,
        url: &str,
        judge: impl FnOnce(&str) -> Result<Target, String>,
    ) -> Result<&Target, String> {
        let is_known = |last: &mut Last| last.url == url && Arc::ptr_eq(&last.judges, judges);
        let last = match self.0.take_if(is_known) {
            Some(last) => last,
            None => Last {
                judges: Arc::clone(judges),
                url: url.to_owned(),
                target: judges.of(url, judge)?,
            },
        };
        Ok(&self.0.insert(last).target)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Stopwatch;
    use crate::delivery::transport::targets::tests::judge;

    #[test]
    fn a_target_is_remembered_but_never_for_another_transport_or_url() {
        let (mine, other) = (Arc::<Targets>::default(), Arc::<Targets>::default());
        let url = "https://merchant.example/callback";
        let mut memory = Memory::default();
        let first = memory.target(&mine, url, judge).expect("allowed").clone();
        let again = memory.target(&mine, url, |_| Err("judged again".to_owned()));
        assert_eq!(again, Ok(&first));
        let refused = memory.target(&other, url, |_| Err("another policy".to_owned()));
        assert_eq!(refused, Err("another policy".to_owned()));
        let elsewhere = memory.target(&mine, "https://10.0.0.1/callback", judge);
        assert!(elsewhere.is_err_and(|why| why.contains("10.0.0.1")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_goes_by_the_newest_deadline() {
        let mut timer = Timer::default();
        let watch = Stopwatch::start();
        for (seconds, ends_at) in [(10, 10), (15, 15), (12, 15), (40, 40)] {
            timer
                .until(watch.deadline(Duration::from_secs(seconds)))
                .await;
            assert_eq!(watch.elapsed(), Duration::from_secs(ends_at));
        }
    }
}
