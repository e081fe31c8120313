//! The validated settings, one struct per concern. Who holds one need check nothing again.
//!
//! Paths are ready to open: a relative one has been joined to the directory that it is relative
//! to. Deliberately absent: syntax, defaults and layers. A `Debug` of these may be logged; it shows
//! no password of a URL.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tracing_subscriber::filter::Targets;
use url::Url;

use super::store_url::{StoreUrl, without_password};
use crate::delivery::transport::Resolver;
use crate::domain::{Algorithm, Convention, Schedule};

/// Everything that `dispatcher.toml` and the environment say.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The file that was read; `None` if there is none and the defaults hold.
    pub source: Option<PathBuf>,
    /// `[store]`
    pub store: StoreSettings,
    /// `[retry]`
    pub retry: RetrySettings,
    /// `[delivery]`
    pub delivery: DeliverySettings,
    /// `[egress]`
    pub egress: EgressSettings,
    /// `[signing]`
    pub signing: SigningSettings,
    /// `[shield]`
    pub shield: ShieldSettings,
    /// `[housekeeping]`
    pub housekeeping: HousekeepingSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[tracing]`
    pub tracing: TracingSettings,
    /// A digest of each value as it was written, by `section.key`.
    pub(super) digests: BTreeMap<String, String>,
}

impl Settings {
    /// The names of the settings whose values differ from those in `before`.
    pub fn changed_since(&self, before: &Self) -> Vec<&str> {
        let digests = self.digests.iter();
        digests
            .filter(|(name, digest)| before.digests.get(*name) != Some(digest))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The same for the same values of all settings but `store.url`, which may hold a password: hosts of a fleet
    /// can be compared by it.
    pub fn fingerprint(&self) -> String {
        let mut sha256 = Sha256::new();
        for (name, digest) in self.digests.iter().filter(|(name, _)| *name != "store.url") {
            sha256.update(format!("{name} {digest}\n"));
        }
        hex::encode(&sha256.finalize()[..6])
    }
}

/// `[store]`: where the queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The database.
    pub url: StoreUrl,
}

/// `[retry]`: when a failed attempt is followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// One wait per retry, each above zero.
    pub schedule: Schedule,
}

/// `[delivery]`: limits on attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Attempts under way at the same moment, 1 to 65536.
    pub max_in_flight: usize,
    /// The same for one origin of `callback_url`, 1 to 65536.
    pub max_in_flight_per_merchant: usize,
    /// The same for one app, over all its origins, 1 to 65536.
    pub max_in_flight_per_app: usize,
    /// Until the connection stands; above zero and not above `timeout`.
    pub connect_timeout: Duration,
    /// The whole exchange, body included; above zero.
    pub timeout: Duration,
    /// How many bytes of an answer are read, 1 to 16 MiB.
    pub max_response_bytes: usize,
    /// How long a stop waits for attempts in flight; may be zero.
    pub drain_timeout: Duration,
    /// The User-Agent header; `None`: this program's name and version.
    pub user_agent: Option<String>,
}

/// `[egress]`: who may be called, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressSettings {
    /// Whether `http://` URLs are called.
    pub allow_http: bool,
    /// Networks that may be called although they are not public, without host bits.
    pub allow_networks: Vec<IpNet>,
    /// Networks that are not called, also where the others would allow it.
    pub deny_networks: Vec<IpNet>,
    /// The certificates of `egress.extra_ca_file`, trusted in addition to the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The proxy for every callback: http, https or socks5, with a host. May hold a password.
    pub proxy: Option<Url>,
    /// What resolves the names of callback URLs.
    pub resolver: Resolver,
}

impl fmt::Debug for EgressSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressSettings")
            .field("allow_http", &self.allow_http)
            .field("allow_networks", &self.allow_networks)
            .field("deny_networks", &self.deny_networks)
            .field("extra_roots", &self.extra_roots.len())
            .field("proxy", &self.proxy.as_ref().map(without_password))
            .field("resolver", &self.resolver)
            .finish()
    }
}

/// `[signing]`: how texts are signed, and where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSettings {
    /// For keys that do not name their own.
    pub algorithm: Algorithm,
    /// How the text is made and the signature written.
    pub convention: Convention,
    /// The keys file, unless the credentials directory has one.
    pub keys_file: PathBuf,
}

/// `[shield]`: protection of merchants from our own failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShieldSettings {
    /// Whether failures of this host are not charged to merchants.
    pub enabled: bool,
}

/// `[housekeeping]`: what is kept, and when the rest goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HousekeepingSettings {
    /// How long delivered and cancelled callbacks are kept; above zero.
    pub keep_delivered: Duration,
    /// How long exhausted callbacks are kept; above zero.
    pub keep_exhausted: Duration,
    /// Six fields, seconds first, in UTC; one that does come round.
    pub prune_cron: String,
}

/// `[admin]`: health, metrics and console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where to listen; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Host names that the console goes by, besides `localhost` and addresses.
    pub console_names: Vec<String>,
}

/// `[tracing]`: traces for OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracingSettings {
    /// The collector: http, a host, and nothing else but a port; `None`: there are no traces.
    pub otlp_endpoint: Option<Url>,
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// What is let through, by target.
    pub level: Targets,
    /// In which form.
    pub format: LogFormat,
}

/// `[log] format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
    /// The journal's own protocol, with fields.
    Journald,
}
