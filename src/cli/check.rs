//! `check`: every fault of configuration, keys, database and schema at once.

use std::io::Write;

use super::exit::{CommandResult, Exit};
use super::queue::block_on;
use crate::config::{Configuration, Inputs, StoreSettings};
use crate::service;
use crate::store::OpenError;
use crate::telemetry::check_log;

pub(super) fn run(inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let mut faults = Vec::new();
    let mut good = Vec::new();
    let mut beware = Vec::new();
    match Configuration::load(inputs) {
        Ok(configuration) => {
            let apps: Vec<&str> = configuration.keys.keyring.apps().collect();
            let source = configuration.settings.source.as_ref();
            good.push(source.map_or_else(
                || "settings: the defaults (no dispatcher.toml found)".to_owned(),
                |path| format!("settings: {}", path.display()),
            ));
            good.push(format!(
                "keys: {}, for app {}",
                configuration.keys.path.display(),
                apps.join(", ")
            ));
            for key in configuration.keys.keyring.with_stray_white_space() {
                beware.push(format!(
                    "key {key}: its secret begins or ends with white space; is that the merchant's, too?"
                ));
            }
            match service::try_transport(&configuration.settings) {
                Ok(()) => good.push("way out: TLS roots and proxy are usable".to_owned()),
                Err(error) => faults.push(error.to_string()),
            }
            if let Err(error) = check_log(service::log_format(&configuration.settings)) {
                faults.push(error.to_string());
            }
        }
        Err(invalid) => faults.extend(invalid.faults.iter().map(ToString::to_string)),
    }
    // The database is looked at even when keys or other settings are at fault.
    if let Some(store) = StoreSettings::load(inputs) {
        match block_on(async { Ok(service::check_store(&store.url).await?) }) {
            Ok(database) => good.push(format!("database: {database}")),
            Err(failure) => match failure.open_error() {
                Some(OpenError::Older { .. }) => {
                    beware.push(format!("{failure}, or start the daemon"));
                }
                Some(OpenError::Missing { .. }) => {
                    faults.push(format!(
                        "{failure}; if both are right, `callback-dispatcher init` creates it"
                    ));
                }
                _ => faults.push(failure.to_string()),
            },
        }
    }
    for line in good {
        writeln!(out, "ok     {line}")?;
    }
    for line in beware {
        writeln!(out, "beware {line}")?;
    }
    for fault in &faults {
        writeln!(out, "fault  {fault}")?;
    }
    Ok(if faults.is_empty() {
        Exit::Done
    } else {
        Exit::Unusable
    })
}
