//! The protocol as a state machine: what each step reads and writes, and nothing of how.
//!
//! Time does not pass here. A retry may be due at once and a lease may lapse at any moment, so
//! whatever the clocks do is among what is tried. Faults come out of [`Faults`], which makes the
//! tree finite; every other step brings the state on ([`State::rank`]), so it has no circles.
//!
//! After every step [`breach`] looks whether a rule was broken by it.

use stateright::{Model, Property};

use super::rules::{Breach, breach};
use super::state::{Answer, Phase, Process, Row, RowState, Stage, State, Task};

/// How several dispatchers are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// SQLite: one at a time, by a lock that dies with its process.
    Lock,
    /// PostgreSQL: all at once, by leases that lapse.
    Leases,
}

/// How often what may go wrong does, over a whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// A process dies, anywhere.
    pub(super) crashes: u8,
    /// A living holder stands still for so long that its lease lapses.
    pub(super) stalls: u8,
    /// The database commits and its answer is lost.
    pub(super) unheard: u8,
    /// Not a fault: an operator opens a new round for a finished row.
    pub(super) resends: u8,
}

/// A part of the protocol that is left out, to see that the checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// `record` asks for a pending row, whoever holds it.
    TokenInRecord,
    /// A second process starts on the same file.
    Lock,
    /// A start leaves the rows in flight as they stand.
    InterruptAtStart,
    /// The POST leaves before its claim is committed.
    ClaimBeforeSend,
    /// An interrupted attempt is charged to the merchant.
    FreeInterruption,
    /// A dispatcher ends leases of others that have not lapsed.
    LapseBeforeTakeover,
    /// A holder sends without looking whether its lease still stands by its own clock; or stands
    /// still between that look and the first byte, which no program can exclude.
    LookBeforeSend,
}

/// The protocol, and how much of it is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    pub(super) sharing: Sharing,
    pub(super) processes: usize,
    pub(super) rows: usize,
    /// Counted attempts in a round.
    pub(super) attempts_max: u8,
    pub(super) faults: Faults,
    pub(super) omission: Option<Omission>,
}

/// `process`, then what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Start(usize),
    InterruptInFlight(usize),
    /// Committed, and the process knows.
    Claim(usize, usize),
    /// Committed, and the answer is lost.
    ClaimUnheard(usize),
    Send(usize, Task),
    Answer(usize, Task, Answer),
    /// The merchant says SUCCESS, and the dispatcher does not hear it.
    AnswerLost(usize, Task),
    Record(usize, Task),
    /// Committed, the answer is lost, and so it will be tried again.
    RecordUnheard(usize, Task),
    Lapse(usize),
    Renew(usize, Task),
    /// Ends a lapsed lease as an interrupted attempt.
    TakeOver(usize),
    Crash(usize),
    Prune(usize),
    Resend(usize),
}

impl Protocol {
    fn omits(&self, omission: Omission) -> bool {
        self.omission == Some(omission)
    }

    fn lacks(&self, omission: Omission) -> bool {
        !self.omits(omission)
    }

    fn steps_of_task(&self, state: &State, process: usize, task: Task, steps: &mut Vec<Step>) {
        match task.stage {
            Stage::Claimed if task.lapsed && self.lacks(Omission::LookBeforeSend) => {}
            Stage::Claimed => steps.push(Step::Send(process, task)),
            Stage::Sent => {
                steps.push(Step::Answer(process, task, Answer::Success));
                steps.push(Step::Answer(process, task, Answer::Failure));
                steps.push(Step::AnswerLost(process, task));
            }
            Stage::Heard(_) => {
                steps.push(Step::Record(process, task));
                if state.unheard < self.faults.unheard && self.holds(state, task) {
                    steps.push(Step::RecordUnheard(process, task));
                }
            }
        }
        if task.lapsed {
            steps.push(Step::Renew(process, task));
        }
    }

    /// `WHERE state = 'pending' AND lease_token = ?`
    fn holds(&self, state: &State, task: Task) -> bool {
        let row = &state.rows[task.row];
        row.state == RowState::Pending
            && (row.token == Some(task.token) || self.omits(Omission::TokenInRecord))
    }

    fn steps_of_row(&self, state: &State, index: usize, steps: &mut Vec<Step>) {
        let row = &state.rows[index];
        let is_finished = matches!(row.state, RowState::Delivered | RowState::Exhausted);
        if is_finished {
            steps.push(Step::Prune(index));
            if state.resends < self.faults.resends {
                steps.push(Step::Resend(index));
            }
        }
        if let (Sharing::Leases, Some(token)) = (self.sharing, row.token) {
            let is_orphan = state.holders(index, token) == 0;
            if !row.lapsed && (is_orphan || state.stalls < self.faults.stalls) {
                steps.push(Step::Lapse(index));
            }
            let somebody_runs = state.processes.iter().any(|it| it.phase == Phase::Running);
            if somebody_runs && (row.lapsed || self.omits(Omission::LapseBeforeTakeover)) {
                steps.push(Step::TakeOver(index));
            }
        }
        let may_be_unheard = self.sharing == Sharing::Leases && state.unheard < self.faults.unheard;
        if may_be_unheard && row.state == RowState::Pending && row.token.is_none() {
            steps.push(Step::ClaimUnheard(index));
        }
    }

    fn interrupt(&self, row: &mut Row) {
        row.logged += 1;
        row.token = None;
        row.lapsed = false;
        if self.omits(Omission::FreeInterruption) {
            row.attempts += 1;
        }
    }

    fn claim(&self, row: &mut Row) -> u8 {
        let token = row.claims;
        if self.lacks(Omission::ClaimBeforeSend) {
            row.claims += 1;
            row.token = Some(token);
        }
        token
    }

    /// Whether it took effect.
    fn record(&self, state: &mut State, task: Task) -> bool {
        if !self.holds(state, task) {
            state.refused = true;
            return false;
        }
        let row = &mut state.rows[task.row];
        row.logged += 1;
        row.token = None;
        row.lapsed = false;
        match task.stage {
            Stage::Heard(Answer::Success) => row.state = RowState::Delivered,
            _ => {
                row.attempts += 1;
                if row.attempts >= self.attempts_max {
                    row.state = RowState::Exhausted;
                }
            }
        }
        true
    }

    fn after(&self, before: &State, step: Step) -> State {
        let mut state = before.clone();
        match step {
            Step::Start(process) => {
                state.processes[process].phase = match self.sharing {
                    Sharing::Lock => Phase::Starting,
                    Sharing::Leases => Phase::Running,
                };
            }
            Step::InterruptInFlight(process) => {
                state.processes[process].phase = Phase::Running;
                if self.lacks(Omission::InterruptAtStart) {
                    let in_flight = state.rows.iter_mut().filter(|row| row.token.is_some());
                    in_flight.for_each(|row| self.interrupt(row));
                }
            }
            Step::Claim(process, row) => {
                let token = self.claim(&mut state.rows[row]);
                state.processes[process].tasks.push(Task {
                    row,
                    token,
                    stage: Stage::Claimed,
                    lapsed: false,
                });
            }
            Step::ClaimUnheard(row) => {
                state.unheard += 1;
                self.claim(&mut state.rows[row]);
            }
            Step::Send(process, task) => {
                state.rows[task.row].sent += 1;
                let stage = Stage::Sent;
                state.replace(process, task, Some(Task { stage, ..task }));
            }
            Step::Answer(process, task, answer) => {
                state.rows[task.row].told |= answer == Answer::Success;
                let stage = Stage::Heard(answer);
                state.replace(process, task, Some(Task { stage, ..task }));
            }
            Step::AnswerLost(process, task) => {
                state.rows[task.row].told = true;
                let stage = Stage::Heard(Answer::Failure);
                state.replace(process, task, Some(Task { stage, ..task }));
            }
            Step::Record(process, task) => {
                self.record(&mut state, task);
                state.replace(process, task, None);
            }
            Step::RecordUnheard(_, task) => {
                state.unheard += 1;
                self.record(&mut state, task);
            }
            Step::Lapse(row) => {
                let token = state.rows[row].token;
                state.rows[row].lapsed = true;
                let tasks = state.processes.iter_mut().flat_map(|it| &mut it.tasks);
                for task in tasks.filter(|it| it.row == row && Some(it.token) == token) {
                    state.stalls += 1;
                    task.lapsed = true;
                }
            }
            Step::Renew(process, task) => {
                let row = &mut state.rows[task.row];
                let renewed = (row.token == Some(task.token)).then(|| {
                    row.lapsed = false;
                    row.renewals += 1;
                    Task {
                        lapsed: false,
                        ..task
                    }
                });
                state.replace(process, task, renewed);
            }
            Step::TakeOver(row) => self.interrupt(&mut state.rows[row]),
            Step::Crash(process) => {
                state.crashes += 1;
                state.processes[process] = Process {
                    phase: Phase::Down,
                    tasks: Vec::new(),
                };
            }
            Step::Prune(row) => state.rows[row].state = RowState::Pruned,
            Step::Resend(row) => {
                state.resends += 1;
                let row = &mut state.rows[row];
                row.state = RowState::Pending;
                row.attempts = 0;
            }
        }
        state
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let row = Row {
            state: RowState::Pending,
            attempts: 0,
            token: None,
            lapsed: false,
            logged: 0,
            claims: 0,
            renewals: 0,
            sent: 0,
            told: false,
        };
        let process = Process {
            phase: Phase::Down,
            tasks: Vec::new(),
        };
        vec![State {
            rows: vec![row; self.rows],
            processes: vec![process; self.processes],
            crashes: 0,
            stalls: 0,
            unheard: 0,
            resends: 0,
            refused: false,
            breach: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.breach.is_some() {
            // Behind a broken rule there is nothing to learn.
            return;
        }
        let is_held = state.processes.iter().any(|it| it.phase != Phase::Down);
        for (index, process) in state.processes.iter().enumerate() {
            let may_start = self.sharing == Sharing::Leases || self.omits(Omission::Lock);
            match process.phase {
                Phase::Down if !is_held || may_start => steps.push(Step::Start(index)),
                Phase::Down => {}
                Phase::Starting => steps.push(Step::InterruptInFlight(index)),
                Phase::Running => {
                    for (row, _) in
                        state.rows.iter().enumerate().filter(|(_, row)| {
                            row.state == RowState::Pending && row.token.is_none()
                        })
                    {
                        steps.push(Step::Claim(index, row));
                    }
                }
            }
            for task in &process.tasks {
                self.steps_of_task(state, index, *task, steps);
            }
            if process.phase != Phase::Down && state.crashes < self.faults.crashes {
                steps.push(Step::Crash(index));
            }
        }
        for row in 0..state.rows.len() {
            self.steps_of_row(state, row, steps);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut after = self.after(before, step);
        let leads_back = self.omission.is_none() && after.rank() <= before.rank();
        after.breach =
            breach(before, step, &after).or_else(|| leads_back.then_some(Breach::Circle));
        after.sort();
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties()
    }
}
