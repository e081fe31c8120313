//! Reads files that hold secrets: only if nobody else can, and into memory that is wiped.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::fault::Problem;

/// A keys file with thousands of apps is smaller by far.
const BYTES_MAX: usize = 4 << 20;

/// What to do about a file that is not there, perhaps.
pub(super) const CHECK_THE_PATH: &str = "check the path and its owner";

/// Who may have access besides the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody: for a file that an operator made.
    OwnerOnly,
    /// The group, at most: for systemd's credentials. It gives the service access by an ACL, whose
    /// mask shows as permissions of the group, and keeps everybody else out of the directory.
    NotOthers,
}

impl Access {
    const fn forbidden_bits(self) -> u32 {
        match self {
            Self::OwnerOnly => 0o077,
            Self::NotOthers => 0o007,
        }
    }

    const fn chmod(self) -> &'static str {
        match self {
            Self::OwnerOnly => "600",
            Self::NotOthers => "o=",
        }
    }
}

/// What some editors put before a text; a PEM file with it would have no line that begins one.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// `pem` without a byte order mark.
pub(super) fn without_mark(pem: &[u8]) -> &[u8] {
    pem.strip_prefix(BYTE_ORDER_MARK).unwrap_or(pem)
}

/// Reads `path` if `access` allows its mode. The mode is that of the opened file, so it can't be
/// exchanged in between.
pub(super) fn read(path: &Path, access: Access) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |error: std::io::Error| Problem::Unreadable {
        remedy: match error.kind() {
            ErrorKind::PermissionDenied => "read it as its owner, or as root".to_owned(),
            _ => CHECK_THE_PATH.to_owned(),
        },
        error: error.to_string(),
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if mode & access.forbidden_bits() != 0 {
        let remedy = format!("chmod {} {}", access.chmod(), path.display());
        return Err(Problem::Exposed { mode, remedy });
    }
    // Room for all of it at once: a buffer that grows would leave copies behind unwiped.
    let length = usize::try_from(metadata.len()).map_or(BYTES_MAX, |length| length.min(BYTES_MAX));
    let mut content = Zeroizing::new(Vec::with_capacity(length + 64));
    file.take(BYTES_MAX as u64 + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() > BYTES_MAX {
        return Err(Problem::Invalid(format!(
            "larger than {BYTES_MAX} bytes; this is not a file of keys"
        )));
    }
    if content.starts_with(BYTE_ORDER_MARK) {
        content.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn refuses_what_others_can_read() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("keys.toml");
        std::fs::write(&path, "content").expect("writable");
        for (mode, owner_only, not_others) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o640, false, true),
            (0o620, false, true),
            (0o644, false, false),
            (0o601, false, false),
        ] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("own file");
            assert_eq!(
                read(&path, Access::OwnerOnly).is_ok(),
                owner_only,
                "{mode:o}"
            );
            assert_eq!(
                read(&path, Access::NotOthers).is_ok(),
                not_others,
                "{mode:o}"
            );
        }
        let problem = read(&path, Access::OwnerOnly).expect_err("mode 0601");
        assert_eq!(
            problem.to_string(),
            format!(
                "others may read it (mode 0601); chmod 600 {}",
                path.display()
            )
        );
        let problem = read(Path::new("/nonexistent/keys.toml"), Access::OwnerOnly);
        assert!(matches!(problem, Err(Problem::Unreadable { .. })));
    }
}
