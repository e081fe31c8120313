//! Notifies systemd, if it started us with `Type=notify`. Without systemd these functions do nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::domain::visible;
use crate::health::Trouble;

/// The queue is open and the dispatcher runs.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("dispatching")]);
}

/// A reload was refused, and the dispatcher goes on as before.
pub(super) fn reload_refused() {
    let status = "dispatching; the last reload was refused, see the log";
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
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

/// The drain has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
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
