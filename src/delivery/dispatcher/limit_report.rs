//! What has been learned of the origins, for the metrics and, as far as limits have fallen, for people.

use std::sync::Arc;
use std::time::Duration;

use super::{DispatchLoop, TaskResult};
use crate::store::{LoweredLimit, StoreError};

/// Between two reports.
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LimitReport {
    /// By the steady clock.
    last: Option<Duration>,
    /// What the store knows. `None`: perhaps what an earlier dispatcher has left.
    noted: Option<Vec<LoweredLimit>>,
}

impl DispatchLoop {
    /// At its time, and if the store is well.
    pub(super) fn report_limits(&mut self) {
        let at = self.context.clock.moment();
        let last = self.limit_report.last;
        let is_due = last.is_none_or(|last| at.steady.saturating_sub(last) >= REPORT_EVERY);
        if !is_due || self.is_resting() || self.drain.is_under_way() {
            return;
        }
        self.limit_report.last = Some(at.steady);
        let state = self.shared.lock();
        let limits = state.limits(at);
        let all = state.scheduler.learned_limits(limits);
        let lowered = state.scheduler.lowered_limits(limits);
        drop(state);
        self.context.observer.learned_limits(&all);
        if self.limit_report.noted.as_ref() == Some(&lowered) {
            return;
        }
        // Until the store has answered, nobody knows what it knows.
        self.limit_report.noted = None;
        let queue = Arc::clone(&self.context.queue);
        self.tasks.spawn(async move {
            let noted = queue.note_lowered_limits(lowered.clone()).await;
            TaskResult::LimitsNoted(noted.map(|()| lowered))
        });
    }

    pub(super) fn on_limits_noted(&mut self, noted: Result<Vec<LoweredLimit>, StoreError>) {
        match noted {
            Ok(lowered) => self.limit_report.noted = Some(lowered),
            // Nothing depends on it, and the next report tries again.
            Err(error) => tracing::debug!(%error, "learned limits can't be noted now"),
        }
    }
}
