//! What the loop knows of the queue: polls for new rows, and surveys of all endpoints.
//!
//! At most one of each is under way. Both tell the scheduler; neither claims anything.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::domain::CallbackId;
use crate::store::{Arrivals, Endpoint, Survey};

/// Between two surveys of all endpoints: finds what was changed by plain SQL without a notice.
const SURVEY_EVERY: Duration = Duration::from_secs(30);

/// The least time between two surveys that others' commits have asked for.
const SURVEY_PAUSE: Duration = Duration::from_secs(1);

/// Endpoints read by one step of a survey, and rows by one poll.
pub(super) const ROWS_MAX: usize = 512;

/// See the module.
pub(super) struct Discovery {
    /// Rows above it are new.
    newest: CallbackId,
    is_polling: bool,
    /// There is reason for another poll after the one under way.
    polls_again: bool,
    is_surveying: bool,
    /// The endpoint after which the next step of the survey begins.
    cursor: Option<Endpoint>,
    since_survey: Stopwatch,
    wants_survey: bool,
}

impl Discovery {
    pub(super) fn beyond(newest: CallbackId) -> Self {
        Self {
            newest,
            is_polling: false,
            polls_again: false,
            is_surveying: false,
            cursor: None,
            since_survey: Stopwatch::start(),
            wants_survey: false,
        }
    }

    /// ClaimRequests a survey soon.
    pub(super) const fn ask_for_survey(&mut self) {
        self.wants_survey = true;
    }

    /// Begins a poll for rows above the id returned. `None`: one is under way and will be repeated.
    pub(super) const fn begin_poll(&mut self) -> Option<CallbackId> {
        self.polls_again = self.is_polling;
        if self.is_polling {
            return None;
        }
        self.is_polling = true;
        Some(self.newest)
    }

    /// A poll has ended. Returns whether there is reason for another one.
    pub(super) fn end_poll(&mut self, arrivals: Option<&Arrivals>) -> bool {
        self.is_polling = false;
        let Some(arrivals) = arrivals else {
            return false;
        };
        self.newest = arrivals.newest.unwrap_or(self.newest);
        self.wants_survey |= arrivals.changed_elsewhere;
        std::mem::take(&mut self.polls_again) || arrivals.more
    }

    pub(super) fn is_survey_due(&self) -> bool {
        let since = self.since_survey.elapsed();
        since >= SURVEY_EVERY || (self.wants_survey && since >= SURVEY_PAUSE)
    }

    /// Begins the next step of a survey, after the endpoint returned, or the first step of a new one.
    /// `None`: a step is under way.
    pub(super) fn begin_survey(&mut self) -> Option<Option<Endpoint>> {
        if self.is_surveying {
            return None;
        }
        self.is_surveying = true;
        if self.cursor.is_none() {
            self.wants_survey = false;
            self.since_survey = Stopwatch::start();
        }
        Some(self.cursor.clone())
    }

    /// A step of a survey has ended. Returns whether it was the last one.
    pub(super) fn end_survey(&mut self, step: Option<&Survey>) -> bool {
        self.is_surveying = false;
        let Some(step) = step else {
            return false;
        };
        self.cursor.clone_from(&step.next);
        self.cursor.is_none()
    }
}
