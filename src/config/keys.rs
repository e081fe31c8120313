//! `keys.toml`: the keys that sign, with their apps and their rotation, and the console's token.
//!
//! No message quotes the file, apart from `app_id`, `id` and the name of a private key's file:
//! whatever else is in it may be a secret in the wrong place. For the same reason it is read by hand from the TOML tables, since
//! serde's messages quote the values that they refuse.
//!
//! Deliberately absent: watching the file. It is read again when the settings are.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::certificate_entry;
use super::console_entry;
use super::fault::{ConfigFault, Invalid, Problem};
use super::key_entry::KeyReader;
use super::keys_file::KeysFile;
use super::secret_file;
use super::settings::SigningSettings;
use crate::delivery::transport::ClientCertificates;
use crate::domain::{KeyEntry, Keyring, Secret};

/// The keys, and where they came from.
#[derive(Debug)]
pub struct Keys {
    /// Every key, by app.
    pub keyring: Keyring,
    /// What operators show to the console to act; `None`: nobody may.
    pub console_token: Option<Secret>,
    /// What apps show to merchants' servers that ask for a certificate.
    pub client_certificates: ClientCertificates,
    /// The file that was read.
    pub path: PathBuf,
}

impl Keys {
    /// Reads `keys.toml` in `credentials_directory` if there is one, else
    /// [`SigningSettings::keys_file`].
    ///
    /// # Errors
    ///
    /// Every fault that was found: the file is missing or open to others, an entry is incomplete or
    /// contradicts `signing`, two keys of an app clash, or there is no key at all.
    pub fn load(
        signing: &SigningSettings,
        credentials_directory: Option<&Path>,
    ) -> Result<Self, Invalid> {
        let file = KeysFile::of(signing, credentials_directory);
        let content = match secret_file::read(&file.path, file.access) {
            Ok(content) => content,
            Err(problem) => return Err(file.invalid(vec![file.fault(problem)])),
        };
        let Ok(text) = std::str::from_utf8(&content) else {
            let problem = Problem::Invalid("not UTF-8 text; save it as UTF-8".to_owned());
            return Err(file.invalid(vec![file.fault(problem)]));
        };
        let Found {
            entries,
            console_token,
            client_certificates,
            mut faults,
        } = entries(&file, text, signing);
        let keyring = Keyring::new(entries).unwrap_or_else(|errors| {
            let clashes = errors.iter().map(ToString::to_string);
            faults.extend(clashes.map(|clash| file.fault(Problem::Invalid(clash))));
            Keyring::default()
        });
        if faults.is_empty() {
            Ok(Self {
                keyring,
                console_token,
                client_certificates,
                path: file.path,
            })
        } else {
            Err(file.invalid(faults))
        }
    }
}

/// What stands in a keys file: all that is in order, and the faults of the rest.
#[derive(Default)]
struct Found {
    entries: Vec<KeyEntry>,
    console_token: Option<Secret>,
    client_certificates: ClientCertificates,
    faults: Vec<ConfigFault>,
}

/// Every entry that is in order, and the faults of the others.
fn entries(file: &KeysFile, text: &str, signing: &SigningSettings) -> Found {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let faults = errors.iter().map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let problem = "the line is not shown, as it may hold a secret".to_owned();
            file.fault_at(text, offset, None, Problem::Syntax(problem))
        });
        return Found {
            faults: faults.collect(),
            ..Found::default()
        };
    }
    let mut faults = Vec::new();
    let mut entries = Vec::new();
    let mut console_token = None;
    let mut client_certificates = ClientCertificates::default();
    let mut count = 0;
    for (name, value) in table.get_ref() {
        if name.get_ref() == "console" {
            match console_entry::read(file, text, name.span().start, value) {
                Ok(token) => console_token = Some(token),
                Err(found) => faults.extend(found),
            }
            continue;
        }
        if name.get_ref() == "client_certificate" {
            let read = &mut |offset, entry: &DeValue<'_>| {
                certificate_entry::read(file, text, offset, entry, &mut client_certificates)
            };
            let items = value.get_ref().as_array().into_iter().flatten();
            let read_all = items.map(|item| read(item.span().start, item.get_ref()));
            faults.extend(read_all.filter_map(Result::err));
            if !value.get_ref().is_array() {
                faults.extend(read(name.span().start, &DeValue::Boolean(false)).err());
            }
            continue;
        }
        if name.get_ref() != "key" {
            let problem = Problem::Unknown {
                what: "name at the top of the file".to_owned(),
                suggestion: Some("[[key]]".to_owned()),
            };
            faults.push(file.fault_at(text, name.span().start, None, problem));
            continue;
        }
        for item in value.get_ref().as_array().into_iter().flatten() {
            count += 1;
            match item.get_ref() {
                DeValue::Table(fields) => {
                    let reader = KeyReader::new(file, text, count, fields, item.span().start);
                    match reader.read(signing) {
                        Ok(entry) => entries.push(entry),
                        Err(found) => faults.extend(found),
                    }
                }
                _ => faults.push(not_entries(file, text, item.span().start)),
            }
        }
        if !value.get_ref().is_array() {
            faults.push(not_entries(file, text, name.span().start));
            count += 1;
        }
    }
    if count == 0 && faults.is_empty() {
        faults.push(file.fault(Problem::Invalid(
            "no key in it; add a [[key]] with app_id, id and secret".to_owned(),
        )));
    }
    Found {
        entries,
        console_token,
        client_certificates,
        faults,
    }
}

fn not_entries(file: &KeysFile, text: &str, offset: usize) -> ConfigFault {
    let problem = Problem::Invalid(
        "a key is a table of its own; write [[key]] and its fields below it".to_owned(),
    );
    file.fault_at(text, offset, None, problem)
}
