//! The file that holds the keys, and faults in it by line.

use std::path::{Path, PathBuf};

use super::fault::{ConfigFault, Invalid, Place, Problem};
use super::secret_file::{Access, CHECK_THE_PATH};
use super::settings::SigningSettings;

/// Its name in the credentials directory.
const FILE_NAME: &str = "keys.toml";

/// The file to read, and how closed it has to be.
#[derive(Debug)]
pub(super) struct KeysFile {
    pub(super) path: PathBuf,
    /// Applies to the private keys in the same directory too.
    pub(super) access: Access,
}

impl KeysFile {
    pub(super) fn of(signing: &SigningSettings, credentials_directory: Option<&Path>) -> Self {
        credentials_directory
            .map(|directory| directory.join(FILE_NAME))
            // One that can't be looked at is taken, to say so rather than sign with other keys.
            .filter(|path| path.try_exists().unwrap_or(true))
            .map_or_else(
                || Self {
                    path: signing.keys_file.clone(),
                    access: Access::OwnerOnly,
                },
                |path| Self {
                    path,
                    access: Access::NotOthers,
                },
            )
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The path of a private key that an entry names, and how closed it has to be.
    pub(super) fn private_key(&self, name: &str) -> (PathBuf, Access) {
        let path = self.directory().join(name);
        let access = match path.parent() {
            Some(directory) if directory == self.directory() => self.access,
            _ => Access::OwnerOnly,
        };
        (path, access)
    }

    pub(super) fn fault(&self, problem: Problem) -> ConfigFault {
        ConfigFault {
            place: Place::file(&self.path),
            subject: None,
            problem,
        }
    }

    pub(super) fn fault_at(
        &self,
        text: &str,
        offset: usize,
        subject: Option<String>,
        problem: Problem,
    ) -> ConfigFault {
        ConfigFault {
            place: Place::line_of(&self.path, text, offset),
            subject,
            problem,
        }
    }

    /// Adds what to do when the file itself is missing.
    pub(super) fn invalid(&self, mut faults: Vec<ConfigFault>) -> Invalid {
        for fault in &mut faults {
            if let Problem::Unreadable { remedy, .. } = &mut fault.problem
                && remedy == CHECK_THE_PATH
                && fault.place == Place::file(&self.path)
            {
                "create it with a [[key]] for each app, or set signing.keys_file"
                    .clone_into(remedy);
            }
        }
        Invalid { faults }
    }
}
