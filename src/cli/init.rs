//! `init`: creates the database and schema.

use std::io::Write;

use super::exit::{CommandResult, Exit};
use super::queue::block_on;
use crate::config::{Inputs, Settings};
use crate::service::init_store;

pub(super) fn run(inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let done = block_on(async { Ok(init_store(&settings.store.url).await?) })?;
    writeln!(out, "{done}")?;
    Ok(Exit::Done)
}
