//! What can be wrong with the URL of a database.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a URL. Never quotes it: there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It can't be read.
    #[error("not a PostgreSQL URL ({0}); write postgres://USER@HOST:PORT/DATABASE")]
    Unreadable(String),
    /// The file of root certificates is unusable.
    #[error("sslrootcert {}: {reason}; it must be PEM", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A client certificate is unusable.
    #[error("sslcert and sslkey: {0}; both must be PEM, and each needs the other")]
    ClientCertificate(String),
    /// A parameter has a value that libpq knows and we do not.
    #[error("{parameter} has a value that is not supported; supported are {supported}")]
    Unsupported {
        /// The parameter.
        parameter: &'static str,
        /// The values that are.
        supported: &'static str,
    },
    /// There is no way to verify a server.
    #[error("TLS can't be set up: {0}; install ca-certificates or name sslrootcert")]
    Tls(String),
}
