//! Says once when an outage of our own has begun, and once when it has ended.

use crate::clock::Stopwatch;
use crate::delivery::observer::Observer;
use crate::delivery::shared::Shared;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OutageReport {
    /// Since the beginning of an outage was reported.
    outage: Option<Stopwatch>,
}

impl OutageReport {
    pub(super) fn update(&mut self, shared: &Shared, observer: &dyn Observer) {
        let state = shared.lock();
        let is_on = state.outage.is_on();
        if is_on == self.outage.is_some() {
            return;
        }
        let apps = state.outage.unreached();
        drop(state);
        observer.own_outage(is_on);
        match self.outage.take() {
            None => {
                tracing::error!(
                    apps,
                    "an outage of our own: no merchant can be reached, so failures are not charged to them; \
                     is the network up, the resolver, the firewall, the proxy?"
                );
                self.outage = Some(Stopwatch::start());
            }
            Some(since) => tracing::warn!(
                seconds = since.elapsed().as_secs(),
                "the outage of our own is over; deliveries go on"
            ),
        }
    }
}
