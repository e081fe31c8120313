//! `top`: what needs a person, callbacks by state, apps, and what was given up last, every two seconds.
//!
//! Deliberately absent: keys. `pause` and `resend` in another terminal ask for a reason, and keep it.

use std::io::Write;

use super::exit::CommandResult;
use super::list;
use super::stats;
use super::watch::WatchArguments;
use crate::config::Inputs;

/// As many as leave room for the rest.
const GIVEN_UP_MAX: usize = 10;

pub(super) fn run(inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    WatchArguments::OFTEN.run(out, |out| {
        stats::print(false, inputs, out)?;
        writeln!(out, "\ngiven up last")?;
        list::print(&list::Arguments::given_up(GIVEN_UP_MAX), inputs, out)
    })
}
