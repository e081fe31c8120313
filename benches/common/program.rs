//! Which build of the program is measured: this checkout's, or another given with `--against`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{PoisonError, RwLock};

/// `None`: the one that cargo has built for this benchmark.
static OTHER: RwLock<Option<PathBuf>> = RwLock::new(None);

/// From here on, `other` is started instead of this checkout's program.
pub(crate) fn measure(other: Option<PathBuf>) {
    *OTHER.write().unwrap_or_else(PoisonError::into_inner) = other;
}

/// The program that is measured now, ready to be given its arguments.
pub(crate) fn command() -> Command {
    let other = OTHER.read().unwrap_or_else(PoisonError::into_inner);
    match &*other {
        Some(other) => Command::new(other),
        None => Command::new(env!("CARGO_BIN_EXE_callback-dispatcher")),
    }
}
