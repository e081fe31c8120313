//! `init`: creates the database and schema.

use std::io::Write;

use super::exit::{Exit, Failure};
use super::queue::sqlite_path;
use crate::config::{Inputs, Settings};
use crate::store::sqlite::{self, SCHEMA_VERSION};

pub(super) fn run(inputs: &Inputs, out: &mut dyn Write) -> Result<Exit, Failure> {
    let settings = Settings::load(inputs)?;
    let (path, created) = sqlite::init(sqlite_path(&settings.store)?)?;
    let path = path.display();
    let did = if created { "created" } else { "is up to date" };
    writeln!(out, "{path} {did}, schema version {SCHEMA_VERSION}")?;
    Ok(Exit::Done)
}
