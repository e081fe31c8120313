//! `keys.toml`.

use std::path::Path;

use super::super::{Configuration, Inputs, Keys, Settings, SigningSettings};
use super::{Folder, fixture};
use crate::domain::{Algorithm, Convention, Timestamp};

/// What must never be seen in a message.
pub(super) const SECRET: &str = "hunter2-hunter2";

pub(super) const ONE_KEY: &str =
    "[[key]]\napp_id = \"6\"\nid = \"a\"\nsecret = \"newpay-demo-secret\"\n";

pub(super) fn signing(folder: &Folder) -> SigningSettings {
    let settings = Settings::load(&folder.inputs()).expect("the defaults are in order");
    settings.signing
}

/// The faults of a keys file with `content`, one per line; none of them shows the secret.
pub(super) fn faults(folder: &Folder, signing: &SigningSettings, content: &str) -> Vec<String> {
    folder.write("keys.toml", content);
    let invalid = Keys::load(signing, None).expect_err("a fault");
    for shown in [invalid.to_string(), format!("{invalid:?}")] {
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    folder.lines(&invalid)
}

fn copy_rsa_key(folder: &Folder) {
    let pem = std::fs::read_to_string(fixture("rsa-2048.pem")).expect("the fixture is there");
    folder.write("rsa.pem", &pem);
}

#[test]
fn reads_a_rotation() {
    let folder = Folder::new();
    folder.write(
        "keys.toml",
        "[[key]]\napp_id = \"6\"\nid = \"old\"\nsecret = \"one\"\n\
         [[key]]\napp_id = \"6\"\nid = \"new\"\nsecret = \"two\"\n\
         not_before = 2026-11-01T07:00+07:00\n\
         [[key]]\napp_id = \"7\"\nid = \"only\"\nsecret = \"three\"\nalgorithm = \"hmac-sha256\"\n\
         not_before = 2026-11-01 00:00:00.5Z\n",
    );
    let keys = Keys::load(&signing(&folder), None).expect("all in order");
    assert_eq!(keys.path, folder.path("keys.toml"));
    assert_eq!(keys.keyring.apps().collect::<Vec<_>>(), ["6", "7"]);
    let begins = Timestamp::parse("2026-11-01T00:00:00Z").expect("a moment");
    let second_before = Timestamp::from_millis(begins.as_millis() - 1000);
    let signer = |now| keys.keyring.signer("6", now).expect("a key").id.clone();
    assert_eq!(signer(second_before), "old");
    assert_eq!(signer(begins), "new");
    let begins_of_7 = keys.keyring.keys("7")[0].not_before.expect("given");
    assert_eq!(begins_of_7.as_millis(), begins.as_millis() + 500);
    assert!(!format!("{keys:?}").contains("three"), "{keys:?}");
}

#[test]
fn reads_an_rsa_key_beside_hmac_keys() {
    let folder = Folder::new();
    copy_rsa_key(&folder);
    let rsa = "[[key]]\napp_id = \"8\"\nid = \"r\"\nprivate_key_file = \"rsa.pem\"\n";
    folder.write(
        "keys.toml",
        &format!("{ONE_KEY}{rsa}algorithm = \"rsa-sha256\"\n"),
    );
    let keys = Keys::load(&signing(&folder), None).expect("all in order");
    let algorithm = |keys: &Keys, app: &str| keys.keyring.keys(app)[0].key.algorithm();
    assert_eq!(algorithm(&keys, "6"), Algorithm::HmacSha256);
    assert_eq!(algorithm(&keys, "8"), Algorithm::RsaSha256);

    let by_default = SigningSettings {
        algorithm: Algorithm::RsaSha256,
        ..signing(&folder)
    };
    folder.write("keys.toml", rsa);
    let keys = Keys::load(&by_default, None).expect("rsa is the default");
    assert_eq!(algorithm(&keys, "8"), Algorithm::RsaSha256);
}

#[test]
fn an_rsa_key_has_to_fit() {
    let folder = Folder::new();
    copy_rsa_key(&folder);
    let key = "[[key]]\napp_id = \"8\"\nid = \"r\"\nalgorithm = \"rsa-sha256\"\n\
               private_key_file = \"rsa.pem\"\n";
    let appending = SigningSettings {
        convention: Convention {
            append_key: true,
            ..Convention::default()
        },
        ..signing(&folder)
    };
    let found = faults(&folder, &appending, key);
    assert!(found[0].contains("set append_key = false"), "{found:?}");

    folder.chmod("rsa.pem", 0o640);
    let found = faults(&folder, &signing(&folder), key);
    assert!(
        found[0].contains("rsa.pem: others may read it (mode 0640); chmod 600 rsa.pem"),
        "{found:?}"
    );

    // A PEM file on a single line: the decoder's own message has that line in it, as a list of
    // bytes that a search for the text would miss. So the whole message is compared.
    folder.write("rsa.pem", &format!("-----BEGIN PRIVATE KEY {SECRET}\n"));
    let found = faults(&folder, &signing(&folder), key);
    assert_eq!(
        found,
        [
            "keys.toml:5: key 1 (app_id \"8\", id \"r\"): rsa.pem: no PEM private key found; \
             expected PKCS#8 or PKCS#1, not encrypted, with BEGIN and END on lines of their own"
        ]
    );

    std::fs::remove_file(folder.path("rsa.pem")).expect("own file");
    let found = faults(&folder, &signing(&folder), key);
    assert!(found[0].contains("rsa.pem: can't be read"), "{found:?}");

    let inline = key.replace("rsa.pem", &format!("-----BEGIN {SECRET}"));
    let found = faults(&folder, &signing(&folder), &inline);
    assert!(found[0].contains("not a file name"), "{found:?}");
}

#[test]
fn reports_every_fault_of_every_entry() {
    let folder = Folder::new();
    let found = faults(
        &folder,
        &signing(&folder),
        &format!(
            "[[key]]\nid = \"a\"\nsecret = \"{SECRET}\"\nprivate_key_file = \"x.pem\"\n\
             [[key]]\napp_id = 6\nid = \"\"\nnot_before = 2026-11-01T00:00:00\n\
             [[key]]\napp_id = \"6\"\nid = \"b\"\nsecrt = \"{SECRET}\"\n\
             [[key]]\napp_id = \"6\"\nid = \"c\"\nsecret = \"{SECRET}\"\nalgorithm = \"{SECRET}\"\n\
             [[key]]\napp_id = \"6\"\nid = \"d\"\nsecret = \"{SECRET}\"\nalgorithm = \"rsa-sha256\"\n\
             [[key]]\napp_id = \"6\"\nid = \"e\"\nprivate_key_file = \"x.pem\"\n\
             [[key]]\napp_id = \"6\"\nid = \"f\"\nsecret = \"\"\nnot_before = \"{SECRET}\"\n\
             [[key]]\napp_id = \"6\"\nid = \"g\"\nsecret = 2026-11-01\n",
        ),
    );
    assert_eq!(
        found,
        [
            "keys.toml:1: key 1 (id \"a\"): no app_id; add app_id = \"...\"",
            "keys.toml:4: key 1 (id \"a\"): both secret and private_key_file; keep one",
            "keys.toml:6: key 2 (id \"\"): app_id is of type integer; write a text in quotes",
            "keys.toml:7: key 2 (id \"\"): id is empty; fill it in",
            "keys.toml:8: key 2 (id \"\"): not_before is not a moment; write date, time and offset \
             without quotes, for instance 2026-11-01T00:00:00Z",
            "keys.toml:5: key 2 (id \"\"): neither secret nor private_key_file; \
             add the app's secret",
            "keys.toml:12: key 3 (app_id \"6\", id \"b\"): unknown field; did you mean secret?",
            "keys.toml:9: key 3 (app_id \"6\", id \"b\"): neither secret nor private_key_file; \
             add the app's secret",
            "keys.toml:17: key 4 (app_id \"6\", id \"c\"): unknown algorithm; \
             write \"hmac-sha256\" or \"rsa-sha256\"",
            "keys.toml:21: key 5 (app_id \"6\", id \"d\"): rsa-sha256 needs private_key_file; \
             name it instead of the secret, or add algorithm = \"hmac-sha256\"",
            "keys.toml:26: key 6 (app_id \"6\", id \"e\"): hmac-sha256 needs a secret; \
             give it instead of the file, or add algorithm = \"rsa-sha256\"",
            "keys.toml:31: key 7 (app_id \"6\", id \"f\"): not_before is not a moment; \
             write date, time and offset without quotes, for instance 2026-11-01T00:00:00Z",
            "keys.toml:30: key 7 (app_id \"6\", id \"f\"): the secret is empty; \
             give the app's secret",
            "keys.toml:35: key 8 (app_id \"6\", id \"g\"): secret is of type datetime; \
             write a text in quotes",
        ]
    );
}

#[test]
fn keys_of_one_app_must_not_clash() {
    let folder = Folder::new();
    let found = faults(&folder, &signing(&folder), &format!("{ONE_KEY}{ONE_KEY}"));
    assert_eq!(
        found,
        [
            "keys.toml: app \"6\" has two keys with id \"a\"; give each its own",
            "keys.toml: keys \"a\" and \"a\" of app \"6\" begin at the same moment; \
             give them different not_before",
        ]
    );
}

#[test]
fn no_secret_is_shown_however_broken_the_file() {
    let folder = Folder::new();
    let key = "[[key]]\napp_id = \"6\"\nid = \"a\"\n";
    for content in [
        format!("{key}secret = {SECRET}\n"),
        format!("{key}secret = \"{SECRET}\n"),
        format!("{key}secret: {SECRET}\n"),
        format!("{key}secret = '{SECRET}' {SECRET}\n"),
        format!("{key}secret = \"{SECRET}\\q\"\n"),
        format!("{key}secret = \"x\"\n{SECRET} = 1\n{SECRET} = 2\n"),
        format!("{key}secret = [\"{SECRET}\"]\n"),
        format!("{key}secret = {{ v = \"{SECRET}\" }}\n"),
        format!("{key}{SECRET} = \"{SECRET}\"\n"),
        format!("secret = \"{SECRET}\"\n"),
        format!("key = \"{SECRET}\"\n"),
        format!("key = [\"{SECRET}\"]\n"),
        format!("[key]\nsecret = \"{SECRET}\"\n"),
        format!("[[keys]]\nsecret = \"{SECRET}\"\n{ONE_KEY}"),
        format!("[{SECRET}]\n"),
    ] {
        let found = faults(&folder, &signing(&folder), &content);
        assert!(
            found.iter().all(|line| line.starts_with("keys.toml:")),
            "{found:?}"
        );
    }
    let path = folder.path("keys.toml");
    std::fs::write(&path, [0xff, 0xfe]).expect("writable");
    let invalid = Keys::load(&signing(&folder), None).expect_err("not UTF-8");
    assert_eq!(
        folder.lines(&invalid),
        ["keys.toml: not UTF-8 text; save it as UTF-8"]
    );
}

#[test]
fn a_file_without_keys_or_none_at_all_is_a_fault() {
    let folder = Folder::new();
    let expected = ["keys.toml: no key in it; add a [[key]] with app_id, id and secret"];
    for content in ["", "# none yet\n", "key = []\n"] {
        assert_eq!(
            faults(&folder, &signing(&folder), content),
            expected,
            "{content}"
        );
    }
    std::fs::remove_file(folder.path("keys.toml")).expect("own file");
    let invalid = Keys::load(&signing(&folder), None).expect_err("no file");
    assert_eq!(
        folder.lines(&invalid),
        [
            "keys.toml: can't be read (No such file or directory (os error 2)); \
          create it with a [[key]] for each app, or set signing.keys_file"
        ]
    );
}

#[test]
fn refuses_a_file_that_others_can_read() {
    let folder = Folder::new();
    folder.write("keys.toml", ONE_KEY);
    folder.chmod("keys.toml", 0o644);
    let invalid = Keys::load(&signing(&folder), None).expect_err("open to others");
    assert_eq!(
        folder.lines(&invalid),
        ["keys.toml: others may read it (mode 0644); chmod 600 keys.toml"]
    );
    folder.chmod("keys.toml", 0o400);
    Keys::load(&signing(&folder), None).expect("closed");
}

#[test]
fn the_credentials_directory_wins() {
    let folder = Folder::new();
    folder.write("keys.toml", ONE_KEY);
    let credentials = folder.path("credentials");
    let load = |directory: &Path| Keys::load(&signing(&folder), Some(directory));
    let keys = load(&credentials).expect("it is not there, so the keys file holds");
    assert_eq!(keys.path, folder.path("keys.toml"));

    let rsa = ONE_KEY.replace(
        "secret = \"newpay-demo-secret\"",
        "private_key_file = \"r.pem\"",
    );
    folder.write(
        "credentials/keys.toml",
        &format!("{rsa}algorithm = \"rsa-sha256\"\n"),
    );
    std::fs::copy(fixture("rsa-2048.pem"), folder.path("credentials/r.pem")).expect("writable");
    // As systemd leaves them when it gives access by ACL.
    folder.chmod("credentials/keys.toml", 0o440);
    folder.chmod("credentials/r.pem", 0o440);
    let keys = load(&credentials).expect("all in order");
    assert_eq!(keys.path, credentials.join("keys.toml"));
    assert_eq!(
        keys.keyring.keys("6")[0].key.algorithm(),
        Algorithm::RsaSha256
    );

    folder.chmod("credentials/keys.toml", 0o444);
    let invalid = load(&credentials).expect_err("open to others");
    assert_eq!(
        folder.lines(&invalid),
        ["credentials/keys.toml: others may read it (mode 0444); chmod o= credentials/keys.toml"]
    );
}

#[test]
fn one_run_reports_settings_and_keys() {
    let folder = Folder::new();
    folder.write("keys.toml", "");
    let inputs = folder.with_variables(&[("LOG__FORMAT", "xml")]);
    let invalid = Configuration::load(&inputs).expect_err("two faults");
    let lines = folder.lines(&invalid);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("log.format"), "{lines:?}");
    assert!(lines[1].starts_with("keys.toml: no key in it"), "{lines:?}");

    // Which keys are meant is not known while [signing] is at fault.
    let inputs = folder.with_variables(&[("SIGNING__ENCODING", "xml")]);
    let invalid = Configuration::load(&inputs).expect_err("one fault");
    assert_eq!(invalid.faults.len(), 1, "{invalid}");

    folder.write("keys.toml", ONE_KEY);
    let inputs = Inputs {
        credentials_directory: Some(folder.path("nowhere")),
        ..folder.inputs()
    };
    let configuration = Configuration::load(&inputs).expect("all in order");
    assert_eq!(
        configuration.keys.path,
        configuration.settings.signing.keys_file
    );
}

#[test]
fn the_console_has_a_token_if_the_file_has_one() {
    let folder = Folder::new();
    folder.write("keys.toml", ONE_KEY);
    let keys = Keys::load(&signing(&folder), None).expect("all in order");
    assert!(keys.console_token.is_none());
    let section = format!("[console]\ntoken = \"{SECRET}-and-more\"\n");
    folder.write("keys.toml", &format!("{ONE_KEY}{section}"));
    let keys = Keys::load(&signing(&folder), None).expect("all in order");
    let token = keys.console_token.as_ref().expect("it is there");
    assert_eq!(token.expose(), format!("{SECRET}-and-more"));
    assert!(!format!("{keys:?}").contains("hunter2"), "{keys:?}");
}

#[test]
fn a_token_has_to_be_good() {
    let folder = Folder::new();
    let signing = signing(&folder);
    for (section, words) in [
        ("[console]\n", "no token; write token"),
        (
            "[console]\ntoken = \"hunter2\"\n",
            "shorter than 20 characters",
        ),
        ("[console]\ntoken = true\n", "not a text in quotes"),
        (
            "[console]\ntoken = \" hunter2-hunter2-hunter2\"\n",
            "white space around it",
        ),
        ("console = \"hunter2-hunter2-hunter2\"\n", "write [console]"),
        (
            "[console]\ntoken = \"hunter2-hunter2-hunter2\"\ntokne = \"hunter2\"\n",
            "unknown field",
        ),
    ] {
        let content = match section.starts_with('[') {
            true => format!("{ONE_KEY}{section}"),
            false => format!("{section}{ONE_KEY}"),
        };
        let found = faults(&folder, &signing, &content);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(words), "{section}: {found:?}");
    }
}
