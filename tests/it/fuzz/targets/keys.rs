//! A keys file: keys that can be used, or faults; and whatever it is, no secret in any of it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use callback_dispatcher::config::{Inputs, Keys, Settings, SigningSettings};
use callback_dispatcher::domain::Timestamp;

use super::folder;

/// What secrets in the corpus are made of: no word of any message.
pub(crate) const SECRET: &str = "hQ7xW2vK9";

const FILE_NAME: &str = "keys.toml";

static SIGNING: LazyLock<SigningSettings> = LazyLock::new(|| {
    let settings = Settings::load(&Inputs::default());
    settings.expect("the defaults are good").signing
});

/// `data` is the file.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Such a file is opened wherever it is: not for a fuzzer to choose.
    let names_a_file = |line: &str| line.contains('/') || line.contains('\\');
    if text.contains("private_key_file") && text.lines().any(names_a_file) {
        return;
    }
    folder::with_file(FILE_NAME, data, |folder| {
        let signing = SigningSettings {
            keys_file: folder.join(FILE_NAME),
            ..SIGNING.clone()
        };
        let loaded = Keys::load(&signing, None);
        let said = match &loaded {
            Ok(keys) => {
                check_keys(keys);
                format!("{keys:?}")
            }
            Err(invalid) => {
                assert!(!invalid.faults.is_empty());
                let lines = text.split('\n').count();
                for fault in &invalid.faults {
                    let shown = fault.to_string();
                    assert!(shown.contains(FILE_NAME), "{shown}");
                    assert!(!shown.contains('\n'), "{shown:?}");
                    check_line(&shown, lines);
                }
                format!("{invalid} {invalid:?}")
            }
        };
        if !is_named(&text) {
            assert!(!said.contains(SECRET), "{said}");
        }
    });
}

/// `...keys.toml:LINE: ...` names a line that is there.
fn check_line(shown: &str, lines: usize) {
    let behind = shown.split_once("keys.toml:").map(|(_, behind)| behind);
    let number = behind.and_then(|behind| behind.split(':').next());
    if let Some(line) = number.and_then(|number| number.parse::<usize>().ok()) {
        assert!((1..=lines).contains(&line), "{shown}");
    }
}

/// Whether the secret stands where no secret belongs: as the name of something. Names are shown.
fn is_named(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else {
        return false;
    };
    let entries = table.get("key").and_then(|key| key.as_array());
    entries.into_iter().flatten().any(|entry| {
        ["app_id", "id", "private_key_file"].iter().any(|name| {
            let value = entry.get(name).and_then(|value| value.as_str());
            value.is_some_and(|value| value.contains(SECRET))
        })
    })
}

/// Each app has a key that signs in the end, and no two of one name.
fn check_keys(keys: &Keys) {
    let mut apps = 0;
    for app in keys.keyring.apps() {
        apps += 1;
        assert!(!app.is_empty());
        let entries = keys.keyring.keys(app);
        let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids.len(), entries.len(), "{app}");
        assert!(!ids.contains(""), "{app}");
        let newest = keys.keyring.signer(app, Timestamp::from_millis(i64::MAX));
        let newest = newest.expect("by then every key has begun");
        for entry in entries {
            assert_eq!(entry.app_id, app);
            assert!(entry.not_before <= newest.not_before, "{app}");
        }
    }
    assert!(apps > 0, "a file without keys is a fault");
}
