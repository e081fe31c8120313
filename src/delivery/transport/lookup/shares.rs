//! How many lookups an app has under way at once.
//!
//! A resolver forwards only so many questions at once (dnsmasq 150) and refuses the rest. So names that have
//! not resolved yet wait for a place of their app; those that have resolved before never wait, whatever
//! the app's other names do.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::delivery::transport::progress::Progress;

/// Lookups of one app at once, each of which asks two questions.
const SHARE: usize = 64;

/// Bounded, so that unique names cannot exhaust memory.
const RESOLVED_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Shares {
    apps: Mutex<HashMap<String, Arc<Semaphore>>>,
    resolved: Mutex<HashSet<Box<str>>>,
}

impl Shares {
    /// Waits until `app_id` may look `name` up, which it may until the answer is dropped.
    pub(super) async fn place(
        &self,
        progress: &Progress,
        app_id: &str,
        name: &str,
    ) -> Option<OwnedSemaphorePermit> {
        let resolved = || self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if resolved().contains(name) {
            return None;
        }
        let share = self.share(app_id);
        if let Ok(place) = Arc::clone(&share).try_acquire_owned() {
            return Some(place);
        }
        progress.waits_for_place(true);
        let place = share.acquire_owned().await.ok();
        progress.waits_for_place(false);
        place
    }

    pub(super) fn note_resolved(&self, name: &str) {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if !resolved.contains(name) {
            if resolved.len() == RESOLVED_MAX {
                resolved.clear();
            }
            resolved.insert(name.into());
        }
    }

    /// An app's places. Those of apps that look nothing up are forgotten.
    fn share(&self, app_id: &str) -> Arc<Semaphore> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = apps.get(app_id) {
            return Arc::clone(share);
        }
        apps.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(SHARE));
        apps.insert(app_id.to_owned(), Arc::clone(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use std::pin::pin;

    use super::*;
    use crate::clock::Stopwatch;

    #[tokio::test]
    async fn an_app_that_uses_up_its_share_leaves_the_others_theirs() {
        let shares = Shares::default();
        let progress = Progress::start(Stopwatch::start());
        let mut places = Vec::new();
        for n in 0..SHARE {
            places.push(shares.place(&progress, "1", &format!("n{n}.test")).await);
        }
        let mut waiting = pin!(shares.place(&progress, "1", "last.test"));
        assert!(poll!(waiting.as_mut()).is_pending());
        assert!(progress.is_waiting_for_place());
        assert!(shares.place(&progress, "2", "other.test").await.is_some());
        // Nor does one that has resolved before wait for those that have not.
        shares.note_resolved("known.test");
        assert!(shares.place(&progress, "1", "known.test").await.is_none());
        places.pop();
        assert!(poll!(waiting.as_mut()).is_ready());
        assert!(!progress.is_waiting_for_place());
    }

    #[tokio::test]
    async fn ever_new_apps_and_names_do_not_gather() {
        let shares = Shares::default();
        let progress = Progress::start(Stopwatch::start());
        for n in 0..2 * RESOLVED_MAX {
            drop(shares.place(&progress, &n.to_string(), "n.test").await);
            shares.note_resolved(&format!("n{n}.test"));
        }
        assert!(shares.apps.lock().expect("no panic").len() <= 2);
        assert!(shares.resolved.lock().expect("no panic").len() <= RESOLVED_MAX);
    }
}
