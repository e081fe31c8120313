//! An app's connections to one origin.
//!
//! Invariants:
//!
//! - A connection serves one app, and one address of one origin.
//! - A pool ends after [`AGE_MAX`], and with the first exchange that is not acknowledged: what comes then
//!   is looked up and connected again. So a merchant's move is noticed, a server that is going away gets no
//!   more requests, and what an answer that refuses leaves behind on its connection is never read as the next one.
//! - Exchanges that are under way end on the connections that they have. One of them may have waited for a connection
//!   and been given that of an exchange that is not acknowledged: what comes along it is not taken for an answer
//!   ([`Pool::is_spoiled`]).
//!
//! Not prevented: a server that answers one request twice, first with an acknowledgement, has its second answer taken
//! for that of the next request. HTTP/1.1 has nothing that tells them apart.
//!
//! Absent: a task that closes pools. hyper closes idle connections by itself, and a pool's connections go
//! with its last exchange.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use url::Position;

use super::progress::Ends;
use super::route::Route;
use crate::clock::Stopwatch;
use crate::delivery::egress::Target;

/// How long connections are taken again.
pub(super) const AGE_MAX: Duration = Duration::from_secs(45);

/// Bounded, so that unique origins cannot exhaust memory.
const POOLS_MAX: usize = 4096;

/// An app's connections to one origin.
#[derive(Debug)]
pub(super) struct Pool {
    app_id: Box<str>,
    origin: Box<str>,
    age: Stopwatch,
    is_retired: AtomicBool,
    /// The connections of exchanges that are not acknowledged.
    spoiled: Mutex<Vec<Ends>>,
    /// Known when the name is resolved.
    routes: OnceLock<Routes>,
}

impl Pool {
    fn new(app_id: &str, origin: &str) -> Self {
        Self {
            app_id: app_id.into(),
            origin: origin.into(),
            age: Stopwatch::start(),
            is_retired: AtomicBool::new(false),
            spoiled: Mutex::default(),
            routes: OnceLock::new(),
        }
    }

    /// Whether an exchange of `app_id` with `target` may begin on it.
    pub(super) fn serves(&self, app_id: &str, target: &Target) -> bool {
        *self.app_id == *app_id && *self.origin == *origin(target) && self.is_open()
    }

    fn is_open(&self) -> bool {
        !self.is_retired.load(Ordering::Acquire) && self.age.elapsed() < AGE_MAX
    }

    /// No exchange begins on it any more.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// The same; and what may still come along the connection with these ends is no answer to a later request.
    pub(super) fn spoil(&self, ends: Option<Ends>) {
        let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        spoiled.extend(ends);
        drop(spoiled);
        self.retire();
    }

    /// Whether an exchange on the connection with these ends was not acknowledged.
    pub(super) fn is_spoiled(&self, ends: Ends) -> bool {
        let spoiled = || self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_retired.load(Ordering::Acquire) && spoiled().contains(&ends)
    }

    /// The ways to the origin, if it was resolved.
    pub(super) fn routes(&self) -> Option<&Routes> {
        self.routes.get()
    }

    /// Notes the ways to the origin; exchanges that have resolved it at the same time share those of the
    /// first.
    pub(super) fn resolved(&self, routes: impl FnOnce() -> Routes) -> &Routes {
        self.routes.get_or_init(routes)
    }
}

/// The ways to an origin, one for each address.
#[derive(Debug)]
pub(super) struct Routes {
    routes: Vec<Arc<Route>>,
    /// The one that came to a connection last.
    preferred: AtomicUsize,
}

impl Routes {
    pub(super) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self {
            routes: routes.into_iter().map(Arc::new).collect(),
            preferred: AtomicUsize::new(0),
        }
    }

    /// In the order in which they should be tried.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Arc<Route>> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let others = self.routes.iter().enumerate();
        let others = others.filter(move |(index, _)| *index != preferred);
        let first = self.routes.get(preferred);
        first.into_iter().chain(others.map(|(_, route)| route))
    }

    /// Tries `route` first from now on.
    pub(super) fn prefer(&self, route: &Arc<Route>) {
        let index = self.routes.iter().position(|one| Arc::ptr_eq(one, route));
        self.preferred.store(index.unwrap_or(0), Ordering::Relaxed);
    }

    /// The addresses in the order in which they should be tried.
    pub(super) fn addresses(&self) -> Vec<Option<IpAddr>> {
        self.in_order().map(|route| route.address()).collect()
    }
}

/// The pools of a transport.
#[derive(Debug, Default)]
pub(super) struct Pools {
    open: Mutex<HashMap<String, Arc<Pool>>>,
}

impl Pools {
    /// The open pool of `app_id` and the origin of `target`, or a new one.
    pub(super) fn pool(&self, app_id: &str, target: &Target) -> Arc<Pool> {
        let key = format!("{app_id}\n{}", origin(target));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = open.get(&key).filter(|pool| pool.is_open()) {
            return Arc::clone(pool);
        }
        if open.len() >= POOLS_MAX {
            open.retain(|_, pool| pool.is_open());
            if open.len() >= POOLS_MAX {
                open.clear();
            }
        }
        let pool = Arc::new(Pool::new(app_id, origin(target)));
        open.insert(key, Arc::clone(&pool));
        pool
    }
}

/// Scheme, host and port as they stand in the URL, which is parsed and so has one spelling.
pub(super) fn origin(target: &Target) -> &str {
    &target.url[..Position::BeforePath]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::egress::Policy;

    fn target(url: &str) -> Target {
        Policy::default().check_url(url).expect("allowed")
    }

    #[test]
    fn a_pool_is_of_one_app_and_one_origin() {
        let pools = Pools::default();
        let shop = target("https://shop.example/callback?order=1");
        let pool = pools.pool("6", &shop);
        let again = target("https://SHOP.example:443/other");
        assert!(Arc::ptr_eq(&pool, &pools.pool("6", &again)));
        assert!(pool.serves("6", &again));
        for (app_id, url) in [
            ("7", "https://shop.example/"),
            ("6", "https://shop.example:444/"),
            ("6", "https://www.shop.example/"),
        ] {
            let other = target(url);
            assert!(!pool.serves(app_id, &other), "{app_id} {url}");
            assert!(!Arc::ptr_eq(&pool, &pools.pool(app_id, &other)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_ends_when_it_is_retired_or_old() {
        let pools = Pools::default();
        let shop = target("https://shop.example/");
        let first = pools.pool("6", &shop);
        first.retire();
        let second = pools.pool("6", &shop);
        assert!(!first.serves("6", &shop) && second.serves("6", &shop));
        tokio::time::advance(AGE_MAX).await;
        assert!(!second.serves("6", &shop));
        assert!(pools.pool("6", &shop).serves("6", &shop));
    }

    #[test]
    fn ever_new_origins_do_not_gather() {
        let pools = Pools::default();
        for n in 0..2 * POOLS_MAX {
            pools.pool("6", &target(&format!("https://n{n}.example/")));
        }
        let open = pools.open.lock().expect("nobody panics under it").len();
        assert!((1..=POOLS_MAX).contains(&open), "{open}");
    }
}
