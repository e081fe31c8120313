//! What the database holds, what the merchants know and what the processes remember.

use super::rules::Breach;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum RowState {
    Pending,
    Delivered,
    Exhausted,
    /// Deleted after its retention.
    Pruned,
}

/// A row of the queue, and what its merchant knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) state: RowState,
    pub(super) attempts: u8,
    /// The lease that stands.
    pub(super) token: Option<u8>,
    /// The process that the token names, where it has not heard of its claim and lives.
    pub(super) unconfirmed_by: Option<usize>,
    /// Rows in the log of attempts.
    pub(super) logged: u8,
    /// Leases that were given back without an attempt.
    pub(super) released: u8,
    /// Acknowledgements that were recorded after their lease was taken over.
    pub(super) late: u8,
    /// Leases given out so far; the next token.
    pub(super) claims: u8,
    /// POSTs that have left for the merchant.
    pub(super) sent: u8,
    /// The merchant has said SUCCESS.
    pub(super) told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    Claimed,
    Sent,
    Heard(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Answer {
    Success,
    Failure,
}

/// An attempt in the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) row: usize,
    pub(super) token: u8,
    pub(super) stage: Stage,
    /// The number of the attempt in the log.
    pub(super) seq: u8,
    /// POSTs that had left for the row when its own had.
    pub(super) sent: u8,
    /// Lapsed by the holder's own clock, which counts from before its last heartbeat was sent, and
    /// so is never later than the others'. For good: others may have had the row in between.
    pub(super) lapsed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Phase {
    Down,
    /// Has the lock; has not yet ended what its forerunner left in flight.
    Starting,
    Running,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) phase: Phase,
    /// The others have not seen a heartbeat for so long that they take over what it has claimed.
    pub(super) silent: bool,
    pub(super) tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) rows: Vec<Row>,
    pub(super) processes: Vec<Process>,
    pub(super) crashes: u8,
    pub(super) stalls: u8,
    pub(super) unconfirmed: u8,
    pub(super) resends: u8,
    /// Some record came too late and changed nothing.
    pub(super) refused: bool,
    /// The first rule that was broken on the way here.
    pub(super) breach: Option<Breach>,
}

impl State {
    pub(super) fn holders(&self, row: usize, token: u8) -> usize {
        let tasks = self.processes.iter().flat_map(|process| &process.tasks);
        tasks
            .filter(|task| task.row == row && task.token == token)
            .count()
    }

    /// The process that the lease of a row belongs to; `None` if it has died.
    pub(super) fn owner(&self, row: usize) -> Option<usize> {
        let token = self.rows[row].token;
        let mut processes = self.processes.iter();
        let holds = |task: &Task| task.row == row && Some(task.token) == token;
        processes
            .position(|process| process.tasks.iter().any(holds))
            .or(self.rows[row].unconfirmed_by)
    }

    /// No lease is held twice, not even a lapsed one.
    pub(super) fn no_lease_is_doubled(&self) -> bool {
        let mut tasks = self.processes.iter().flat_map(|process| &process.tasks);
        tasks.all(|task| self.holders(task.row, task.token) == 1)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.rows.iter().all(|row| row.state != RowState::Pending)
    }

    /// Grows with every step.
    pub(super) fn rank(&self) -> i32 {
        let rows = self.rows.iter().map(|row| {
            let state = match row.state {
                RowState::Pending => 0,
                RowState::Delivered | RowState::Exhausted => 1,
                RowState::Pruned => 2,
            };
            // A task that is gone has come further than any that is there.
            state
                + 2 * i32::from(row.released)
                + 2 * i32::from(row.logged)
                + 4 * i32::from(row.claims)
        });
        let processes = self.processes.iter().map(|process| {
            let phase = match process.phase {
                Phase::Down => 0,
                Phase::Starting => 1,
                Phase::Running => 2,
            };
            phase - i32::from(process.silent)
        });
        let tasks = self.processes.iter().flat_map(|process| &process.tasks);
        let still_to_do = tasks.map(|task| match task.stage {
            Stage::Claimed => 3,
            Stage::Sent => 2,
            Stage::Heard(_) => 1,
        });
        rows.chain(processes).sum::<i32>()
            + 3 * i32::from(self.crashes)
            + 3 * i32::from(self.resends)
            + 2 * i32::from(self.stalls)
            - still_to_do.sum::<i32>()
    }

    /// Rows are alike, and so are processes: of states that differ in their order only, one is
    /// enough.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|row| &self.rows[*row]);
        let tasks = self.processes.iter_mut().flat_map(|it| &mut it.tasks);
        for task in tasks {
            let place = order.iter().position(|row| *row == task.row);
            task.row = place.expect("it is the task of some row");
        }
        self.rows.sort_unstable();
        for process in &mut self.processes {
            process.tasks.sort_unstable();
        }
        let mut order: Vec<usize> = (0..self.processes.len()).collect();
        order.sort_by_key(|process| &self.processes[*process]);
        for owner in self
            .rows
            .iter_mut()
            .filter_map(|row| row.unconfirmed_by.as_mut())
        {
            let place = order.iter().position(|process| process == owner);
            *owner = place.expect("it is some process");
        }
        self.processes.sort_unstable();
    }

    pub(super) fn replace(&mut self, process: usize, old: Task, new: Option<Task>) {
        let tasks = &mut self.processes[process].tasks;
        tasks.retain(|task| *task != old);
        tasks.extend(new);
    }
}
