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
mod sessions;
mod tls;
mod url_error;
mod user;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, PoolError, RecyclingMethod,
};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{cause, store_error};
use crate::clock::{Stopwatch, until};
use crate::store::{OpenError, StoreError};

use hosts::Hosts;
pub(super) use lent::Lent;
use parameters::Parameters;
use tls::tls;
pub use url_error::UrlError;
pub(super) use user::User;

/// How long an address is tried, unless the URL has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection for notifications is waited for.
const LISTENER_WAIT: Duration = Duration::from_secs(6);

/// Between two looks for a connection that is free again, while the server has no more of them.
const SLOT_WAIT: Duration = Duration::from_millis(200);

/// After so long without an answer to what was sent, a connection is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A database on a server, by its URL.
#[derive(Clone)]
pub struct Database {
    config: Config,
    hosts: Hosts,
    name: Arc<str>,
    people: Pool,
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
        let uses_tls = config.get_ssl_mode() != SslMode::Disable;
        let hosts = Hosts::of(&config, MakeRustlsConnect::new(tls(&parameters, uses_tls)?));
        let name = name(&config).into();
        Ok(Self {
            people: Pool::new(&config, &hosts, User::People),
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
        Pool::new(&self.config, &self.hosts, user)
    }

    /// The one pool for people that all parts of a process share: connections are few.
    pub(super) fn people(&self) -> Pool {
        self.people.clone()
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
    fn new(config: &Config, hosts: &Hosts, user: User) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(config.clone(), hosts.clone(), recycling);
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
        Self { inner, user }
    }

    /// A connection, free or new. If the server has no more of them, one that is in use is waited for.
    async fn get(&self) -> Result<Client, PoolError> {
        loop {
            let got = self.inner.get().await;
            let are_too_many = matches!(&got, Err(PoolError::Backend(error))
                if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS));
            if !are_too_many || self.inner.status().size == 0 {
                return got;
            }
            until(Some(Stopwatch::start().deadline(SLOT_WAIT))).await;
        }
    }

    /// A connection that stands.
    pub(super) async fn client(&self) -> Result<Lent, StoreError> {
        let wait_max = self.user.wait_max();
        match tokio::time::timeout(wait_max, self.get()).await {
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

#[cfg(test)]
mod tests;
