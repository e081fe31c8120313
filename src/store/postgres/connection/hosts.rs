//! Connecting to the first of several hosts that answers.
//!
//! A host that is off the network or frozen neither answers nor refuses, so the next ones are not
//! kept waiting for it: each begins a moment after the one before it, and the first connection that
//! stands is used. Deliberately absent: a deadline, which is the caller's.

use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select_ok};
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Connection;
use crate::clock::{Stopwatch, until};

/// How long a host is tried before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(500);

/// The hosts of a URL, in their order.
#[derive(Clone)]
pub(super) struct Hosts {
    each: Vec<Config>,
    tls: MakeRustlsConnect,
}

impl Hosts {
    pub(super) fn of(config: &Config, tls: MakeRustlsConnect) -> Self {
        let count = config.get_hosts().len().max(1);
        let each = (0..count).map(|at| only(config, at)).collect();
        Self { each, tls }
    }

    /// A connection to the first host that answers and is of the kind that is wanted.
    pub(super) async fn connect(&self) -> Result<(Client, Connection), Error> {
        let each = self.each.iter().zip(0..);
        let attempts = each.map(|(host, at)| {
            let tls = self.tls.clone();
            async move {
                let begins_at = Stopwatch::start().deadline(HEAD_START * at);
                until(Some(begins_at)).await;
                host.connect(tls).await
            }
            .boxed()
        });
        select_ok(attempts).await.map(|(connected, _)| connected)
    }
}

impl Connect for Hosts {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let connecting = async {
            let (client, connection) = Self::connect(self).await?;
            // What it ends with, those hear whose statements it ends.
            let driving = tokio::spawn(connection.map(drop));
            Ok((client, driving))
        };
        connecting.boxed()
    }
}

/// The same for one of the hosts.
fn only(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(at) {
        Some(Host::Tcp(name)) => {
            one.host(name);
        }
        Some(Host::Unix(folder)) => {
            one.host_path(folder);
        }
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(at).or(ports.first()) {
        one.port(*port);
    }
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}
