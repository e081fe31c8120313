//! `verify`: does this `sign` hold?

use std::io::{self, Read, Write};

use anyhow::{Context, anyhow};

use super::exit::{CommandResult, Exit};
use crate::config::{Configuration, Inputs};
use crate::domain::FlatObject;

/// A callback's body is far smaller.
const INPUT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose key to check with [default: the object's appId]
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let Configuration { settings, keys } = Configuration::load(inputs)?;
    let mut json = Vec::new();
    io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX)
        .read_to_end(&mut json)
        .context("standard input")?;
    let object = FlatObject::parse(&json).context("standard input")?;
    let app_id = arguments
        .app
        .as_deref()
        .or_else(|| object.text("appId"))
        .ok_or_else(|| anyhow!("the object has no appId; name the app with --app"))?;
    let convention = &settings.signing.convention;
    let canonical_form = object.canonical_form(convention);
    writeln!(out, "canonical  {canonical_form}")?;
    let Some(sign) = object.sign() else {
        return Err(anyhow!("the object has no text member sign").into());
    };
    writeln!(out, "sign       {sign}")?;
    let keys = keys.keyring.keys(app_id);
    if keys.is_empty() {
        return Err(anyhow!("no key for app {app_id:?} in the keys file").into());
    }
    let signer = keys
        .iter()
        .find(|entry| entry.key.verifies(convention, &canonical_form, sign));
    let ambiguity = object.ambiguity(convention);
    match (signer, ambiguity) {
        (Some(entry), Some(ambiguity)) => {
            let id = &entry.id;
            writeln!(
                out,
                "ambiguous  made with key {id:?} of app {app_id:?}, and not to be trusted: {ambiguity}"
            )?;
            Ok(Exit::Failed)
        }
        (Some(entry), None) => {
            writeln!(out, "holds      with key {:?} of app {app_id:?}", entry.id)?;
            Ok(Exit::Done)
        }
        (None, _) => {
            let ids: Vec<&str> = keys.iter().map(|entry| entry.id.as_str()).collect();
            let ids = ids.join(", ");
            writeln!(out, "fails      with every key of app {app_id:?}: {ids}")?;
            Ok(Exit::Failed)
        }
    }
}
