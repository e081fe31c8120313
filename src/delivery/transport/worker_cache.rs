//! What a worker keeps from one exchange to the next.
//!
//! A cache line that two workers share and that moves between two cores costs as much as a
//! signature. So each worker has a timer of its own, which is set to the next deadline without a
//! lock, and remembers its last target and pool.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, Sleep};

use super::pool::{Pool, Pools};
use super::url_cache::UrlCache;
use crate::delivery::egress::Target;

/// A new one is empty, and costs one exchange a little time.
#[derive(Debug, Default)]
pub struct WorkerCache {
    pub(super) timer: Timer,
    pub(super) last_target: LastTarget,
    pub(super) last_pool: LastPool,
}

/// Tells when a deadline has come.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

/// The target of the last exchange.
#[derive(Debug, Default)]
pub(super) struct LastTarget(Option<Last>);

/// The pool of the last exchange, with the transport's pools that it is one of.
#[derive(Debug, Default)]
pub(super) struct LastPool(Option<(Arc<Pools>, Arc<Pool>)>);

#[derive(Debug)]
struct Last {
    /// The cache of the transport that judged it: another transport has another policy.
    judged_by: Arc<UrlCache>,
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

impl LastPool {
    /// The pool for exchanges of `app_id` with `target`, from memory if it is the last one.
    pub(super) fn pool(&mut self, pools: &Arc<Pools>, app_id: &str, target: &Target) -> Arc<Pool> {
        if let Some((of, pool)) = &self.0
            && Arc::ptr_eq(of, pools)
            && pool.serves(app_id, target)
        {
            return Arc::clone(pool);
        }
        let pool = pools.pool(app_id, target);
        self.0 = Some((Arc::clone(pools), Arc::clone(&pool)));
        pool
    }
}

impl LastTarget {
    /// The target that `url` was judged to be, from memory if it is the last one.
    pub(super) fn target(
        &mut self,
        judged_by: &Arc<UrlCache>,
        url: &str,
        judge: impl FnOnce(&str) -> Result<Target, String>,
    ) -> Result<&Target, String> {
        let is_known = |last: &mut Last| last.url == url && Arc::ptr_eq(&last.judged_by, judged_by);
        let last = match self.0.take_if(is_known) {
            Some(last) => last,
            None => Last {
                judged_by: Arc::clone(judged_by),
                url: url.to_owned(),
                target: judged_by.of(url, judge)?,
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
    use crate::delivery::transport::url_cache::tests::judge;

    #[test]
    fn a_target_is_remembered_but_never_for_another_transport_or_url() {
        let (mine, other) = (Arc::<UrlCache>::default(), Arc::<UrlCache>::default());
        let url = "https://merchant.example/callback";
        let mut last = LastTarget::default();
        let first = last.target(&mine, url, judge).expect("allowed").clone();
        let again = last.target(&mine, url, |_| Err("judged again".to_owned()));
        assert_eq!(again, Ok(&first));
        let refused = last.target(&other, url, |_| Err("another policy".to_owned()));
        assert_eq!(refused, Err("another policy".to_owned()));
        let elsewhere = last.target(&mine, "https://10.0.0.1/callback", judge);
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
