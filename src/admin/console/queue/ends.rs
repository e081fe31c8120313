//! Outcomes in groups: four that a plot can tell apart, where twelve could not be.

use crate::admin::history::{Period, ends_in};
use crate::domain::Outcome;

/// Outcomes that say the same about whose turn it is.
pub(super) struct Ends {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    outcomes: &'static [Outcome],
}

/// From what is wished for to what is ours to mend.
pub(super) const ENDS: [Ends; 4] = [
    Ends {
        name: "acknowledged",
        class: "good-ends",
        outcomes: &[Outcome::Acknowledged],
    },
    Ends {
        name: "another answer",
        class: "answer-ends",
        outcomes: &[Outcome::Refused, Outcome::Unreadable, Outcome::HttpStatus],
    },
    Ends {
        name: "no answer",
        class: "silent-ends",
        outcomes: &[
            Outcome::Timeout,
            Outcome::Dns,
            Outcome::Connect,
            Outcome::Tls,
            Outcome::Protocol,
        ],
    },
    Ends {
        name: "not sent, or unknown",
        class: "our-ends",
        outcomes: &[Outcome::Blocked, Outcome::Interrupted, Outcome::Unsignable],
    },
];

impl Ends {
    /// How many there were in `period`.
    pub(super) fn count(&self, period: &Period) -> u64 {
        let counts = self
            .outcomes
            .iter()
            .map(|outcome| ends_in(&period.ends, *outcome));
        counts.sum()
    }

    /// How many there were in all of them.
    pub(super) fn total(&self, periods: &[Period]) -> u64 {
        periods.iter().map(|period| self.count(period)).sum()
    }
}
