//! The model against the database, and what the simulation asks the model.

use std::collections::{BTreeMap, BTreeSet};

use super::{Callback, Oracle, State};
use crate::simulation::posts::Fate;
use crate::simulation::records::{Logged, Stored};

impl Oracle {
    /// Compares all that there is.
    pub(in crate::simulation) fn compare(
        &mut self,
        rows: &BTreeMap<i64, Stored>,
        log: &BTreeMap<i64, Vec<Logged>>,
    ) {
        let mut found = Vec::new();
        for (id, callback) in &mut self.callbacks {
            let logged = log.get(id).map_or(&[][..], Vec::as_slice);
            match (rows.get(id), callback.pruned) {
                (None, true) if logged.is_empty() => {}
                (None, true) => found.push(format!("row {id} is pruned, its attempts are not")),
                (Some(_), true) => found.push(format!("row {id} has come back")),
                (None, false) => found.push(format!("row {id} is absent")),
                (Some(row), false) => {
                    if let Err(wrong) = callback.agrees_with(row, logged) {
                        found.push(format!("row {id}: {wrong}"));
                    }
                }
            }
        }
        let is_known = |id: &&i64| self.callbacks.contains_key(id);
        for id in rows.keys().chain(log.keys()).filter(|id| !is_known(id)) {
            found.push(format!("row {id} was queued by nobody"));
        }
        self.violations.append(&mut found);
    }

    /// With a store that has been well for a while, what was answered is in the log.
    pub(in crate::simulation) fn expect_all_recorded(&mut self) {
        let mut found = Vec::new();
        for (id, callback) in &self.callbacks {
            let posts = callback.leases.iter().filter_map(|lease| lease.post);
            for post in posts.map(|number| &self.posts[number]) {
                if let Fate::Ended { reply, .. } = post.fate {
                    found.push(format!("row {id}: {reply:?} is not recorded"));
                }
            }
        }
        self.violations.append(&mut found);
    }

    /// After a stop that has cut nothing off, nothing is in flight.
    pub(in crate::simulation) fn expect_nothing_in_flight(&mut self) {
        let in_flight = |(_, callback): &(&i64, &Callback)| callback.current_lease().is_some();
        let found = self.callbacks.iter().find(in_flight).map(|(id, _)| *id);
        if let Some(id) = found {
            self.violation(format!("row {id} is in flight after a complete drain"));
        }
    }

    /// Rows that pruning must remove: finished before `before`.
    pub(in crate::simulation) fn outdated(&self, before: i64) -> Vec<i64> {
        let is_outdated = |callback: &Callback| {
            !callback.pruned && callback.finished_at.is_some_and(|at| at < before)
        };
        let found = self
            .callbacks
            .iter()
            .filter(|(_, callback)| is_outdated(callback));
        found.map(|(id, _)| *id).collect()
    }

    pub(in crate::simulation) fn pruned(&mut self, id: i64) {
        if let Some(callback) = self.callbacks.get_mut(&id) {
            callback.pruned = true;
        }
    }

    /// The rows that are there.
    pub(in crate::simulation) fn ids(&self) -> Vec<i64> {
        let there = self
            .callbacks
            .iter()
            .filter(|(_, callback)| !callback.pruned);
        there.map(|(id, _)| *id).collect()
    }

    /// Those among them that a gateway could have queued.
    pub(in crate::simulation) fn readable_ids(&self) -> Vec<i64> {
        let mut ids = self.ids();
        ids.retain(|id| self.callbacks[id].readable);
        ids
    }

    /// Pending rows that can be read and whose app has a key: a healthy merchant gets them.
    pub(in crate::simulation) fn deliverable(&self, now: i64) -> BTreeSet<i64> {
        let newest = self
            .generations
            .last()
            .expect("the first is there from the start");
        let is_deliverable = |callback: &Callback| {
            callback.state == State::Pending
                && callback.readable
                && newest.key(callback.order.app, now).is_some()
        };
        let found = self
            .callbacks
            .iter()
            .filter(|(_, callback)| is_deliverable(callback));
        found.map(|(id, _)| *id).collect()
    }

    /// The earliest moment at which one of `ids` is due that is not in flight.
    pub(in crate::simulation) fn next_due(&self, ids: &BTreeSet<i64>) -> Option<i64> {
        let all = ids.iter().map(|id| &self.callbacks[id]);
        moments(all).min()
    }

    /// The earliest moment after `now` at which a row is due that is not in flight.
    pub(in crate::simulation) fn next_due_after(&self, now: i64) -> Option<i64> {
        moments(self.callbacks.values())
            .filter(|due| *due > now)
            .min()
    }

    pub(in crate::simulation) fn state(&self, id: i64) -> State {
        self.callbacks[&id].state
    }

    /// How many attempts are in the log, or were before they were pruned.
    pub(in crate::simulation) fn attempts(&self) -> u64 {
        let all = self.callbacks.values().map(|callback| callback.log.len());
        u64::try_from(all.sum::<usize>()).expect("few")
    }

    /// How many callbacks are in each state.
    pub(in crate::simulation) fn states(&self) -> BTreeMap<State, u64> {
        let mut states = BTreeMap::new();
        for callback in self.callbacks.values() {
            *states.entry(callback.state).or_default() += 1;
        }
        states
    }
}

/// When those are due that are not in flight.
fn moments<'a>(callbacks: impl Iterator<Item = &'a Callback>) -> impl Iterator<Item = i64> {
    callbacks
        .filter(|callback| callback.current_lease().is_none())
        .flat_map(|callback| callback.due.iter().copied())
}

impl Callback {
    fn may_be_due(&self, moment: i64) -> bool {
        let is_between = |until: i64| self.due.iter().all(|due| *due <= moment) && moment <= until;
        self.due.contains(&moment) || self.due_until.is_some_and(is_between)
    }

    fn agrees_with(&mut self, row: &Stored, logged: &[Logged]) -> Result<(), String> {
        if self.log != logged {
            return Err(format!("the log is {logged:?}\nand not {:?}", self.log));
        }
        if self.readable && row.gateway != self.order.columns() {
            return Err(format!("the gateway's columns are {:?}", row.gateway));
        }
        // What the terms left open is decided now.
        if let Some(due) = row.next_attempt_at
            && self.may_be_due(due)
        {
            self.due = vec![due];
        }
        self.due_until = None;
        let lease = self.current_lease();
        let expected = Stored {
            gateway: row.gateway.clone(),
            state: self.state.as_str().to_owned(),
            attempts: i64::try_from(self.counted).expect("few"),
            next_attempt_at: self.due.first().copied(),
            leased_at: lease.map(|lease| lease.claimed_at),
            attempt_seq: i64::try_from(self.log.len()).expect("few"),
            last_outcome: self.last_outcome.clone(),
            finished_at: self.finished_at,
        };
        if *row != expected {
            return Err(format!("it is {row:?}\nand not {expected:?}"));
        }
        Ok(())
    }
}
