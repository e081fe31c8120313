//! Connections to the server: how they are made, and the words for what it says.
//!
//! TLS is used unless the URL says `sslmode=disable` or the server is on this host, and it is always
//! verified: by the system's roots, or by those of `sslrootcert` alone. libpq's `require` accepts any
//! certificate, and its `prefer` falls back to plaintext; both would give the password to an impostor.
//!
//! Of several hosts the first that answers is used (see `hosts`).
//!
//! Nothing is waited for without a deadline of ours, see [`Lent`]. What a dispatcher waits for takes
//! less time than its leases are valid.

mod hosts;
mod lent;
mod parameters;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, RecyclingMethod};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{cause, store_error};
use crate::store::{OpenError, StoreError};

use hosts::Hosts;
pub(super) use lent::Lent;
use parameters::Parameters;

/// How long an address is tried, unless the URL has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection for notifications is waited for.
const LISTENER_WAIT: Duration = Duration::from_secs(6);

/// After so long without an answer to what was sent, a connection is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// How every session of ours is set up. A commit that we have told anyone of survives a crash of
/// the server; nothing waits for ever for a lock, nor holds one.
const SESSION: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("lock_timeout", "5s"),
    ("timezone", "UTC"),
    // With `off`, a backslash in a rule of the schema would be lost.
    ("standard_conforming_strings", "on"),
    ("client_min_messages", "warning"),
];

/// Keeps the planner to the indexes.
const INDEXES_ONLY: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// What a pool of connections is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// The dispatcher: short statements, each by its index. The planner would scan a table that was
    /// empty when it was last analysed, and by the time it is analysed again, the queue stands still.
    Dispatcher,
    /// The heartbeat of a dispatcher, and the renewal of its leases. Nothing else, since leases expire
    /// while it waits.
    Heartbeat,
    /// People and housekeeping: searches and counts, which may take longer.
    People,
}

impl User {
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // A dispatcher that is stopped inside a transaction holds its locks for as long.
            Self::Dispatcher => &[
                ("statement_timeout", "6s"),
                ("lock_timeout", "2s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ],
            Self::Heartbeat => &[
                ("statement_timeout", "3s"),
                ("lock_timeout", "1s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ],
            Self::People => &[
                ("statement_timeout", "60s"),
                ("idle_in_transaction_session_timeout", "60s"),
            ],
        }
    }

    /// How long an answer is waited for: a little longer than the server tries.
    const fn deadline(self) -> Duration {
        match self {
            Self::Dispatcher => Duration::from_secs(8),
            Self::Heartbeat => Duration::from_secs(4),
            Self::People => Duration::from_secs(65),
        }
    }

    /// How long a connection is waited for, a free one or a new one.
    const fn wait_max(self) -> Duration {
        match self {
            Self::Dispatcher => Duration::from_secs(6),
            Self::Heartbeat => Duration::from_secs(4),
            Self::People => Duration::from_secs(30),
        }
    }

    const fn plans(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dispatcher | Self::Heartbeat => INDEXES_ONLY,
            Self::People => &[],
        }
    }

    /// All of a session's settings, in one statement.
    pub(super) fn set_up(self) -> String {
        let settings = SESSION.iter().chain(self.settings()).chain(self.plans());
        let each = settings.map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
        let settings = each.collect::<Vec<_>>().join(", ");
        // Only newer servers have this one: a connection may have nothing to do for long.
        format!(
            "SELECT {settings};
             SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
        )
    }

    const fn connections_max(self) -> usize {
        match self {
            Self::Dispatcher | Self::People => 4,
            Self::Heartbeat => 1,
        }
    }
}

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

/// A database on a server, by its URL.
#[derive(Clone)]
pub struct Database {
    config: Config,
    hosts: Hosts,
    name: Arc<str>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.name)
    }
}

impl Database {
    /// Reads `postgres://…`, with libpq's parameters as far as tokio-postgres knows them, and
    /// `sslrootcert`, `sslcert` and `sslkey`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without quoting it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let unreadable = |reason: &dyn fmt::Display| UrlError::Unreadable(reason.to_string());
        let mut text = text.to_owned();
        let parameters = Parameters::take(&mut text)?;
        let mut config: Config = text
            .parse()
            .map_err(|error: tokio_postgres::Error| unreadable(&cause(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(unreadable(&"no host"));
        }
        if config.get_dbname().is_none() {
            return Err(unreadable(&"no database"));
        }
        if let Some(mode) = parameters.ssl_mode {
            config.ssl_mode(mode);
        }
        if let Some(attrs) = parameters.target_session_attrs {
            config.target_session_attrs(attrs);
        }
        // Also what tokio-postgres assumes if the URL says nothing.
        if config.get_ssl_mode() == SslMode::Prefer {
            let is_here = config.get_hosts().iter().all(is_this_host);
            config.ssl_mode(if is_here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        if config.get_application_name().is_none() {
            config.application_name("callback-dispatcher");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX / 2)
            .keepalives_interval(SILENCE_MAX / 4)
            .keepalives_retries(2);
        let hosts = Hosts::of(&config, MakeRustlsConnect::new(tls(&parameters, &config)?));
        let name = name(&config).into();
        Ok(Self {
            config,
            hosts,
            name,
        })
    }

    /// The database for people: no user, no password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A pool of connections for `user`. None is made before it is asked for.
    pub(super) fn pool(&self, user: User) -> Pool {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(self.config.clone(), self.hosts.clone(), recycling);
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(user.connections_max())
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                Box::pin(async move {
                    let settings = user.set_up();
                    client
                        .batch_execute(&settings)
                        .await
                        .map_err(HookError::Backend)
                })
            }))
            .build()
            .expect("a pool with a runtime is complete");
        Pool { inner, user }
    }

    /// One connection past the pools, for notifications, set up as those are.
    pub(super) async fn connect(&self) -> Result<(tokio_postgres::Client, Connection), StoreError> {
        match tokio::time::timeout(LISTENER_WAIT, self.hosts.connect()).await {
            Ok(connected) => connected.map_err(|error| store_error(&error)),
            Err(_) => Err(lent::no_answer(LISTENER_WAIT)),
        }
    }

    /// What went wrong while the database was being opened.
    pub(super) fn open_error(&self, source: StoreError) -> OpenError {
        OpenError::Database {
            database: self.name.to_string(),
            source,
        }
    }
}

/// A connection as tokio-postgres drives it.
pub(super) type Connection = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// Connections that are used one after the other.
#[derive(Clone)]
pub(in crate::store) struct Pool {
    inner: deadpool_postgres::Pool,
    user: User,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    /// A connection that stands.
    pub(super) async fn client(&self) -> Result<Lent, StoreError> {
        use deadpool_postgres::PoolError;
        let wait_max = self.user.wait_max();
        match tokio::time::timeout(wait_max, self.inner.get()).await {
            Ok(Ok(client)) => Ok(Lent::new(client, self.user.deadline())),
            Ok(Err(error)) => Err(match error {
                PoolError::Backend(error)
                | PoolError::PostCreateHook(HookError::Backend(error)) => store_error(&error),
                PoolError::Closed => StoreError::Closed,
                other => StoreError::Unreachable(other.to_string()),
            }),
            Err(_) => Err(StoreError::Unreachable(format!(
                "no connection within {} s",
                wait_max.as_secs()
            ))),
        }
    }

    /// Ends every connection.
    pub(super) fn close(&self) {
        self.inner.close();
    }
}

fn is_this_host(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn name(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let database = config.get_dbname().unwrap_or_default();
    format!("postgres://{}/{database}", hosts.join(","))
}

fn tls(parameters: &Parameters, config: &Config) -> Result<ClientConfig, UrlError> {
    let setup = |error: rustls::Error| UrlError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(setup)?;
    let builder = match parameters.sslrootcert.as_deref() {
        Some(path) => builder.with_root_certificates(read_roots(path)?),
        // Never asked.
        None if config.get_ssl_mode() == SslMode::Disable => {
            builder.with_root_certificates(RootCertStore::empty())
        }
        None => builder.with_platform_verifier().map_err(setup)?,
    };
    let (certificate, key) = match (&parameters.sslcert, &parameters.sslkey) {
        (None, None) => return Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(UrlError::ClientCertificate("one is missing".to_owned())),
    };
    let fault = |error: &dyn fmt::Display| UrlError::ClientCertificate(error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(&error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| fault(&error))
}

fn read_roots(path: &Path) -> Result<RootCertStore, UrlError> {
    let fault = |reason: String| UrlError::Roots {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("no certificate in it".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
