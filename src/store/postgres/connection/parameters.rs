//! libpq's parameters that tokio-postgres does not know, or knows under fewer names.

use std::path::PathBuf;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use url::form_urlencoded;

use super::url_error::UrlError;

/// What is taken out of a URL before tokio-postgres reads it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) target_session_attrs: Option<TargetSessionAttrs>,
    pub(super) sslrootcert: Option<PathBuf>,
    pub(super) sslcert: Option<PathBuf>,
    pub(super) sslkey: Option<PathBuf>,
}

impl Parameters {
    /// Takes them out of `text`, which becomes the rest.
    pub(super) fn take(text: &mut String) -> Result<Self, UrlError> {
        let mut take = |parameter| {
            let (rest, value) = take_parameter(text, parameter);
            *text = rest;
            value
        };
        Ok(Self {
            ssl_mode: take("sslmode").map(|mode| ssl_mode(&mode)).transpose()?,
            target_session_attrs: take("target_session_attrs")
                .map(|attrs| target_session_attrs(&attrs))
                .transpose()?,
            sslrootcert: take("sslrootcert").map(PathBuf::from),
            sslcert: take("sslcert").map(PathBuf::from),
            sslkey: take("sslkey").map(PathBuf::from),
        })
    }
}

/// TLS is verified whatever the mode, so `require` is `verify-full` here.
fn ssl_mode(mode: &str) -> Result<SslMode, UrlError> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-full" => Ok(SslMode::Require),
        _ => Err(UrlError::Unsupported {
            parameter: "sslmode",
            supported: "disable, prefer, require and verify-full; the last three check the server's \
                        certificate and its name, so that verify-ca has to be verify-full",
        }),
    }
}

/// A dispatcher writes, so a server that does not take writes is of no use.
fn target_session_attrs(attrs: &str) -> Result<TargetSessionAttrs, UrlError> {
    match attrs {
        "any" => Ok(TargetSessionAttrs::Any),
        "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
        _ => Err(UrlError::Unsupported {
            parameter: "target_session_attrs",
            supported: "any, read-write and primary, which is taken as read-write",
        }),
    }
}

/// Takes `parameter` out of a URL's query. All else stays as it is written.
pub(super) fn take_parameter(text: &str, parameter: &str) -> (String, Option<String>) {
    // There may be a question mark in the password.
    let password_end = text.find('@').unwrap_or_default();
    let Some(question_mark) = text[password_end..].find('?') else {
        return (text.to_owned(), None);
    };
    let (address, query) = text.split_at(password_end + question_mark);
    let (taken, others): (Vec<&str>, Vec<&str>) = query[1..]
        .split('&')
        .partition(|pair| pair.split('=').next() == Some(parameter));
    let value = taken
        .last()
        .and_then(|pair| form_urlencoded::parse(pair.as_bytes()).next())
        .map(|(_, value)| value.into_owned());
    match others.is_empty() {
        true => (address.to_owned(), value),
        false => (format!("{address}?{}", others.join("&")), value),
    }
}
