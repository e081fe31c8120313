//! Notifies systemd, if it started us with `Type=notify`. Without systemd these functions do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Stopwatch;
use crate::domain::visible;
use crate::health::Trouble;

/// The queue is open and the dispatcher runs.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("dispatching")]);
}

/// How long a start may take at all: it may migrate a large queue.
const START_MAX: Duration = Duration::from_secs(60 * 60);

/// How much longer than a drain a stop may take: for the last commits.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Until it is aborted: the start goes on, and takes longer than `TimeoutStartSec` perhaps.
pub(super) async fn starting() {
    const EVERY: Duration = Duration::from_secs(20);
    let start = Stopwatch::start();
    let mut again = tokio::time::interval(EVERY);
    while start.elapsed() < START_MAX {
        again.tick().await;
        tell(&[extend_timeout(EVERY * 3)]);
    }
}

fn extend_timeout(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

/// A reload was refused, and the dispatcher goes on as before.
pub(super) fn reload_refused(fault: &str) {
    let status = format!("dispatching; the last reload was refused: {fault}");
    tell(&[NotifyState::Ready, NotifyState::Status(&visible(&status))]);
}

/// What `systemctl status` says of a dispatcher that runs.
pub(super) fn status(troubles: &[Trouble]) {
    let status = match troubles {
        [] => "dispatching".to_owned(),
        [only] => format!("dispatching; {}", only.text),
        [first, rest @ ..] => format!("dispatching; {} (and {} more)", first.text, rest.len()),
    };
    tell(&[NotifyState::Status(&visible(&status))]);
}

/// A reload has begun; [`ready`] or [`reload_refused`] ends it. systemd 252 knows no `Type=notify-reload`, so the unit
/// sends SIGHUP by `ExecReload` and hears of it here.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic time to send to systemd"),
    }
}

/// The drain has begun. It may take longer than `TimeoutStopSec`.
pub(super) fn stopping(drain_timeout: Duration) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("draining"),
        extend_timeout(drain_timeout + STOP_MARGIN),
    ]);
}

/// Still alive.
pub(super) fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] has to be called: twice within what `WatchdogSec` allows.
pub(super) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}
