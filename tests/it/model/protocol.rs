//! The protocol as a state machine: what each step reads and writes, and nothing of how.
//!
//! Time does not pass here. A retry may be due at once and a lease may lapse at any moment, so
//! whatever the clocks do is among what is tried. Faults come out of [`Faults`], which makes the
//! tree finite; every other step brings the state on ([`State::rank`]), so it has no circles.
//!
//! After every step [`breach`] looks whether a rule was broken by it.

use stateright::{Model, Property};

use super::rules::{Breach, breach};
use super::setting::{Faults, Omission, Sharing};
use super::state::{Answer, Phase, Process, Row, RowState, Stage, State, Task};

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
    ClaimUnconfirmed(usize, usize),
    Send(usize, Task),
    Answer(usize, Task, Answer),
    /// The merchant says SUCCESS, and the dispatcher does not hear it.
    AnswerLost(usize, Task),
    Record(usize, Task),
    /// Committed, the answer is lost, and so it will be tried again.
    RecordUnconfirmed(usize, Task),
    /// Its heartbeats stop, and its own clock says so first.
    FallSilent(usize),
    /// A heartbeat after that.
    Return(usize),
    /// Gives a lapsed claim back that was not sent.
    Release(usize, Task),
    /// The same for a claim whose answer was lost.
    ReleaseUnconfirmed(usize),
    /// Ends a lease of a silent dispatcher, or of a dead one, as an interrupted attempt.
    TakeOver(usize),
    Crash(usize),
    Prune(usize),
    Resend(usize),
}

const DOWN: Process = Process {
    phase: Phase::Down,
    silent: false,
    tasks: Vec::new(),
};

/// Forgets what only a late acknowledgement is asked for.
fn heard(task: Task, answer: Answer) -> Task {
    let is_success = answer == Answer::Success;
    Task {
        stage: Stage::Heard(answer),
        lapsed: false,
        seq: if is_success { task.seq } else { 0 },
        sent: if is_success { task.sent } else { 0 },
        ..task
    }
}

fn release(row: &mut Row) {
    row.released += 1;
    row.token = None;
    row.unconfirmed_by = None;
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
            Stage::Claimed if task.lapsed && self.lacks(Omission::LookBeforeSend) => {
                steps.push(Step::Release(process, task));
            }
            Stage::Claimed => steps.push(Step::Send(process, task)),
            Stage::Sent => {
                steps.push(Step::Answer(process, task, Answer::Success));
                steps.push(Step::Answer(process, task, Answer::Failure));
                steps.push(Step::AnswerLost(process, task));
            }
            Stage::Heard(_) => {
                steps.push(Step::Record(process, task));
                if state.unconfirmed < self.faults.unconfirmed && self.holds(state, task) {
                    steps.push(Step::RecordUnconfirmed(process, task));
                }
            }
        }
    }

    /// `WHERE state = 'pending' AND lease_token = ?`
    fn holds(&self, state: &State, task: Task) -> bool {
        let row = &state.rows[task.row];
        row.state == RowState::Pending
            && (row.token == Some(task.token) || self.omits(Omission::TokenInRecord))
    }

    /// A lease that was lost, and an acknowledgement of what was sent last: the interruption of this
    /// very attempt is the newest in the log, and nobody has claimed the row since.
    fn is_late_acknowledgement(&self, state: &State, task: Task) -> bool {
        let row = &state.rows[task.row];
        self.sharing == Sharing::Leases
            && task.stage == Stage::Heard(Answer::Success)
            && row.state == RowState::Pending
            && row.token.is_none()
            && (row.logged == task.seq || self.omits(Omission::NothingSentSince))
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
        if self.sharing == Sharing::Leases && row.token.is_some() {
            if row.unconfirmed_by.is_some() {
                steps.push(Step::ReleaseUnconfirmed(index));
            }
            let owner = state.owner(index);
            let mut others = state.processes.iter().enumerate();
            let somebody_else_lives = others.any(|(other, it)| {
                it.phase == Phase::Running && !it.silent && Some(other) != owner
            });
            let is_silent = owner.is_none_or(|owner| state.processes[owner].silent);
            if somebody_else_lives && (is_silent || self.omits(Omission::SilenceBeforeTakeover)) {
                steps.push(Step::TakeOver(index));
            }
        }
    }

    fn steps_of_process(&self, state: &State, index: usize, steps: &mut Vec<Step>) {
        let process = &state.processes[index];
        let is_shared = self.sharing == Sharing::Leases;
        let rows = state.rows.iter().enumerate();
        let free = rows.filter(|(_, row)| row.state == RowState::Pending && row.token.is_none());
        for (row, _) in free.filter(|_| !process.silent) {
            steps.push(Step::Claim(index, row));
            if is_shared && state.unconfirmed < self.faults.unconfirmed {
                steps.push(Step::ClaimUnconfirmed(index, row));
            }
        }
        if process.silent {
            steps.push(Step::Return(index));
        } else if is_shared && state.stalls < self.faults.stalls {
            steps.push(Step::FallSilent(index));
        }
    }

    fn interrupt(&self, row: &mut Row) {
        row.logged += 1;
        row.token = None;
        row.unconfirmed_by = None;
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
        let holds = self.holds(state, task);
        if !holds && !self.is_late_acknowledgement(state, task) {
            state.refused = true;
            return false;
        }
        let row = &mut state.rows[task.row];
        row.logged += 1;
        row.late += u8::from(!holds);
        row.token = None;
        row.unconfirmed_by = None;
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
                let seq = state.rows[row].logged + 1;
                state.processes[process].tasks.push(Task {
                    row,
                    token,
                    stage: Stage::Claimed,
                    seq,
                    sent: 0,
                    lapsed: false,
                });
            }
            Step::ClaimUnconfirmed(process, row) => {
                state.unconfirmed += 1;
                self.claim(&mut state.rows[row]);
                state.rows[row].unconfirmed_by = Some(process);
            }
            Step::Send(process, task) => {
                state.rows[task.row].sent += 1;
                let sent = Task {
                    stage: Stage::Sent,
                    sent: state.rows[task.row].sent,
                    ..task
                };
                state.replace(process, task, Some(sent));
            }
            Step::Answer(process, task, answer) => {
                state.rows[task.row].told |= answer == Answer::Success;
                state.replace(process, task, Some(heard(task, answer)));
            }
            Step::AnswerLost(process, task) => {
                state.rows[task.row].told = true;
                state.replace(process, task, Some(heard(task, Answer::Failure)));
            }
            Step::Record(process, task) => {
                self.record(&mut state, task);
                state.replace(process, task, None);
            }
            Step::RecordUnconfirmed(_, task) => {
                state.unconfirmed += 1;
                self.record(&mut state, task);
            }
            Step::FallSilent(process) => {
                state.stalls += 1;
                let process = &mut state.processes[process];
                process.silent = true;
                // What has left has left.
                let claimed = process.tasks.iter_mut();
                for task in claimed.filter(|task| task.stage == Stage::Claimed) {
                    task.lapsed = true;
                }
            }
            Step::Return(process) => state.processes[process].silent = false,
            Step::Release(process, task) => {
                let row = &mut state.rows[task.row];
                if row.token == Some(task.token) {
                    release(row);
                }
                state.replace(process, task, None);
            }
            Step::ReleaseUnconfirmed(row) => release(&mut state.rows[row]),
            Step::TakeOver(row) => self.interrupt(&mut state.rows[row]),
            Step::Crash(process) => {
                state.crashes += 1;
                state.processes[process] = DOWN;
                let rows = state.rows.iter_mut();
                for row in rows.filter(|row| row.unconfirmed_by == Some(process)) {
                    row.unconfirmed_by = None;
                }
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
            unconfirmed_by: None,
            logged: 0,
            released: 0,
            late: 0,
            claims: 0,
            sent: 0,
            told: false,
        };
        vec![State {
            rows: vec![row; self.rows],
            processes: vec![DOWN; self.processes],
            crashes: 0,
            stalls: 0,
            unconfirmed: 0,
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
                Phase::Running => self.steps_of_process(state, index, steps),
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
