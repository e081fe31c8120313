//! What configuration is made from: a file, variables and directories, all passed in, so that a
//! test sets no environment and changes no directory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::layers::{Layers, PREFIX, variable_name};

/// The name of the file in the working directory and in [`SYSTEM_DIRECTORY`].
pub const FILE_NAME: &str = "dispatcher.toml";

/// Where the file is looked for last.
pub const SYSTEM_DIRECTORY: &str = "/etc/callback-dispatcher";

/// What the configuration is read from. Keep it to read the same again on a reload.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The settings file; `None`: the defaults and the environment are all there is.
    pub file: Option<PathBuf>,
    /// Variables by name; those without `DISPATCHER__` in front are ignored.
    pub environment: BTreeMap<String, String>,
    /// What relative paths in variables, and that of the SQLite file, are relative to. An empty
    /// path is the process's own.
    pub working_directory: PathBuf,
    /// Names of variables that look like settings and are none, with those that may be meant.
    pub mistaken: Vec<(String, String)>,
    /// `$CREDENTIALS_DIRECTORY`, set by systemd for a unit with credentials.
    pub credentials_directory: Option<PathBuf>,
}

/// Shows the names of the variables only: the value of a URL may have a password in it.
impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("file", &self.file)
            .field("environment", &self.environment.keys())
            .field("working_directory", &self.working_directory)
            .field("credentials_directory", &self.credentials_directory)
            .finish()
    }
}

impl Inputs {
    /// The surroundings of this process; `explicit` is the value of `--config`.
    pub fn of_process(explicit: Option<&Path>) -> Self {
        // Without a working directory relative names stay as they are, and fail when opened.
        let working_directory = std::env::current_dir().unwrap_or_default();
        // Not `vars()`, which panics when any variable of whatever program is not Unicode.
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .map(|(name, value)| {
                let name = name.to_string_lossy().into_owned();
                (name, value.to_string_lossy().into_owned())
            })
            .collect();
        let (environment, others): (BTreeMap<_, _>, BTreeMap<_, _>) = variables
            .into_iter()
            .partition(|(name, _)| name.starts_with(PREFIX));
        Self {
            mistaken: mistaken(others.into_keys()),
            file: locate(explicit, &working_directory),
            environment,
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            working_directory,
        }
    }
}

/// Those of `names` that would be a setting's if single underscores were double ones.
fn mistaken(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let plain = |name: &str| name.replace("__", "_");
    let layers = Layers::defaults();
    let known: BTreeMap<String, String> = layers
        .names()
        .map(variable_name)
        .map(|name| (plain(&name), name))
        .collect();
    names
        .filter_map(|name| Some((known.get(&plain(&name))?.clone(), name)))
        .map(|(meant, name)| (name, meant))
        .collect()
}

/// Which settings file to read: `explicit`, whether it exists or not, else the first that exists
/// of `dispatcher.toml` in `working_directory` and in [`SYSTEM_DIRECTORY`], else none.
pub fn locate(explicit: Option<&Path>, working_directory: &Path) -> Option<PathBuf> {
    let directories = [working_directory, Path::new(SYSTEM_DIRECTORY)];
    match explicit {
        Some(path) => Some(working_directory.join(path)),
        None => first_existing(&directories),
    }
}

/// A file that can't be looked at is taken as existing: reading it will say what is wrong, while
/// passing it over would run with settings that nobody chose.
fn first_existing(directories: &[&Path]) -> Option<PathBuf> {
    directories
        .iter()
        .map(|directory| directory.join(FILE_NAME))
        .find(|path| path.try_exists().unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_single_underscores_is_noticed() {
        let names = [
            "DISPATCHER_STORE_URL",
            "DISPATCHER_HOME",
            "DISPATCHER_STORE__URL",
            "PATH",
        ];
        let meant = "DISPATCHER__STORE__URL".to_owned();
        assert_eq!(
            mistaken(names.map(str::to_owned).into_iter()),
            [
                (names[0].to_owned(), meant.clone()),
                (names[2].to_owned(), meant)
            ]
        );
    }

    #[test]
    fn takes_the_explicit_file_then_the_working_directory_then_the_system() {
        let (working, system) = (tempfile::tempdir(), tempfile::tempdir());
        let working = working.expect("a temporary directory");
        let system = system.expect("a temporary directory");
        let directories = [working.path(), system.path()];
        assert_eq!(first_existing(&directories), None);

        let in_system = system.path().join(FILE_NAME);
        std::fs::write(&in_system, "").expect("writable");
        assert_eq!(first_existing(&directories), Some(in_system));

        let in_working = working.path().join(FILE_NAME);
        std::fs::write(&in_working, "").expect("writable");
        assert_eq!(locate(None, working.path()), Some(in_working));

        let missing = Path::new("missing.toml");
        let explicit = locate(Some(missing), working.path());
        assert_eq!(explicit, Some(working.path().join(missing)));
        let absolute = Path::new("/etc/other.toml");
        assert_eq!(
            locate(Some(absolute), working.path()).as_deref(),
            Some(absolute)
        );
    }
}
