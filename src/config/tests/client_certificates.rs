//! Certificates that an app shows its merchants.

use super::super::Keys;
use super::Folder;
use super::keys::{ONE_KEY, SECRET, faults, signing};

/// A key and its certificate, both PEM.
fn certified() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["app-6.test".to_owned()]);
    let made = made.expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn an_app_may_have_a_client_certificate() {
    let folder = Folder::new();
    let (certificate, key) = certified();
    folder.write("6.pem", &certificate);
    folder.write("6.key", &key);
    folder.chmod("6.key", 0o600);
    let entry = "[[client_certificate]]\napp_id = \"6\"\ncertificate_file = \"6.pem\"\n\
                 private_key_file = \"6.key\"\n";
    folder.write("keys.toml", &format!("{ONE_KEY}{entry}"));
    let keys = Keys::load(&signing(&folder), None).expect("all in order");
    assert!(keys.client_certificates.has("6") && !keys.client_certificates.has("7"));
    assert!(!format!("{keys:?}").contains("PRIVATE"), "{keys:?}");
}

#[test]
fn a_client_certificate_has_to_be_good() {
    let folder = Folder::new();
    let ((certificate, key), (_, strange)) = (certified(), certified());
    folder.write("6.pem", &certificate);
    for (name, key) in [
        ("6.key", &key),
        ("strange.key", &strange),
        ("open.key", &key),
    ] {
        folder.write(name, key);
        folder.chmod(name, 0o600);
    }
    folder.chmod("open.key", 0o644);
    let entry = |certificate: &str, key: &str| {
        format!(
            "[[client_certificate]]\napp_id = \"6\"\ncertificate_file = \"{certificate}\"\n\
             private_key_file = \"{key}\"\n"
        )
    };
    let good = entry("6.pem", "6.key");
    for (entries, words) in [
        (good.replace("app_id", "app"), "unknown field"),
        (good.replace("6.key", ""), "no private_key_file; add"),
        (entry("missing.pem", "6.key"), "name a PEM file"),
        (entry("6.key", "6.key"), "has no certificate in it"),
        (entry("6.pem", "6.pem"), "no PEM private key found"),
        (entry("6.pem", "open.key"), "chmod 600"),
        (
            entry("6.pem", "strange.key"),
            "is not the key of the first certificate",
        ),
        (
            entry("6.pem", &format!("-----BEGIN {SECRET}")),
            "not a file name",
        ),
        (format!("{good}{good}"), "two client certificates"),
        (
            "client_certificate = 1\n".to_owned(),
            "write [[client_certificate]]",
        ),
    ] {
        let content = match entries.starts_with('[') {
            true => format!("{ONE_KEY}{entries}"),
            false => format!("{entries}{ONE_KEY}"),
        };
        let found = faults(&folder, &signing(&folder), &content);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(words), "{found:?}");
    }
}
