//! Published signatures, and what another program says of ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use callback_dispatcher::domain::{
    Algorithm, Convention, EmptyValues, Encoding, InvalidKey, Member, Secret, SigningKey, Value,
};
use serde::Deserialize;
use tempfile::TempDir;

use super::Members;
use crate::support::vectors::{CANONICAL_FORMS, SECRET, SIGNS, TIMESTAMP, messages};

fn hmac(secret: &str) -> SigningKey {
    SigningKey::hmac(Secret::new(secret.to_owned())).expect("a secret")
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    PathBuf::from(fixtures).join(name)
}

fn rsa(name: &str) -> Result<SigningKey, InvalidKey> {
    SigningKey::rsa_from_pem(&fs::read(fixture(name)).expect("a fixture"))
}

#[test]
fn the_contracts_two_vectors() {
    let convention = Convention::default();
    let key = hmac(SECRET);
    let vectors = CANONICAL_FORMS.into_iter().zip(SIGNS);
    for (message, (canonical_form, sign)) in messages().iter().zip(vectors) {
        let ours = convention.canonical_form(&message.members(TIMESTAMP));
        assert_eq!(ours, canonical_form);
        assert_eq!(key.sign(&convention, &ours).as_deref(), Some(sign));
        assert!(key.verifies(&convention, &ours, sign));
        assert!(!hmac("another").verifies(&convention, &ours, sign));
        assert!(!key.verifies(&convention, &format!("{ours} "), sign));
    }
}

/// A published signature of another gateway.
#[derive(Deserialize)]
struct Vector {
    name: String,
    params: Members<String>,
    secret: String,
    empty_values: EmptyValues,
    append_key: bool,
    encoding: Encoding,
    sign: String,
}

#[test]
fn published_vectors_of_other_gateways() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/sign.json")).expect("vectors");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let convention = Convention {
            encoding: vector.encoding,
            empty_values: vector.empty_values,
            append_key: vector.append_key,
            ..Convention::default()
        };
        let params = vector.params.0.iter();
        let members: Vec<_> = params
            .map(|(name, value)| Member {
                name,
                value: Value::Text(value),
            })
            .collect();
        let canonical_form = convention.canonical_form(&members);
        let sign = hmac(&vector.secret).sign(&convention, &canonical_form);
        assert_eq!(sign, Some(vector.sign), "{}", vector.name);
        assert!(!canonical_form.contains(&vector.secret), "{}", vector.name);
    }
}

#[test]
fn the_convention_is_a_setting() {
    let members = [
        ("b", Value::Text("ສ&=%")),
        ("B", Value::Number(-7)),
        ("a", Value::Text("")),
        ("c", Value::Text(" ")),
    ];
    let members = members.map(|(name, value)| Member { name, value });
    let keep = Convention::default();
    let skip = Convention {
        empty_values: EmptyValues::Skip,
        ..keep
    };
    assert_eq!(keep.canonical_form(&members), "B=-7&a=&b=ສ&=%&c= ");
    assert_eq!(skip.canonical_form(&members), "B=-7&b=ສ&=%&c= ");

    // echo -n 'a=1' | openssl dgst -sha256 -hmac k
    let expected = "310f57de49873563b85599a4aaa688883c5c6ebc7d3925020d99379d1a4d0af8";
    let with = |encoding| Convention { encoding, ..keep };
    let lower = hmac("k")
        .sign(&with(Encoding::Hex), "a=1")
        .expect("a signature");
    let upper = hmac("k")
        .sign(&with(Encoding::HexUpper), "a=1")
        .expect("a signature");
    assert_eq!(lower, expected);
    assert_eq!(upper, lower.to_uppercase());
    // A signature in the other case is another text than the convention's.
    assert!(hmac("k").verifies(&with(Encoding::Hex), "a=1", &lower));
    assert!(!hmac("k").verifies(&with(Encoding::Hex), "a=1", &upper));

    // The key is appended to the text that is signed.
    let appended = Convention {
        append_key: true,
        ..keep
    };
    assert_eq!(
        hmac("k").sign(&appended, "a=1"),
        hmac("k").sign(&keep, "a=1&key=k")
    );
}

#[test]
fn openssl_accepts_our_rsa_signature() {
    let scratch = TempDir::new().expect("a temporary directory");
    let (text, signature) = (
        scratch.path().join("text"),
        scratch.path().join("signature"),
    );
    let convention = Convention::default();
    let accepts = |canonical_form: &str, sign: &str| {
        fs::write(&text, canonical_form).expect("a writable directory");
        fs::write(&signature, BASE64.decode(sign).expect("Base64")).expect("a writable directory");
        let output = Command::new("openssl")
            .args(["dgst", "-sha256", "-verify"])
            .arg(fixture("rsa-test-only.public.pem"))
            .arg("-signature")
            .args([&signature, &text])
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}; scripts/check installs it"));
        output.status.success()
    };
    for name in ["rsa-test-only.pkcs8.pem", "rsa-test-only.pkcs1.pem"] {
        let key = rsa(name).expect("a usable key");
        assert_eq!(key.algorithm(), Algorithm::RsaSha256);
        for message in messages() {
            let canonical_form = convention.canonical_form(&message.members(TIMESTAMP));
            let sign = key.sign(&convention, &canonical_form).expect("a signature");
            assert!(accepts(&canonical_form, &sign), "{name}");
            assert!(!accepts(&format!("{canonical_form}0"), &sign), "{name}");
            assert!(key.verifies(&convention, &canonical_form, &sign));
            assert!(!key.verifies(&convention, &format!("{canonical_form}0"), &sign));
        }
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_with_a_reason() {
    let empty = SigningKey::hmac(Secret::new(String::new()));
    assert_eq!(empty.err(), Some(InvalidKey::EmptySecret));
    for name in ["ec-test-only.pem", "rsa-1024-test-only.pem"] {
        let refused = rsa(name).expect_err(name);
        assert!(
            matches!(refused, InvalidKey::NotRsa(_)),
            "{name}: {refused}"
        );
    }
    for name in ["rsa-test-only.public.pem", "../vectors/sign.json"] {
        let refused = rsa(name).expect_err(name);
        assert!(matches!(refused, InvalidKey::NotPem), "{name}: {refused}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    let key = hmac("newpay-demo-secret");
    assert!(!format!("{key:?}").contains("demo"));
    assert!(!format!("{:?}", Secret::new("newpay-demo-secret".to_owned())).contains("demo"));
}
