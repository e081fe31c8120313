//! An outage of our own: saying so once, and giving back what it had charged.

use super::Shift;
use super::turn::Refunded;
use crate::clock::Stopwatch;
use crate::store::{ChargedAttempt, StoreError};

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct Weather {
    /// Since when there is an outage, as far as it has been told.
    outage: Option<Stopwatch>,
    /// To be given back once they are in the log.
    not_logged_yet: Vec<ChargedAttempt>,
}

impl Shift {
    /// Says when an outage has begun or ended.
    pub(super) fn tell_of_outage(&mut self) {
        let state = self.floor.lock();
        let is_on = state.outage.is_on();
        if is_on == self.weather.outage.is_some() {
            return;
        }
        let origins = state.outage.unreached();
        drop(state);
        self.desk.observer.own_outage(is_on);
        match self.weather.outage.take() {
            None => {
                tracing::error!(
                    origins,
                    "an outage of our own: no merchant can be reached, so failures are not charged to them; \
                     is the network up, the resolver, the firewall, the proxy?"
                );
                self.weather.outage = Some(Stopwatch::start());
            }
            Some(since) => tracing::warn!(
                seconds = since.elapsed().as_secs(),
                "the outage of our own is over; deliveries go on"
            ),
        }
    }

    /// An attempt that the store had refused is in the log: perhaps it was to be given back.
    pub(super) fn insisted(&mut self) {
        let attempts = std::mem::take(&mut self.weather.not_logged_yet);
        self.floor.lock().outage.refund_later(attempts);
    }

    /// Some attempts of the outage's first minute were taken from the merchants' accounts.
    pub(super) fn refunded(&mut self, refunded: Refunded) -> Result<(), StoreError> {
        let Refunded { attempts, unknown } = refunded;
        match unknown {
            Ok(unknown) => {
                tracing::warn!(
                    attempts = attempts.len() - unknown.len(),
                    "attempts charged at the beginning of an outage of our own were given back"
                );
                // Those that the store takes alone, or not at all, are still on their way to it.
                // To ask for them before one of those has come back would be to ask all the time.
                if self.insisting > 0 {
                    self.weather.not_logged_yet.extend(unknown);
                }
                // Callbacks that are due sooner now are in no hint yet.
                self.surveying.ask();
                Ok(())
            }
            Err(error) => {
                self.floor.lock().outage.refund_later(attempts);
                self.store_failed(error, "give attempts back")
            }
        }
    }
}
