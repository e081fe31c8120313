//! The name of the person at the terminal.

use std::os::unix::fs::MetadataExt;

/// The login name: that of the caller of sudo, or of this session. No proof of identity: anyone who
/// may write to the queue can write any name.
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
