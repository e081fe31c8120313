//! What the store and the process suffer, as drawn.

use std::collections::HashSet;
use std::time::Duration;

use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::store::{AttemptKey, StoreError};

use super::operation::{CrashPoint, StoreCall, StoreFault};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Where the process dies when it comes there.
    pub(super) crash_at: Option<CrashPoint>,
    /// It has come there.
    pub(super) has_crashed: bool,
    planned: Vec<Fault>,
    /// Since the store refuses to record anything.
    pub(super) records_fail: Option<Stopwatch>,
    /// Attempts that the store was asked to un-count, and has not.
    pub(super) uncounts_owed: HashSet<AttemptKey>,
    /// Since the store last failed.
    failed: Option<Stopwatch>,
    /// A fault was handed out that ends the process, or its start.
    pub(super) is_fatal: bool,
    /// Faults handed out.
    pub(super) failures: u64,
}

#[derive(Debug)]
struct Fault {
    call: StoreCall,
    fault: StoreFault,
    times: u8,
    /// The row whose fault it is, once it is known.
    victim: Option<i64>,
}

/// What happens to a call.
#[derive(Debug)]
pub(super) enum CallFate {
    Goes,
    Fails(StoreError),
    /// The process dies before it takes effect.
    DiesBefore,
    /// The process dies after it took effect.
    DiesAfter,
}

impl Faults {
    pub(super) fn add_fault(&mut self, call: StoreCall, fault: StoreFault, times: u8) {
        self.planned.push(Fault {
            call,
            fault,
            times,
            victim: None,
        });
    }

    /// From here on nothing goes wrong.
    pub(super) fn clear(&mut self) {
        self.planned.clear();
        self.crash_at = None;
    }

    /// Whether the store has worked for long enough that all is made good.
    pub(super) fn has_recovered(&self, recovery: Duration) -> bool {
        self.planned.is_empty()
            && self.crash_at.is_none()
            && self.failed.is_none_or(|since| since.elapsed() >= recovery)
    }

    /// Whether the store has refused to record for long enough that every task knows.
    pub(super) fn have_records_failed(&self) -> bool {
        let since = self.records_fail;
        since.is_some_and(|since| since.elapsed() > Duration::ZERO)
    }

    /// A new process begins: it owes nothing.
    pub(super) fn process_starts(&mut self) {
        self.records_fail = None;
        self.uncounts_owed.clear();
    }

    /// What happens to a `call` about the rows `ids`.
    pub(super) fn fate_of(&mut self, call: StoreCall, ids: &[i64]) -> CallFate {
        if let Some(error) = self.failure(call, ids) {
            return CallFate::Fails(error);
        }
        let (before, after) = match call {
            StoreCall::Claiming => (CrashPoint::BeforeClaim, CrashPoint::AfterClaim),
            StoreCall::Recording => (CrashPoint::BeforeRecord, CrashPoint::AfterRecord),
            StoreCall::CarryingOut => (CrashPoint::BeforeCommand, CrashPoint::AfterCommand),
            StoreCall::Refunding | StoreCall::Reading | StoreCall::Everything => {
                return CallFate::Goes;
            }
        };
        if self.dies(before) {
            CallFate::DiesBefore
        } else if self.dies(after) {
            CallFate::DiesAfter
        } else {
            CallFate::Goes
        }
    }

    /// Whether the process dies at this point.
    pub(super) fn dies(&mut self, point: CrashPoint) -> bool {
        if self.crash_at != Some(point) {
            return false;
        }
        self.crash_at = None;
        self.has_crashed = true;
        true
    }

    fn failure(&mut self, call: StoreCall, ids: &[i64]) -> Option<StoreError> {
        let hits = |fault: &&mut Fault| {
            (fault.call == call || fault.call == StoreCall::Everything)
                && fault.victim.is_none_or(|victim| ids.contains(&victim))
        };
        let fault = self.planned.iter_mut().find(hits)?;
        let is_one_rows = matches!(fault.fault, StoreFault::Refused | StoreFault::Other);
        if is_one_rows && fault.victim.is_none() {
            fault.victim = ids.last().copied();
        }
        fault.times -= 1;
        let error = error(fault.fault);
        self.planned.retain(|fault| fault.times > 0);
        self.failed = Some(Stopwatch::start());
        self.failures += 1;
        // What a start calls is allowed to fail; the service manager starts anew.
        self.is_fatal |= error.is_permanent() || call == StoreCall::Everything;
        Some(error)
    }
}

fn error(fault: StoreFault) -> StoreError {
    let text = "simulated".to_owned();
    match fault {
        StoreFault::Busy => StoreError::Busy(text),
        StoreFault::Full => StoreError::Full(text),
        StoreFault::Io => StoreError::Io(text),
        StoreFault::Refused => StoreError::Refused(text),
        StoreFault::Other => StoreError::Other(text),
        StoreFault::Corrupt => StoreError::Corrupt(text),
    }
}
