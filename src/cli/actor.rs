//! Who sits at the terminal.

use std::os::unix::fs::MetadataExt;

/// The login name: of who called sudo, if anyone has, else of this session. Not a proof of
/// identity; whoever may write the queue can write any name.
pub(super) fn login_name() -> String {
    ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.trim().is_empty())
        .unwrap_or_else(uid)
}

fn uid() -> String {
    match std::fs::metadata("/proc/self") {
        Ok(process) => format!("uid {}", process.uid()),
        Err(_) => "unknown".to_owned(),
    }
}
