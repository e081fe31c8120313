//! The signature: canonical form, conventions and keys.
//!
//! The document leaves `sign` undescribed; the default convention here is the contract's, and
//! the switches cover what other gateways do.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::wire::{Member, Value};

/// How a text is made from the members and how its signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convention {
    /// How the signature's bytes become text.
    pub encoding: Encoding,
    /// What becomes of a member whose text is empty.
    pub empty_values: EmptyValues,
    /// Whether `&key=<secret>` is appended before the HMAC.
    pub append_key: bool,
    /// What becomes of a message whose text another message could have.
    pub ambiguous_texts: AmbiguousTexts,
}

impl Default for Convention {
    fn default() -> Self {
        Self {
            encoding: Encoding::Base64,
            empty_values: EmptyValues::Keep,
            append_key: false,
            ambiguous_texts: AmbiguousTexts::Refuse,
        }
    }
}

/// `[signing] algorithm`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// `hmac-sha256`
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// `rsa-sha256`, that is RSASSA-PKCS1-v1_5
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
}

/// `[signing] encoding`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Standard alphabet, with padding.
    Base64,
    /// Lower case.
    Hex,
    /// Upper case.
    HexUpper,
}

impl Encoding {
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64 => BASE64.encode(bytes),
            Self::Hex => hex::encode(bytes),
            Self::HexUpper => hex::encode_upper(bytes),
        }
    }

    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Hex | Self::HexUpper => {
                let bytes = hex::decode(text).ok()?;
                (self.encode(&bytes) == text).then_some(bytes)
            }
        }
    }
}

/// `[signing] empty_values`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyValues {
    /// `extra=` stays.
    Keep,
    /// The member is left out.
    Skip,
}

/// `[signing] ambiguous_texts`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AmbiguousTexts {
    /// It is not signed.
    Refuse,
    /// It is signed and sent nevertheless.
    Send,
}

impl Convention {
    /// The text that is signed: the members sorted by the bytes of their names, joined as
    /// `name=value` with `&`, values raw.
    ///
    /// The secret of `append_key` is not in it, so it may be shown to people.
    pub fn canonical_form(&self, members: &[Member<'_>]) -> String {
        use fmt::Write as _;

        let mut sorted = Vec::with_capacity(members.len());
        sorted.extend(members.iter().filter(|member| {
            self.empty_values == EmptyValues::Keep || member.value != Value::Text("")
        }));
        sorted.sort_unstable_by_key(|member: &&Member<'_>| member.name.as_bytes());
        let mut text = String::with_capacity(512);
        for member in sorted {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(member.name);
            text.push('=');
            match member.value {
                Value::Text(value) => text.push_str(value),
                Value::Number(value) => {
                    write!(text, "{value}").expect("a String takes every write");
                }
            }
        }
        text
    }
}

/// A text that is never printed and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes charge of `text`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the HMAC only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A key that can sign.
pub enum SigningKey {
    /// Keyed with the app's secret.
    Hmac {
        /// The secret, for `append_key`.
        secret: Secret,
        /// The HMAC with the key already mixed in: saves two hash blocks on every attempt.
        keyed: Hmac<Sha256>,
    },
    /// The platform's private key.
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, [secret])", self.algorithm())
    }
}

/// Why a key can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// An empty secret would let anyone sign.
    #[error("the secret is empty; give the app's secret")]
    EmptySecret,
    /// The file is not PEM with a private key in it.
    #[error("no PEM private key found; expected PKCS#8 or PKCS#1")]
    NotPem,
    /// The key is not one that may sign.
    #[error("not a usable RSA key ({0}); expected RSA of 2048 to 8192 bits")]
    NotRsa(String),
}

impl SigningKey {
    /// An HMAC-SHA256 key.
    ///
    /// # Errors
    ///
    /// [`InvalidKey::EmptySecret`].
    pub fn hmac(secret: Secret) -> Result<Self, InvalidKey> {
        if secret.expose().is_empty() {
            return Err(InvalidKey::EmptySecret);
        }
        let keyed = Hmac::new_from_slice(secret.expose().as_bytes())
            .expect("HMAC takes a key of any length");
        Ok(Self::Hmac { secret, keyed })
    }

    /// Whether it is a secret with white space around it, which somebody may have copied along.
    pub fn has_stray_white_space(&self) -> bool {
        match self {
            Self::Hmac { secret, .. } => secret.expose().trim() != secret.expose(),
            Self::Rsa(_) => false,
        }
    }

    /// An RSA key from PEM, PKCS#8 (`BEGIN PRIVATE KEY`) or PKCS#1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// [`InvalidKey::NotPem`] or [`InvalidKey::NotRsa`].
    pub fn rsa_from_pem(pem: &[u8]) -> Result<Self, InvalidKey> {
        let der = PrivateKeyDer::from_pem_slice(pem)
            // Its message may quote the file, and that is a key.
            .map_err(|_| InvalidKey::NotPem)?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(InvalidKey::NotRsa("an elliptic curve key".to_owned())),
        };
        key.map(Self::Rsa)
            .map_err(|rejected| InvalidKey::NotRsa(rejected.to_string()))
    }

    /// Which algorithm it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac { .. } => Algorithm::HmacSha256,
            Self::Rsa(_) => Algorithm::RsaSha256,
        }
    }

    /// The signature of `canonical_form`, encoded; `None` if the RSA operation fails.
    pub fn sign(&self, convention: &Convention, canonical_form: &str) -> Option<String> {
        let bytes = match self {
            Self::Hmac { .. } => self
                .mac(convention, canonical_form)?
                .finalize()
                .into_bytes()
                .to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    // Random only to blind the private operation: the signature is the same every time.
                    &SystemRandom::new(),
                    canonical_form.as_bytes(),
                    &mut signature,
                )
                .ok()?;
                signature
            }
        };
        Some(convention.encoding.encode(&bytes))
    }

    /// Whether `sign` is the signature of `canonical_form`. Compares in constant time.
    pub fn verifies(&self, convention: &Convention, canonical_form: &str, sign: &str) -> bool {
        let Some(signature) = convention.encoding.decode(sign) else {
            return false;
        };
        match self {
            Self::Hmac { .. } => self
                .mac(convention, canonical_form)
                .is_some_and(|mac| mac.verify_slice(&signature).is_ok()),
            Self::Rsa(key) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
                    .verify(canonical_form.as_bytes(), &signature)
                    .is_ok()
            }
        }
    }

    fn mac(&self, convention: &Convention, canonical_form: &str) -> Option<Hmac<Sha256>> {
        let Self::Hmac { secret, keyed } = self else {
            return None;
        };
        let mut mac = keyed.clone();
        mac.update(canonical_form.as_bytes());
        if convention.append_key {
            mac.update(b"&key=");
            mac.update(secret.expose().as_bytes());
        }
        Some(mac)
    }
}
