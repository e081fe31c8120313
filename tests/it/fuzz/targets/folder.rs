//! A folder for files that are read, one for each thread and all of its inputs.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a temporary folder");
}

/// Lets `work` see a folder in which the file `name` has this content, for its owner alone.
pub(super) fn with_file(name: &str, content: &[u8], work: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        file.and_then(|mut file| file.write_all(content))
            .expect("our own folder");
        work(folder.path());
        fs::remove_file(&path).expect("our own file");
    });
}
