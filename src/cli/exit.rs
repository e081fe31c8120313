//! Exit codes, and the failures that lead to them.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::config::Invalid;
use crate::service::{ProbeError, StartError, TransferError};
use crate::store::OpenError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Another dispatcher holds this queue.
    Held = 75,
    /// Configuration, keys or schema unusable.
    Unusable = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command comes to.
pub(super) type CommandResult = Result<Exit, Failure>;

/// A failure with its exit code.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Configuration, keys or schema unusable.
    pub(super) fn unusable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Unusable,
            error: error.into(),
        }
    }

    /// Why the queue could not be opened, if it is that.
    pub(super) fn open_error(&self) -> Option<&OpenError> {
        self.error.downcast_ref()
    }

    pub(super) fn is_broken_pipe(&self) -> bool {
        let io = self.error.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = self.error.downcast_ref::<serde_json::Error>();
        let kind = io.or_else(|| json.and_then(serde_json::Error::io_error_kind));
        kind == Some(io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some errors include the text of their cause.
        let mut text = self.error.to_string();
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        f.write_str(&text)
    }
}

/// The exit code follows from the type of the error.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = error
            .downcast_ref::<StartError>()
            .map(start_exit)
            .or_else(|| error.downcast_ref::<OpenError>().map(open_exit))
            .or_else(|| error.downcast_ref::<TransferError>().map(transfer_exit))
            .or_else(|| error.downcast_ref::<ProbeError>().map(|_| Exit::Unusable))
            .or_else(|| error.downcast_ref::<Invalid>().map(|_| Exit::Unusable))
            .unwrap_or(Exit::Failed);
        Self { exit, error }
    }
}

fn start_exit(error: &StartError) -> Exit {
    match error {
        StartError::Open(error) => open_exit(error),
        StartError::Transport(_) | StartError::Housekeeping(_) => Exit::Unusable,
        StartError::Admin { .. } => Exit::Failed,
    }
}

fn transfer_exit(error: &TransferError) -> Exit {
    match error {
        TransferError::Open(error) => open_exit(error),
        TransferError::Store { .. }
        | TransferError::Unfit { .. }
        | TransferError::Differs { .. }
        | TransferError::Randomness(_) => Exit::Failed,
        TransferError::SameQueue { .. }
        | TransferError::OtherTarget { .. }
        | TransferError::NotEmpty { .. }
        | TransferError::OtherSource { .. }
        | TransferError::NotMoving { .. }
        | TransferError::Complete { .. } => Exit::Unusable,
    }
}

fn open_exit(error: &OpenError) -> Exit {
    match error {
        // Unusable would keep the service down for good.
        error if error.is_shortage() => Exit::Failed,
        OpenError::Held { .. } => Exit::Held,
        OpenError::Missing { .. }
        | OpenError::Elsewhere { .. }
        | OpenError::Pooler { .. }
        | OpenError::Foreign { .. }
        | OpenError::Newer { .. }
        | OpenError::Older { .. }
        | OpenError::Moving { .. }
        | OpenError::Moved { .. }
        | OpenError::Incomplete { .. }
        | OpenError::File { .. } => Exit::Unusable,
        OpenError::Database { .. } => Exit::Failed,
    }
}
