//! Which of the other dispatchers live, judged by this host's own steady clock.
//!
//! A dispatcher lives as long as its heartbeats change. Their times are not compared with any clock,
//! so that setting the server's clock, or this host's, makes nobody look dead. Pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::BootStopwatch;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Members {
    seen: HashMap<i64, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// As it stands in the table; only whether it changes matters.
    heartbeat: i64,
    /// Since this was seen for the first time.
    since: BootStopwatch,
    /// Whether its row is in the table.
    is_listed: bool,
    /// Whether its heartbeat was old already when this dispatcher came.
    was_silent: bool,
    /// Whether nothing is in flight under its leases any more. It can't claim as long as it is silent.
    is_cleared: bool,
}

/// A row of the table, without the times that it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    pub(super) id: i64,
    pub(super) seen_at: i64,
    /// By the server's clock; looked at once, when a dispatcher is seen for the first time.
    pub(super) age: i64,
}

impl Members {
    /// Takes note of the heartbeats of all others.
    pub(super) fn observe(&mut self, heartbeats: &[Heartbeat], silent: Duration) {
        for seen in self.seen.values_mut() {
            seen.is_listed = false;
        }
        let silent = i64::try_from(silent.as_millis()).unwrap_or(i64::MAX);
        for heartbeat in heartbeats {
            let seen = self.seen.entry(heartbeat.id).or_insert_with(|| Seen {
                heartbeat: heartbeat.seen_at,
                since: BootStopwatch::start(),
                is_listed: true,
                was_silent: heartbeat.age > silent,
                is_cleared: false,
            });
            seen.is_listed = true;
            if seen.heartbeat != heartbeat.seen_at {
                seen.heartbeat = heartbeat.seen_at;
                seen.since = BootStopwatch::start();
                seen.was_silent = false;
                seen.is_cleared = false;
            }
        }
        self.seen
            .retain(|_, seen| seen.is_listed || !seen.is_cleared);
    }

    /// Those whose heartbeat has changed within this time.
    pub(super) fn living(&self, within: Duration) -> impl Iterator<Item = i64> {
        let living = self.seen.iter();
        living
            .filter(move |(_, seen)| seen.since.elapsed() < within)
            .map(|(id, _)| *id)
    }

    /// Those whose heartbeat has not changed for this long, and whose leases have to be taken over.
    pub(super) fn dead(&self, after: Duration) -> Vec<i64> {
        let dead = self.seen.iter();
        dead.filter(|(_, seen)| !seen.is_cleared && seen.since.elapsed() >= after)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Nothing is in flight any more under the leases of a dead one.
    pub(super) fn cleared(&mut self, id: i64) {
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.is_cleared = true;
        }
    }

    /// Those among whom the limits are divided: how many have a lower id than `id`, and all.
    pub(super) fn counted(&self, id: i64, silent: Duration) -> (usize, usize) {
        let counted = self.seen.iter().filter(|(_, seen)| {
            seen.is_listed && !seen.was_silent && seen.since.elapsed() < silent
        });
        counted.fold((0, 0), |(lower, all), (other, _)| {
            (lower + usize::from(*other < id), all + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Duration = Duration::from_secs(10);
    const LEASE: Duration = Duration::from_secs(15);

    fn heartbeat(id: i64, seen_at: i64, age: i64) -> Heartbeat {
        Heartbeat { id, seen_at, age }
    }

    fn living(members: &Members) -> Vec<i64> {
        let mut living: Vec<i64> = members.living(LEASE).collect();
        living.sort_unstable();
        living
    }

    #[tokio::test(start_paused = true)]
    async fn a_dispatcher_lives_while_its_heartbeat_changes_whatever_the_servers_clock_says() {
        let mut members = Members::default();
        let steps = [0, 2_000, 3_602_000, 3_000];
        for seen_at in steps {
            // After the server's clock was set forwards, the age is an hour.
            let heartbeats = [heartbeat(1, seen_at, 3_600_000), heartbeat(2, 7, 0)];
            members.observe(&heartbeats, SILENT);
            tokio::time::advance(Duration::from_secs(6)).await;
        }
        assert_eq!(living(&members), [1], "2 has not changed for 24 s");
        assert_eq!(members.counted(3, SILENT), (1, 1));
        tokio::time::advance(LEASE).await;
        assert!(living(&members).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dispatcher_that_was_silent_before_is_not_counted_but_given_the_time_of_a_lease() {
        let mut members = Members::default();
        members.observe(&[heartbeat(1, 5, 11_000)], SILENT);
        assert_eq!(members.counted(2, SILENT), (0, 0));
        assert_eq!(living(&members), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dispatcher_whose_row_is_deleted_lives_on_for_the_time_of_a_lease() {
        let mut members = Members::default();
        members.observe(&[heartbeat(1, 5, 0)], SILENT);
        members.observe(&[], SILENT);
        assert_eq!(members.counted(2, SILENT), (0, 0));
        assert_eq!(living(&members), [1]);
        tokio::time::advance(LEASE).await;
        assert!(living(&members).is_empty());
        assert_eq!(members.dead(LEASE), [1]);
        members.cleared(1);
        assert!(members.dead(LEASE).is_empty());
        members.observe(&[], SILENT);
        assert!(members.seen.is_empty());
    }
}
