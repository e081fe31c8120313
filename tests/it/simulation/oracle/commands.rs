//! What operators have asked for by `operator_command`, and whether it was right to do it, or not.

use std::collections::{BTreeMap, BTreeSet};

use super::{Callback, Oracle, State};
use crate::simulation::operation::{Asked, Chosen};
use crate::simulation::records::{Answer, Item};

/// Resends per second that each command asks for.
pub(in crate::simulation) const RATE: i64 = 2;

/// A command as it was asked for.
#[derive(Debug)]
pub(super) struct Command {
    asked: Asked,
    chosen: Selected,
    acknowledged: bool,
    dry_run: bool,
    /// What it is known to have done so far.
    done: BTreeSet<i64>,
    /// It was right at some time to leave its one row as it was.
    may_skip: bool,
    is_answered: bool,
}

/// Which callbacks a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Selected {
    Row(i64),
    App(&'static str),
}

impl Callback {
    fn was_acknowledged(&self) -> bool {
        self.state == State::Delivered
            || self.log.iter().any(|entry| entry.outcome == "acknowledged")
    }
}

impl Command {
    /// Whether it is right that it leaves this callback as it is, when its turn is `latest`.
    fn may_skip(&self, callback: &Callback, latest: i64) -> bool {
        match self.asked {
            Asked::Resend => {
                let acknowledged = callback.was_acknowledged() && !self.acknowledged;
                let is_due = callback.due.iter().any(|due| *due <= latest);
                acknowledged
                    || (callback.state == State::Pending && callback.counted == 0 && is_due)
            }
            Asked::Cancel => callback.state != State::Pending,
        }
    }

    /// When a resend may be due: in its turn, whichever that is.
    fn turns(&self, started_at: i64) -> Vec<i64> {
        let turns = i64::try_from(self.done.len()).expect("few") + 1;
        (0..turns).map(|n| started_at + n * 1000 / RATE).collect()
    }
}

impl Selected {
    /// What `which` means now.
    pub(in crate::simulation) fn of(oracle: &Oracle, chosen: Chosen) -> Option<Self> {
        let ids = oracle.ids();
        match chosen {
            Chosen::Row(which) => {
                let at = usize::from(which).checked_rem(ids.len())?;
                Some(Self::Row(ids[at]))
            }
            Chosen::App(app) => {
                let apps = crate::simulation::order::APPS;
                Some(Self::App(apps[usize::from(app) % apps.len()]))
            }
        }
    }
}

impl Oracle {
    /// An operator has written row `id` of `operator_command`.
    pub(in crate::simulation) fn commanded(
        &mut self,
        id: i64,
        asked: Asked,
        chosen: Selected,
        acknowledged: bool,
        dry_run: bool,
    ) {
        let command = Command {
            asked,
            chosen,
            acknowledged,
            dry_run,
            done: BTreeSet::new(),
            may_skip: false,
            is_answered: false,
        };
        self.commands.insert(id, command);
    }

    /// The commands whose answer is not known yet.
    pub(in crate::simulation) fn open_commands(&self) -> Vec<i64> {
        let open = self.commands.iter().filter(|(_, its)| !its.is_answered);
        open.map(|(id, _)| *id).collect()
    }

    /// The row that a command is about, if it is one.
    pub(in crate::simulation) fn subject(&self, id: i64) -> Option<i64> {
        match self.commands[&id].chosen {
            Selected::Row(row) => Some(row),
            Selected::App(_) => None,
        }
    }

    /// What a search has found to be left alone is not looked at again. So it is right if it was
    /// right at some time between the question and the answer.
    pub(in crate::simulation) fn judge_skip(&mut self, id: i64, now: i64) {
        let row = self.subject(id);
        if let Some(callback) = row.and_then(|row| self.callbacks.get(&row)) {
            let may_skip = self.commands[&id].may_skip(callback, now);
            let command = self.commands.get_mut(&id).expect("it was there");
            command.may_skip |= may_skip;
        }
    }

    /// Takes up how far command `id` has come. What the log has of `items` is taken up already.
    pub(in crate::simulation) fn carried_out(
        &mut self,
        id: i64,
        answer: &Answer,
        items: &BTreeMap<i64, Item>,
    ) {
        let Some(mut command) = self.commands.remove(&id) else {
            return;
        };
        for (row, item) in items {
            if item.what == "awaited" || item.what == "skipped" || !command.done.insert(*row) {
                continue;
            }
            if let Err(wrong) = self.touched(&command, *row, answer, item) {
                self.violation(format!("command {id}, row {row}: {wrong}"));
            }
        }
        if answer.finished_at.is_some() && !command.is_answered {
            command.is_answered = true;
            if let Err(wrong) = self.answered(&command, answer) {
                self.violation(format!("command {id} was answered {answer:?}: {wrong}"));
            }
        }
        self.commands.insert(id, command);
    }

    fn touched(
        &mut self,
        command: &Command,
        row: i64,
        answer: &Answer,
        item: &Item,
    ) -> Result<(), String> {
        let started_at = answer.started_at.ok_or("it has not begun")?;
        let callback = self.callbacks.get_mut(&row).ok_or("it is not there")?;
        let is_chosen = match command.chosen {
            Selected::Row(chosen) => chosen == row,
            Selected::App(app) => callback.order.app == app,
        };
        if !is_chosen || command.dry_run {
            return Err(format!("{item:?} was not asked for"));
        }
        if callback.current_lease().is_some() {
            return Err(format!("{item:?} while it is in flight"));
        }
        let kind = match (item.what.as_str(), command.asked) {
            ("resent", Asked::Resend) => {
                if callback.was_acknowledged() && !command.acknowledged {
                    return Err("it is acknowledged, and was resent".to_owned());
                }
                let turns = command.turns(started_at);
                let due = match callback.state {
                    State::Pending => turns
                        .iter()
                        .flat_map(|turn| callback.due.iter().map(|due| *due.min(turn)))
                        .collect(),
                    _ => turns,
                };
                callback.due = due;
                callback.due_until = None;
                callback.state = State::Pending;
                callback.counted = 0;
                callback.finished_at = None;
                "resent by a command"
            }
            ("cancelled", Asked::Cancel) => {
                if callback.state != State::Pending {
                    return Err(format!(
                        "it is {}, and was cancelled",
                        callback.state.as_str()
                    ));
                }
                callback.state = State::Cancelled;
                callback.due.clear();
                callback.due_until = None;
                callback.finished_at = Some(item.at);
                "cancelled by a command"
            }
            (what, asked) => return Err(format!("{what} for a {asked:?}")),
        };
        *self.logged.entry(kind.to_owned()).or_default() += 1;
        Ok(())
    }

    fn answered(&self, command: &Command, answer: &Answer) -> Result<(), String> {
        let done = i64::try_from(command.done.len()).expect("few");
        if answer.status != "done" || answer.selected != answer.done + answer.skipped {
            return Err("its sums are wrong".to_owned());
        }
        if !command.dry_run && answer.done != done {
            return Err(format!("{done} callbacks are known"));
        }
        let Selected::Row(row) = command.chosen else {
            return Ok(());
        };
        let callback = &self.callbacks[&row];
        match (answer.done, answer.skipped) {
            (1, 0) => Ok(()),
            _ if callback.pruned => Ok(()),
            (0, 1) if command.may_skip => Ok(()),
            (0, 1) => Err(format!("row {row} is {}", callback.state.as_str())),
            _ => Err(format!("it was about row {row} alone")),
        }
    }

    /// In the end every command has its answer.
    pub(in crate::simulation) fn expect_all_answered(&mut self) {
        for id in self.open_commands() {
            self.violation(format!("command {id} has no answer"));
        }
    }
}
