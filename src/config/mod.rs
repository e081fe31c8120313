//! Configuration: from `dispatcher.toml`, the environment and the keys file to validated values.
//!
//! The way through it: [`Inputs`] (what to read) → layers (defaults, then the file, then
//! `DISPATCHER__SECTION__KEY` variables) → [`Settings`]; and [`SigningSettings`] → [`Keys`].
//! [`Configuration::load`] does both.
//!
//! - The file `dispatcher.toml` at the top of the repository, compiled in, is the only place where
//!   defaults are written, and the register of the keys that exist.
//! - One run reports every fault, each with its place, its key and the remedy; keys are checked
//!   even when settings elsewhere are at fault.
//! - Relative paths: those in the settings file, and the defaults beside it, are relative to its
//!   directory; those in a variable to the working directory; the SQLite file always to the
//!   working directory; those in the keys file to the directory of the keys file.
//! - Nothing here keeps state: a reload is another load with the same [`Inputs`], and a load that
//!   fails changes nothing.
//!
//! Deliberately absent: secrets in messages, the command line, and applying what changed.

mod certificate_entry;
mod console_entry;
mod fault;
mod inputs;
mod key_entry;
mod keys;
mod keys_file;
mod layers;
mod log_level;
mod reader;
mod secret_file;
mod sections;
mod settings;
mod store_url;
mod suggestion;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

pub use fault::{ConfigFault, Invalid, Place, Problem};
pub use inputs::{FILE_NAME, Inputs, SYSTEM_DIRECTORY, locate};
pub use keys::Keys;
pub use settings::{
    AdminSettings, DeliverySettings, EgressSettings, HousekeepingSettings, LogFormat, LogSettings,
    RetrySettings, Settings, ShieldSettings, SigningSettings, StoreSettings, TracingSettings,
};
pub use store_url::StoreUrl;

use layers::Layers;
use reader::Reader;

/// The settings file is some hundred lines; one beyond this is something else.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Settings and keys together: all that the daemon is configured by.
#[derive(Debug)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// The keys.
    pub keys: Keys,
}

impl Configuration {
    /// Reads settings and keys. The keys are checked as long as `[signing]` is in order, so that
    /// one run finds the faults of both.
    ///
    /// # Errors
    ///
    /// Every fault that was found.
    pub fn load(inputs: &Inputs) -> Result<Self, Invalid> {
        let mut reading = Reading::of(inputs);
        let credentials_directory = inputs.credentials_directory.as_deref();
        let keys =
            reading.signing.and_then(
                |signing| match Keys::load(&signing, credentials_directory) {
                    Ok(keys) => Some(keys),
                    Err(invalid) => {
                        reading.faults.extend(invalid.faults);
                        None
                    }
                },
            );
        match (reading.settings, keys) {
            (Some(settings), Some(keys)) => Ok(Self { settings, keys }),
            _ => Err(Invalid {
                faults: reading.faults,
            }),
        }
    }
}

impl Settings {
    /// Reads settings alone, for commands that sign nothing.
    ///
    /// # Errors
    ///
    /// Every fault that was found.
    pub fn load(inputs: &Inputs) -> Result<Self, Invalid> {
        let reading = Reading::of(inputs);
        reading.settings.ok_or(Invalid {
            faults: reading.faults,
        })
    }
}

impl StoreSettings {
    /// Reads where the queue is, whatever is wrong with the rest; `None` if that is not known.
    pub fn load(inputs: &Inputs) -> Option<Self> {
        Reading::of(inputs).store
    }
}

/// What a run over the settings found: `settings` if and only if there are no faults.
struct Reading {
    settings: Option<Settings>,
    /// What the keys are read by, if that much is in order.
    signing: Option<SigningSettings>,
    /// Where the queue is, if that much is in order.
    store: Option<StoreSettings>,
    faults: Vec<ConfigFault>,
}

impl Reading {
    fn of(inputs: &Inputs) -> Self {
        let mut layers = Layers::defaults();
        let mut faults = Vec::new();
        let mut file_is_laid = true;
        if let Some(path) = &inputs.file {
            match read_text(path) {
                Ok(text) => {
                    let found = layers.lay_file(path, &text);
                    file_is_laid = !found
                        .iter()
                        .any(|fault| matches!(fault.problem, Problem::Syntax(_)));
                    faults.extend(found);
                }
                Err(fault) => {
                    faults.push(fault);
                    file_is_laid = false;
                }
            }
        }
        faults.extend(layers.lay_environment(&inputs.environment));
        if !file_is_laid {
            // Its values are unknown, and judging the others without them would mislead.
            return Self {
                settings: None,
                signing: None,
                store: None,
                faults,
            };
        }
        let mut reader = Reader::new(&layers, &inputs.working_directory, inputs.file.as_deref());
        let (settings, signing, store) = validate(&mut reader, inputs.file.as_deref());
        let settings = settings.map(|settings| Settings {
            digests: layers.digests(),
            ..settings
        });
        faults.extend(reader.into_faults());
        faults.sort_by_key(|fault| reading_order(&fault.place));
        Self {
            settings: settings.filter(|_| faults.is_empty()),
            signing,
            store,
            faults,
        }
    }
}

fn validate(
    reader: &mut Reader<'_>,
    source: Option<&Path>,
) -> (
    Option<Settings>,
    Option<SigningSettings>,
    Option<StoreSettings>,
) {
    // Each on its own line and none with `?`: the next is read whatever became of the one before.
    let store = sections::store(reader);
    let retry = sections::retry(reader);
    let delivery = sections::delivery(reader);
    let egress = sections::egress(reader);
    let signing = sections::signing(reader);
    let shield = sections::shield(reader);
    let housekeeping = sections::housekeeping(reader);
    let admin = sections::admin(reader);
    let log = sections::log(reader);
    let tracing = sections::tracing(reader);
    let (for_keys, for_queue) = (signing.clone(), store.clone());
    let settings = || {
        Some(Settings {
            source: source.map(Path::to_owned),
            store: store?,
            retry: retry?,
            delivery: delivery?,
            egress: egress?,
            signing: signing?,
            shield: shield?,
            housekeeping: housekeeping?,
            admin: admin?,
            log: log?,
            tracing: tracing?,
            digests: BTreeMap::new(),
        })
    };
    (settings(), for_keys, for_queue)
}

/// The file from top to bottom, then the environment.
const fn reading_order(place: &Place) -> (u8, usize) {
    match place {
        Place::File { line: None, .. } => (0, 0),
        Place::File {
            line: Some(line), ..
        } => (0, *line),
        Place::Variable(_) => (1, 0),
        Place::Defaults => (2, 0),
    }
}

fn read_text(path: &Path) -> Result<String, ConfigFault> {
    use std::io::Read as _;

    let mut text = String::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|error| Problem::Unreadable {
            error: error.to_string(),
            remedy: "name a readable settings file with --config".to_owned(),
        });
    let problem = match read {
        Ok(bytes) if bytes > FILE_BYTES_MAX => Problem::Invalid(format!(
            "larger than {FILE_BYTES_MAX} bytes; this is not a settings file"
        )),
        Ok(_) => return Ok(text),
        Err(problem) => problem,
    };
    Err(ConfigFault {
        place: Place::file(path),
        subject: None,
        problem,
    })
}
