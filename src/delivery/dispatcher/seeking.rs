//! The tasks that find out what there is to do: polls, surveys, operators' commands.

use std::sync::Arc;

use super::discovery::ROWS_MAX;
use super::{DispatchLoop, TaskResult};
use crate::store::{Arrivals, CarriedOut, EndpointDue, StoreError, Survey};

impl DispatchLoop {
    pub(super) fn poll(&mut self) {
        if let Some(newest) = self.discovery.begin_poll() {
            let queue = Arc::clone(&self.context.queue);
            self.tasks
                .spawn(async move { TaskResult::Polled(queue.arrivals(newest, ROWS_MAX).await) });
        }
    }

    pub(super) fn on_new_rows(
        &mut self,
        arrivals: Result<Arrivals, StoreError>,
    ) -> Result<(), StoreError> {
        let polls_again = self.discovery.end_poll(arrivals.as_ref().ok());
        let arrivals = match arrivals {
            Ok(arrivals) => arrivals,
            Err(error) => return self.store_failed(error, "poll for new rows"),
        };
        self.all_due(arrivals.due);
        if arrivals.has_commands {
            self.carry_out();
        }
        if polls_again {
            self.poll();
        }
        self.survey_if_due();
        Ok(())
    }

    pub(super) fn survey_if_due(&mut self) {
        if std::mem::take(&mut self.shared.lock().wants_survey) {
            self.discovery.ask_for_survey();
        }
        if self.discovery.is_survey_due() {
            self.survey();
        }
    }

    pub(super) fn survey(&mut self) {
        if let Some(cursor) = self.discovery.begin_survey() {
            let queue = Arc::clone(&self.context.queue);
            self.tasks
                .spawn(async move { TaskResult::Surveyed(queue.survey(cursor, ROWS_MAX).await) });
        }
    }

    pub(super) fn on_surveyed(
        &mut self,
        found: Result<Survey, StoreError>,
    ) -> Result<(), StoreError> {
        let is_last = self.discovery.end_survey(found.as_ref().ok());
        match found {
            Ok(found) => self.all_due(found.due),
            Err(error) => return self.store_failed(error, "survey the endpoints"),
        }
        if is_last {
            let at = self.context.clock.moment();
            self.shared.lock().scheduler.forget(at);
        } else {
            self.survey();
        }
        Ok(())
    }

    pub(super) fn all_due(&self, due: Vec<EndpointDue>) {
        let mut state = self.shared.lock();
        let limits = state.limits(self.context.clock.moment());
        for due in due {
            state.became_due(due, limits);
        }
    }

    /// Carries out the next part of what operators have asked for, unless one is under way.
    fn carry_out(&mut self) {
        if self.drain.is_under_way() || !self.commands.begin() {
            return;
        }
        let queue = Arc::clone(&self.context.queue);
        let now = self.context.clock.now();
        let post = Arc::clone(&self.policies.borrow().post);
        self.tasks.spawn(async move {
            let check_url = |url: &str| post.check_url(url);
            TaskResult::CarriedOut(queue.carry_out(now, &check_url).await)
        });
    }

    pub(super) fn on_carried_out(&mut self, carried_out: Result<CarriedOut, StoreError>) {
        let is_more = self.commands.end(&carried_out);
        if let Ok(carried_out) = carried_out {
            self.all_due(carried_out.due);
        }
        if is_more {
            self.carry_out();
        }
    }
}
