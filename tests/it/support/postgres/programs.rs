//! Where PostgreSQL's programs are, and as whom the server's run: it refuses to be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian has those of the server, which are on nobody's PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The user that Debian's package makes.
const USER: &str = "postgres";

/// A program, free of what the environment says of other servers. `package` is what to install if
/// it is not there.
pub(super) fn command(name: &str, package: &str) -> Command {
    bare(Command::new(find(name, package)))
}

/// A program of the server's, as the user that it may run as.
pub(super) fn server_command(name: &str) -> Command {
    let program = find(name, "postgresql");
    if owner().is_none() {
        return bare(Command::new(program));
    }
    let mut command = bare(Command::new(find("setpriv", "util-linux")));
    command
        .arg(format!("--reuid={USER}"))
        .arg(format!("--regid={USER}"))
        .args(["--init-groups", "--"])
        .arg(program);
    command
}

/// Whose the server's files are, if not ours: user and group.
pub(super) fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id");
        assert!(
            output.status.success(),
            "no user {USER}; install the package postgresql"
        );
        let printed = String::from_utf8(output.stdout).expect("digits");
        printed.trim().parse::<u32>().expect("a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", USER]), id(&["-g", USER])))
}

fn find(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut of_debian: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    // The newest one that is there.
    of_debian.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let folders = on_path.into_iter().chain(of_debian);
    let mut places = folders.map(|folder| folder.join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("{name} is neither on PATH nor in {DEBIAN}/*/bin; install the package {package}")
    })
}

fn version(path: &Path) -> Option<u32> {
    path.parent()?.file_name()?.to_str()?.parse().ok()
}

fn bare(mut command: Command) -> Command {
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command
}
