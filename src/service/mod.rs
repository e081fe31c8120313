//! The daemon put together: queue, dispatcher, housekeeping and admin port, as `run` starts it.
//!
//! Tests and `demo` start the same thing; they only hand in another clock or another
//! configuration. A reload replaces keys, signing, schedule, limits, egress, shield, pruning and the
//! log's level. `store.url`, `[admin]`, `log.format` and `delivery.drain_timeout` hold for the life
//! of the process.

mod counts;
mod probe;
mod reload;
mod stores;
mod transfer;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::console::{Console, ConsoleParts, CurrentConvention, Token};
use crate::admin::{self, AdminState, Beat, History, KeysCheck, StoreProbe};
use crate::clock::SharedClock;
use crate::config::{self, Configuration, Settings};
use crate::delivery::egress::Policy;
use crate::delivery::transport::{
    ClientCertificates, Transport, TransportError, TransportSettings,
};
use crate::delivery::{DeliveryPolicy, Dispatcher, Observer};
use crate::domain::Keyring;
use crate::health::Trouble;
use crate::housekeeping::{
    Closing, Housekeeping, HousekeepingError, HousekeepingJob, Maintenance, Pruning, Statistics,
};
use crate::store::sqlite;
use crate::store::{Commands, Inspection, OpenError, Queue, StoreError};
use crate::telemetry::{AttemptLog, LogFormat, Metrics, Observers, TraceExport, Traces};

use counts::StatsRecipients;
use stores::StoreHandles;

pub use probe::{ProbeError, probe};
pub use reload::ReloadError;
pub use stores::{
    Producer, audit_chain, check_store, commands, has_dispatcher, hold, init_store, inspection,
    operators,
};
pub use transfer::{
    Route, TransferError, TransferProgress, Transferred, VerifiedTable, Watcher, abandon, transfer,
};

/// Why the daemon can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The queue can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The transport can't be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The admin port can't be had.
    #[error("admin.listen {listen}: {source}; choose a free address, or \"\" for none")]
    Admin {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The housekeeping jobs can't be scheduled.
    #[error(transparent)]
    Housekeeping(#[from] HousekeepingError),
}

/// A running daemon.
#[derive(Debug)]
pub struct Service {
    /// Those of the start.
    settings: Settings,
    /// Those of the last reload, if there was one.
    in_force: Settings,
    clock: SharedClock,
    queue: Arc<dyn Queue>,
    inspection: Arc<dyn Inspection>,
    commands: Arc<dyn Commands>,
    /// The token that the console accepts.
    console_token: watch::Sender<Option<Token>>,
    beat: Arc<Beat>,
    history: Arc<History>,
    metrics: Arc<Metrics>,
    terms: watch::Sender<Arc<DeliveryPolicy>>,
    stop: watch::Sender<bool>,
    housekeeping: Housekeeping,
    dispatcher: JoinHandle<Result<usize, StoreError>>,
    /// What the dispatcher ended with.
    ended: Option<Result<usize, StoreError>>,
    admin: Option<Admin>,
    traces: Option<TraceExport>,
}

#[derive(Debug)]
struct Admin {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Service {
    /// Opens the queue and starts to dispatch.
    ///
    /// # Errors
    ///
    /// What could not be opened, bound or scheduled. Nothing keeps running then.
    pub async fn start(
        configuration: Configuration,
        clock: SharedClock,
    ) -> Result<Self, StartError> {
        let Configuration { settings, keys } = configuration;
        let console_token = keys.console_token.as_ref().map(Token::new);
        let terms = terms(&settings, keys.keyring, keys.client_certificates)?;
        let metrics = Arc::new(Metrics::new(sqlite::library_version()));
        metrics.started(&settings.fingerprint(), clock.now());
        let url = &settings.store.url;
        let handles = StoreHandles::open(url, clock.now(), metrics.commit_observer()).await?;
        let StoreHandles {
            queue,
            inspection,
            commands,
            chain,
        } = handles;
        let beat = Arc::new(Beat::new(metrics.commits()));
        let history = Arc::new(History::new(clock.now()));
        let (console_token, shown_token) = watch::channel(console_token);
        let (stop, stopping) = watch::channel(false);
        let (terms, under) = watch::channel(Arc::new(terms));
        let admin = match settings.admin.listen {
            Some(listen) => {
                let state = AdminState {
                    metrics: Arc::clone(&metrics),
                    clock: Arc::clone(&clock),
                    store: store_probe(&queue),
                    beat: Arc::clone(&beat),
                    keys: keys_check(under.clone()),
                    history: Arc::clone(&history),
                };
                let console = Console::new(ConsoleParts {
                    inspection: stores::inspection(url).await?,
                    slow_inspection: Arc::clone(&inspection),
                    commands: Arc::clone(&commands),
                    history: Arc::clone(&history),
                    beat: Arc::clone(&beat),
                    clock: Arc::clone(&clock),
                    convention: convention_of(under.clone()),
                    token: shown_token,
                    names: settings.admin.console_names.clone(),
                    open_to_readers: listen.ip().is_loopback(),
                });
                if let Some(closed) = console.closed() {
                    tracing::warn!(%listen, "{closed}");
                }
                let pages = admin::router(state).merge(console.router());
                Some(serve_admin(listen, pages, stopping.clone()).await?)
            }
            None => None,
        };
        let counts = StatsRecipients {
            metrics: Arc::clone(&metrics),
            history: Arc::clone(&history),
            beat: Arc::clone(&beat),
            clock: Arc::clone(&clock),
        };
        let jobs: Vec<Arc<dyn HousekeepingJob>> = vec![
            Arc::new(Closing {
                chain,
                queue: Arc::clone(&queue),
                clock: Arc::clone(&clock),
            }),
            Arc::new(pruning(&settings, &queue, &clock)),
            Arc::new(Maintenance {
                queue: Arc::clone(&queue),
            }),
            Arc::new(Statistics::new(
                Arc::clone(&inspection),
                Arc::clone(&clock),
                Arc::new(counts),
            )),
        ];
        let housekeeping = Housekeeping::start(jobs).await?;
        let mut observers: Vec<Arc<dyn Observer>> = vec![
            Arc::clone(&metrics) as Arc<dyn Observer>,
            Arc::clone(&beat) as Arc<dyn Observer>,
            Arc::clone(&history) as Arc<dyn Observer>,
            Arc::new(AttemptLog),
        ];
        let traces = settings.tracing.otlp_endpoint.as_ref().map(|endpoint| {
            let (traces, export) = Traces::start(endpoint, metrics.span_counters());
            observers.push(Arc::new(traces));
            export
        });
        let observer = Arc::new(Observers::new(observers));
        let dispatcher = Dispatcher::new(Arc::clone(&queue), Arc::clone(&clock), observer, under);
        let dispatcher = tokio::spawn(dispatcher.run(stopping, settings.delivery.drain_timeout));
        Ok(Self {
            in_force: settings.clone(),
            settings,
            clock,
            queue,
            inspection,
            commands,
            console_token,
            beat,
            history,
            metrics,
            terms,
            stop,
            housekeeping,
            dispatcher,
            ended: None,
            admin,
            traces,
        })
    }

    /// Where the admin port listens.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.addr)
    }

    /// The queue that it dispatches.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }

    /// The people's side of it.
    pub fn inspection(&self) -> &Arc<dyn Inspection> {
        &self.inspection
    }

    /// The operators' side of it.
    pub fn commands(&self) -> &Arc<dyn Commands> {
        &self.commands
    }

    /// Why the loop is not alive; `None` if it is.
    pub fn fault(&self) -> Option<String> {
        self.beat.fault()
    }

    /// Everything that needs a person, the most urgent first.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.history.troubles(&self.beat, self.clock.now())
    }

    /// Returns when the dispatcher has ended by itself, which only a broken store makes it do.
    pub async fn ended(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(match (&mut self.dispatcher).await {
                Ok(ended) => ended,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            });
        }
    }

    /// Drains and closes everything. Returns how many attempts were cut off.
    ///
    /// # Errors
    ///
    /// The store has broken.
    pub async fn stop(mut self) -> Result<usize, StoreError> {
        self.stop.send_replace(true);
        self.ended().await;
        self.housekeeping.stop().await;
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
        if let Some(admin) = self.admin {
            // It ends by the same signal; a panic in it was reported when it happened.
            let _ = admin.task.await;
        }
        self.queue.close().await;
        self.ended.unwrap_or(Ok(0))
    }
}

/// Whether the transport can be set up as `[egress]` says.
///
/// # Errors
///
/// What is missing.
pub fn try_transport(settings: &Settings) -> Result<(), TransportError> {
    transport(settings, ClientCertificates::default()).map(|_| ())
}

fn transport(
    settings: &Settings,
    client_certificates: ClientCertificates,
) -> Result<Transport, TransportError> {
    let default = TransportSettings::default();
    let user_agent = settings.delivery.user_agent.clone();
    Transport::new(TransportSettings {
        user_agent: user_agent.unwrap_or(default.user_agent),
        connect_timeout: settings.delivery.connect_timeout,
        timeout: settings.delivery.timeout,
        max_response_bytes: settings.delivery.max_response_bytes,
        policy: policy(settings),
        resolver: settings.egress.resolver,
        extra_roots: settings.egress.extra_roots.clone(),
        client_certificates,
        proxy: settings.egress.proxy.clone(),
    })
}

fn terms(
    settings: &Settings,
    keyring: Keyring,
    client_certificates: ClientCertificates,
) -> Result<DeliveryPolicy, TransportError> {
    Ok(DeliveryPolicy {
        keyring,
        convention: settings.signing.convention,
        schedule: settings.retry.schedule.clone(),
        in_flight_max: settings.delivery.max_in_flight,
        in_flight_per_origin_max: settings.delivery.max_in_flight_per_merchant,
        in_flight_per_app_max: settings.delivery.max_in_flight_per_app,
        timeout: settings.delivery.timeout,
        local_fault_protection: settings.shield.enabled,
        post: Arc::new(transport(settings, client_certificates)?),
    })
}

/// `log.format`
pub const fn log_format(settings: &Settings) -> LogFormat {
    match settings.log.format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Journald => LogFormat::Journald,
    }
}

fn store_probe(queue: &Arc<dyn Queue>) -> StoreProbe {
    let queue = Arc::clone(queue);
    Arc::new(move || {
        let queue = Arc::clone(&queue);
        Box::pin(async move { queue.probe().await })
    })
}

/// Ready to sign as long as there are keys for some app. A configuration without keys does not
/// load, so this only fails if that rule is ever dropped.
fn keys_check(terms: watch::Receiver<Arc<DeliveryPolicy>>) -> KeysCheck {
    Arc::new(move || match terms.borrow().keyring.apps().next() {
        Some(_) => Ok(()),
        None => Err("no keys are loaded; fill signing.keys_file and reload".to_owned()),
    })
}

/// The convention in force, for messages that are made again to be shown.
fn convention_of(terms: watch::Receiver<Arc<DeliveryPolicy>>) -> CurrentConvention {
    Arc::new(move || terms.borrow().convention)
}

/// The egress policy of `[egress]`.
pub fn policy(settings: &Settings) -> Policy {
    Policy {
        allow_http: settings.egress.allow_http,
        allow_networks: settings.egress.allow_networks.clone(),
        deny_networks: settings.egress.deny_networks.clone(),
    }
}

async fn serve_admin(
    listen: SocketAddr,
    pages: Router,
    mut stopping: watch::Receiver<bool>,
) -> Result<Admin, StartError> {
    let unavailable = |source| StartError::Admin { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(unavailable)?;
    let addr = listener.local_addr().map_err(unavailable)?;
    let shutdown = async move {
        // A sender that is gone means the same.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let task = tokio::spawn(admin::serve(listener, pages, shutdown));
    tracing::info!(%addr, "admin port open");
    Ok(Admin { addr, task })
}

/// The one job that a reload replaces: the others depend on no setting.
fn pruning(settings: &Settings, queue: &Arc<dyn Queue>, clock: &SharedClock) -> Pruning {
    Pruning {
        queue: Arc::clone(queue),
        clock: Arc::clone(clock),
        keep_delivered: settings.housekeeping.keep_delivered,
        keep_exhausted: settings.housekeeping.keep_exhausted,
        cron: settings.housekeeping.prune_cron.clone(),
    }
}
