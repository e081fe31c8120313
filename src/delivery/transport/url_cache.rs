//! URLs that were judged before. Most callbacks repeat one, and parsing it costs as much as signing
//! a message.
//!
//! An entry is one policy's judgement, so the cache belongs to one transport. Forbidden URLs are not
//! kept: nothing else is done with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::delivery::egress::Target;

/// Bounded, so that unique URLs cannot exhaust memory.
const KEPT_MAX: usize = 1024;

/// Longer ones are judged each time.
const URL_BYTES_MAX: usize = 512;

#[derive(Debug, Default)]
pub(super) struct UrlCache {
    kept: Mutex<HashMap<Box<str>, Arc<Target>>>,
}

impl UrlCache {
    /// What `judge` said of `url`, now or before.
    pub(super) fn of(
        &self,
        url: &str,
        judge: impl FnOnce(&str) -> Result<Target, String>,
    ) -> Result<Arc<Target>, String> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = kept().get(url) {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(judge(url)?);
        if url.len() <= URL_BYTES_MAX {
            let mut kept = kept();
            if kept.len() == KEPT_MAX {
                kept.clear();
            }
            kept.insert(url.into(), Arc::clone(&target));
        }
        Ok(target)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::delivery::egress::Policy;

    pub(in crate::delivery::transport) fn judge(url: &str) -> Result<Target, String> {
        let policy = Policy::default();
        policy.check_url(url).map_err(|why| why.to_string())
    }

    #[test]
    fn a_url_is_judged_once_and_a_forbidden_one_each_time() {
        let targets = UrlCache::default();
        let good = "https://merchant.example/callback";
        let first = targets.of(good, judge).expect("allowed");
        let again = targets.of(good, |_| Err("judged again".to_owned()));
        assert_eq!(again, Ok(first));
        for _ in 0..2 {
            let forbidden = targets.of("https://127.0.0.1/", judge);
            assert!(forbidden.is_err_and(|why| why.contains("127.0.0.1")));
        }
    }

    #[test]
    fn ever_new_urls_do_not_gather() {
        let targets = UrlCache::default();
        for n in 0..3 * KEPT_MAX {
            let url = format!("https://merchant.example/callback?order={n}");
            let target = targets.of(&url, judge).expect("allowed");
            assert_eq!(target.url.as_str(), url);
        }
        let kept = targets.kept.lock().expect("nobody panics under it").len();
        assert!((1..=KEPT_MAX).contains(&kept), "{kept}");
    }
}
