//! `--watch`: the same answer again and again.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{CommandResult, Exit, Failure};
use super::queue;
use super::table;

/// Clears a terminal and begins at its top.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

#[derive(Debug, Default, clap::Args)]
pub(super) struct WatchArguments {
    /// Ask again every so many seconds, until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    watch: Option<u64>,
}

impl WatchArguments {
    /// As `--watch` alone says.
    pub(super) const OFTEN: Self = Self { watch: Some(2) };

    /// Lets `draw` write its answer: once, or until Ctrl-C. Each answer is written in one piece,
    /// so that a terminal does not flicker.
    pub(super) fn run(
        &self,
        out: &mut dyn Write,
        mut draw: impl FnMut(&mut dyn Write) -> Result<(), Failure>,
    ) -> CommandResult {
        let Some(seconds) = self.watch else {
            draw(out)?;
            return Ok(Exit::Done);
        };
        let is_terminal = io::stdout().is_terminal();
        let mut interrupt = Interrupt::listen()?;
        loop {
            let mut answer = Vec::new();
            draw(&mut answer)?;
            if is_terminal {
                out.write_all(CLEAR)?;
            }
            // What is below the screen's end would push the beginning out at its top.
            let rows = table::height().unwrap_or(usize::MAX).saturating_sub(1);
            for line in answer.split_inclusive(|byte| *byte == b'\n').take(rows) {
                out.write_all(line)?;
            }
            out.flush()?;
            if interrupt.comes_within(Duration::from_secs(seconds)) {
                return Ok(Exit::Done);
            }
        }
    }
}

/// Ctrl-C. It is heard from the first answer on, and kept while one is drawn.
struct Interrupt {
    runtime: Runtime,
    signal: Signal,
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let runtime = queue::runtime()?;
        let signal = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
        Ok(Self { runtime, signal })
    }

    fn comes_within(&mut self, wait: Duration) -> bool {
        let signal = &mut self.signal;
        let heard = async { tokio::time::timeout(wait, signal.recv()).await.is_ok() };
        self.runtime.block_on(heard)
    }
}
