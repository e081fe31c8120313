//! Finding out what there is to do: looks at new rows, and surveys of all endpoints.
//!
//! At most one of each is under way. Both tell the roster; neither claims anything.

use std::sync::Arc;
use std::time::Duration;

use super::{Back, Shift};
use crate::clock::Stopwatch;
use crate::store::{Arrivals, Endpoint, Survey};

/// Between two surveys of all endpoints: finds what was changed behind our back by plain SQL.
const SURVEY_EVERY: Duration = Duration::from_secs(30);

/// The least time between two surveys that others' commits have asked for.
const SURVEY_PAUSE: Duration = Duration::from_secs(1);

/// Endpoints read by one step of a survey, and rows by one look at arrivals.
const LOOK_MAX: usize = 512;

/// A look at arrivals.
#[derive(PartialEq, Eq)]
pub(super) enum Looking {
    No,
    UnderWay,
    /// Under way, and there is reason for another one.
    Again,
}

/// A survey of all endpoints.
pub(super) struct Surveying {
    pub(super) under_way: bool,
    /// After which endpoint the next step begins.
    cursor: Option<Endpoint>,
    since: Stopwatch,
    asked_for: bool,
}

impl Surveying {
    pub(super) fn none_yet() -> Self {
        Self {
            under_way: false,
            cursor: None,
            since: Stopwatch::start(),
            asked_for: false,
        }
    }
}

impl Surveying {
    /// Wants one soon.
    pub(super) const fn ask(&mut self) {
        self.asked_for = true;
    }
}

impl Shift {
    pub(super) fn look(&mut self) {
        if self.looking != Looking::No {
            self.looking = Looking::Again;
            return;
        }
        self.looking = Looking::UnderWay;
        let queue = Arc::clone(&self.desk.queue);
        let newest = self.newest;
        self.tasks
            .spawn(async move { Back::Looked(queue.arrivals(newest, LOOK_MAX).await) });
    }

    pub(super) fn heard(&mut self, arrivals: Arrivals) {
        let again = self.looking == Looking::Again || arrivals.more;
        self.looking = Looking::No;
        self.all_due(arrivals.due);
        if arrivals.has_commands {
            self.carry_out();
        }
        if let Some(newest) = arrivals.newest {
            self.newest = newest;
        }
        self.surveying.asked_for |= arrivals.changed_elsewhere;
        if again {
            self.look();
        }
        self.survey_if_due();
    }

    pub(super) fn survey_if_due(&mut self) {
        let since = self.surveying.since.elapsed();
        if since >= SURVEY_EVERY || (self.surveying.asked_for && since >= SURVEY_PAUSE) {
            self.survey();
        }
    }

    /// Takes the next step of a survey, or the first of a new one.
    pub(super) fn survey(&mut self) {
        if self.surveying.under_way {
            return;
        }
        self.surveying.under_way = true;
        if self.surveying.cursor.is_none() {
            self.surveying.asked_for = false;
            self.surveying.since = Stopwatch::start();
        }
        let queue = Arc::clone(&self.desk.queue);
        let cursor = self.surveying.cursor.clone();
        self.tasks
            .spawn(async move { Back::Surveyed(queue.survey(cursor, LOOK_MAX).await) });
    }

    pub(super) fn surveyed(&mut self, Survey { due, next }: Survey) {
        self.surveying.under_way = false;
        self.all_due(due);
        self.surveying.cursor = next;
        if self.surveying.cursor.is_none() {
            let now = self.desk.clock.now();
            self.floor.lock().roster.forget(now);
        } else {
            self.survey();
        }
    }
}
