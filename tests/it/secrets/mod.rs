//! No secret gets out: not into a log, an error, a metric, a page or the database.
//!
//! [`ALL`] has every secret that the tests give to the program. `support::process` and `support::place`
//! compare all that they see with it, in each test that uses them: what the program prints, and
//! whatever files stand in its folder when a test ends. [`tour`] makes the program speak about secrets
//! as much as it can.

mod tour;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The shared secret of the contract's vectors.
pub(super) const HMAC: &str = "newpay-demo-secret";

/// One that is being rotated in.
pub(super) const HMAC_NEXT: &str = "hmac-secret-of-next-month-7f3a";

/// The password of a proxy.
pub(super) const PROXY_PASSWORD: &str = "proxy-password-51c2";

/// What operators show to the console.
pub(super) const CONSOLE_TOKEN: &str = "console-token-of-the-night-2b7e";

/// In the URL of a callback, where some merchants put one.
pub(super) const URL_TOKEN: &str = "merchant-url-token-9d04";

/// A private key in PEM.
pub(super) const RSA: &str = include_str!("../../fixtures/rsa-test-only.pkcs8.pem");

/// Every secret, in each form in which it could get out.
static ALL: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let mut forms = Vec::new();
    for secret in [HMAC, HMAC_NEXT, PROXY_PASSWORD, CONSOLE_TOKEN] {
        forms.push((secret.to_owned(), secret.as_bytes().to_vec()));
        forms.push((format!("{secret} in hex"), hex::encode(secret).into_bytes()));
        for (name, engine) in [("Base64", &STANDARD), ("Base64 for URLs", &URL_SAFE)] {
            // The last group depends on what follows.
            let whole = &secret.as_bytes()[..secret.len() / 3 * 3];
            let form = engine.encode(whole).into_bytes();
            forms.push((format!("{secret} in {name}"), form));
        }
        // As a vector of bytes prints itself.
        let debug = format!("{:?}", secret.as_bytes());
        let debug = debug.trim_matches(['[', ']']).as_bytes().to_vec();
        forms.push((format!("{secret} as numbers"), debug));
    }
    let lines = RSA.lines().filter(|line| !line.starts_with("-----"));
    for line in lines {
        forms.push(("the RSA key".to_owned(), line.as_bytes().to_vec()));
        let der = STANDARD.decode(line).expect("whole groups to a line");
        forms.push(("the RSA key in DER".to_owned(), der.clone()));
        forms.push((
            "the RSA key in hex".to_owned(),
            hex::encode(der).into_bytes(),
        ));
    }
    forms
});

static SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let forms = ALL.iter().map(|(_, form)| form);
    AhoCorasick::new(forms).expect("few and short")
});

/// The secret that stands in `bytes`, if one does.
fn found_in(bytes: &[u8]) -> Option<&'static str> {
    let found = SEARCH.find(bytes)?;
    Some(ALL[found.pattern().as_usize()].0.as_str())
}

/// No secret stands in what the program said.
#[track_caller]
pub(super) fn assert_none_in(what: &str, bytes: &[u8]) {
    if let Some(secret) = found_in(bytes) {
        let text = String::from_utf8_lossy(bytes);
        panic!("{secret} is in {what}: {text}");
    }
}

/// No secret stands in a file of `folder`, but in those that exist to hold one. Returns how many
/// files were looked at.
pub(super) fn assert_none_in_files(folder: &Path) -> usize {
    let mut looked_at = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let holds_one = name.starts_with("keys") || name.ends_with(".pem");
        if path.is_dir() {
            looked_at += assert_none_in_files(&path);
        } else if !holds_one
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(bytes) = fs::read(&path)
        {
            looked_at += 1;
            if let Some(secret) = found_in(&bytes) {
                panic!("{secret} is in {name}");
            }
        }
    }
    looked_at
}

#[test]
fn every_form_of_every_secret_is_found() {
    assert!(ALL.len() > 60, "{}", ALL.len());
    for (name, form) in &*ALL {
        let around = [b"before ", form.as_slice(), b" after"].concat();
        assert!(found_in(&around).is_some(), "{name}");
    }
    assert_eq!(found_in(b"newpay-demo, a secret"), None);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("keys.toml"), HMAC).expect("written");
    fs::write(folder.path().join("queue.db"), "nothing").expect("written");
    assert_eq!(assert_none_in_files(folder.path()), 1);
    fs::write(folder.path().join("queue.db-wal"), format!("..{HMAC}..")).expect("written");
    let found = std::panic::catch_unwind(|| assert_none_in_files(folder.path()));
    found.expect_err("it is in the -wal file");
}
