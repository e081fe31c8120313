//! Configuration as an operator meets it: files in a directory, variables, and messages.

mod client_certificates;
mod faults;
mod keys;
mod layers;
mod settings;

use std::fmt::Display;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Inputs;

/// A working directory with files in it.
struct Folder {
    directory: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `content` to the file `name`, which only the owner can read.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let directory = path.parent().expect("a file is in a directory");
        std::fs::create_dir_all(directory).expect("writable");
        std::fs::write(&path, content).expect("writable");
        self.chmod(name, 0o600);
        path
    }

    fn chmod(&self, name: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), permissions).expect("own file");
    }

    /// This directory as the working directory, no file, no variables.
    fn inputs(&self) -> Inputs {
        Inputs {
            working_directory: self.directory.path().to_owned(),
            ..Inputs::default()
        }
    }

    /// With the settings file `content`.
    fn with_file(&self, content: &str) -> Inputs {
        Inputs {
            file: Some(self.write("dispatcher.toml", content)),
            ..self.inputs()
        }
    }

    /// With `variables`, by their names after the prefix.
    fn with_variables(&self, variables: &[(&str, &str)]) -> Inputs {
        let variable =
            |(name, value): &(&str, &str)| (format!("DISPATCHER__{name}"), (*value).to_owned());
        Inputs {
            environment: variables.iter().map(variable).collect(),
            ..self.inputs()
        }
    }

    /// The lines of `error`, with this directory left out of them.
    fn lines(&self, error: &impl Display) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        let text = error.to_string().replace(&directory, "");
        text.lines().map(str::to_owned).collect()
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}
