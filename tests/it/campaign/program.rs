//! The program under test: which build of it, and under which limits.

use std::path::PathBuf;
use std::process::Command;

use super::PATIENCE;
use super::world::World;
use crate::support::process::{self, PROGRAM, Process};

/// The build that ships; without it, the one that the tests were built with.
const SHIPPED: &str = "CRASH_PROGRAM";

/// The build with failpoints; without it, nothing is killed at one.
const WITH_FAILPOINTS: &str = "CRASH_PROGRAM_WITH_FAILPOINTS";

/// How the program is started.
#[derive(Debug)]
pub(super) struct Program {
    binary: PathBuf,
    failpoint: Option<(&'static str, u64)>,
    /// For `prlimit`, such as `--nofile=64`.
    limit: Option<String>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            binary: std::env::var_os(SHIPPED).map_or_else(|| PROGRAM.into(), PathBuf::from),
            failpoint: None,
            limit: None,
        }
    }
}

impl Program {
    /// Whether there is a build with failpoints.
    pub(super) fn has_failpoints() -> bool {
        std::env::var_os(WITH_FAILPOINTS).is_some()
    }

    /// Kills itself when it comes to the place called `name` for the `hits`th time.
    pub(super) fn dying_at(name: &'static str, hits: u64) -> Self {
        let binary = std::env::var_os(WITH_FAILPOINTS).expect("a build with failpoints");
        Self {
            binary: binary.into(),
            failpoint: Some((name, hits)),
            limit: None,
        }
    }

    /// Under a limit of `prlimit`.
    pub(super) fn limited(limit: impl Into<String>) -> Self {
        Self {
            limit: Some(limit.into()),
            ..Self::default()
        }
    }

    /// Starts the daemon.
    pub(super) fn start(&self, world: &World) -> Process {
        let mut command = match &self.limit {
            None => process::command(&self.binary, world.folder(), &["run"]),
            Some(limit) => {
                let mut prlimit = Command::new("prlimit");
                prlimit.arg(limit).arg("--").arg(&self.binary);
                process::unmanaged(prlimit, world.folder(), &["run"])
            }
        };
        if let Some((name, hits)) = self.failpoint {
            command.env("CALLBACK_DISPATCHER_FAILPOINT", format!("{name}:{hits}"));
        }
        Process::spawn_patiently(command, PATIENCE)
    }
}
