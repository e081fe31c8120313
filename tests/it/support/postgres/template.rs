//! An initialised data directory that every server begins as a copy of: `initdb` takes longer than
//! most tests. It is made once, under `target/tmp`.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs;

/// Makes the data directory of a server in `folder`.
pub(super) fn copy_to(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    copy(&template(), &data);
    data
}

/// A folder of the server's user.
pub(super) fn folder(prefix: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir();
    let folder = folder.expect("a temporary folder");
    if let Some((user, group)) = programs::owner() {
        chown(folder.path(), Some(user), Some(group)).expect("root may");
    }
    folder
}

fn template() -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let version = output(programs::command("initdb", "postgresql").arg("--version"));
    // "initdb (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"
    let version = version.split_whitespace().nth(2).expect("a version");
    let owner = programs::owner().map_or_else(String::new, |(user, _)| format!("-of-{user}"));
    let template = kept.join(format!("postgres-{version}{owner}"));

    fs::create_dir_all(kept).expect("target is writable");
    let lock = File::create(kept.join("postgres.lock")).expect("target is writable");
    lock.lock()
        .expect("a lock, until whoever makes it has done so");
    if !template.exists() {
        let made = folder("initdb-");
        let mut initdb = programs::server_command("initdb");
        initdb
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--wal-segsize=1", "-U", "postgres", "-D"])
            .arg(made.path().join("data"))
            .current_dir(made.path());
        output(&mut initdb);
        // Under its name once it is whole.
        let half = template.with_extension("half");
        let _ = fs::remove_dir_all(&half);
        copy(&made.path().join("data"), &half);
        fs::rename(&half, &template).expect("the same folder");
    }
    template
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").args(["-a", "--"]).arg(from).arg(to));
}

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
