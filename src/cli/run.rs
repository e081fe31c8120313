//! `run`: the daemon.

use std::io::{self, Write as _};
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::exit::{CommandResult, Exit, Failure};
use super::notify;
use crate::clock::{Stopwatch, SystemClock};
use crate::config::{Configuration, Inputs};
use crate::service::{Service, log_format};
use crate::telemetry::{LogHandle, start_log};

pub(super) fn run(inputs: &Inputs) -> CommandResult {
    let configuration = Configuration::load(inputs)?;
    let settings = &configuration.settings;
    let log =
        start_log(settings.log.level.clone(), log_format(settings)).map_err(Failure::unusable)?;
    let runtime = runtime().context("the asynchronous runtime does not start")?;
    runtime.block_on(serve(configuration, inputs, &log))
}

/// Starts the runtime. If the system refuses a thread, tokio panics and then waits for its other
/// threads without end; so the panic ends the process, which a service manager can restart.
fn runtime() -> io::Result<Runtime> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        // If standard error is closed too, there is no other way to report it.
        let _ = writeln!(
            io::stderr(),
            "error: the asynchronous runtime does not start: {panic}; \
             give the service more memory or threads"
        );
        std::process::exit(Exit::Failed as i32);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    panic::set_hook(usual);
    runtime
}

/// What the daemon has to react to.
enum Event {
    Stop(&'static str),
    Reload,
    Beat,
    Ended,
}

async fn serve(configuration: Configuration, inputs: &Inputs, log: &LogHandle) -> CommandResult {
    // Before anything is in flight: a signal during the start must drain too.
    let mut events = Events::listen()?;
    let store = configuration.settings.store.url.clone();
    let drain_timeout = configuration.settings.delivery.drain_timeout;
    let starting = tokio::spawn(notify::starting());
    let started = Service::start(configuration, Arc::new(SystemClock)).await;
    starting.abort();
    let mut service = started?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), store = %store.name(), "dispatching");
    notify::ready();
    loop {
        match events.next(&mut service).await {
            Event::Reload => {
                notify::reloading();
                match reload(&mut service, inputs, log).await {
                    Ok(()) => notify::ready(),
                    Err(fault) => {
                        service.reload_refused(&fault);
                        notify::reload_refused(&fault);
                    }
                }
            }
            Event::Beat => match service.fault() {
                None => {
                    notify::watchdog();
                    notify::status(&service.troubles());
                }
                // systemd will end us; the log says why.
                Some(fault) => tracing::error!(fault, "the dispatcher is stuck"),
            },
            Event::Stop(signal) => {
                tracing::info!(signal, "stopping");
                notify::stopping(drain_timeout);
                break;
            }
            Event::Ended => break,
        }
    }
    let cut_off = service.stop().await?;
    tracing::info!(cut_off, "stopped");
    Ok(Exit::Done)
}

/// An error if the old configuration stays in force: the first fault.
async fn reload(service: &mut Service, inputs: &Inputs, log: &LogHandle) -> Result<(), String> {
    let configuration = match Configuration::load(inputs) {
        Ok(configuration) => configuration,
        Err(invalid) => {
            for fault in &invalid.faults {
                tracing::error!(%fault, "not reloaded; the previous configuration stays in force");
            }
            let first = invalid.faults.first();
            return Err(first.map_or_else(String::new, ToString::to_string));
        }
    };
    let directory = inputs.credentials_directory.as_ref();
    let has_credential = directory.is_some_and(|it| configuration.keys.path.starts_with(it));
    let level = configuration.settings.log.level.clone();
    match service.reload(configuration).await {
        Ok(reloaded) => {
            for key in &reloaded.needs_restart {
                tracing::warn!(key, "has changed, but takes effect only with a restart");
            }
            if let Err(error) = log.set_level(level) {
                tracing::error!(%error, "the log's level stays as it was");
            }
            tracing::info!(
                settings = reloaded.settings.join(", "),
                keys_added = reloaded.keys_added.join(", "),
                keys_removed = reloaded.keys_removed.join(", "),
                "reloaded settings and keys"
            );
            if has_credential {
                tracing::info!(
                    "the keys are those of the start: systemd handed them over then, so changed keys take a restart"
                );
            }
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "not reloaded; the previous configuration stays in force");
            Err(error.to_string())
        }
    }
}

struct Events {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    watchdog: Option<Interval>,
}

impl Events {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind, name| signal(kind).context(name);
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hang_up: listen(SignalKind::hangup(), "SIGHUP")?,
            watchdog: notify::watchdog_period().map(every),
        })
    }

    async fn next(&mut self, service: &mut Service) -> Event {
        let watchdog = async {
            match &mut self.watchdog {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // a stop goes before a reload, and the watchdog before an end that is final anyway
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            _ = self.hang_up.recv() => Event::Reload,
            _ = watchdog => Event::Beat,
            () = service.ended() => Event::Ended,
        }
    }
}

fn every(period: Duration) -> Interval {
    // The first one is due after a period: the loop has to begin before it can be judged.
    let begin = Stopwatch::start().deadline(period);
    let mut interval = tokio::time::interval_at(begin, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
