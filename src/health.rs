//! What needs a person, in the same words for the console, `stats`, systemd and the metrics.
//!
//! What is not said here is well. Deliberately absent: a single endpoint's retries, which are the schedule's
//! business until they are used up.

use std::time::Duration;

use serde::Serialize;

use crate::domain::{Timestamp, visible};
use crate::store::{AppId, Origin, Pause, PauseScope, TroubledEndpoint};

/// What is due for longer than this, and not paused, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(900);

/// A kind of trouble, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The dispatcher works on another queue than the settings name.
    Queue,
    /// No dispatcher works on the queue, or its loop stands still.
    Dispatcher,
    /// The store does not commit.
    Commits,
    /// No merchant can be reached, by our own fault.
    OwnOutage,
    /// Callbacks can't be signed.
    Unsignable,
    /// Callbacks were given up.
    Exhausted,
    /// Attempts fail by a fault of our own, and are repeated without end.
    NotCharged,
    /// Callbacks are due and not sent.
    Stuck,
    /// Changed settings or keys were refused.
    Reload,
    /// Callbacks are a little late.
    Late,
    /// An operator holds callbacks back.
    Paused,
}

impl TroubleKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Queue,
        Self::Dispatcher,
        Self::Commits,
        Self::OwnOutage,
        Self::Unsignable,
        Self::Exhausted,
        Self::NotCharged,
        Self::Stuck,
        Self::Reload,
        Self::Late,
        Self::Paused,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Dispatcher => "dispatcher",
            Self::Commits => "commits",
            Self::OwnOutage => "own_outage",
            Self::Unsignable => "unsignable",
            Self::Exhausted => "exhausted",
            Self::NotCharged => "not_charged",
            Self::Stuck => "stuck",
            Self::Reload => "reload",
            Self::Late => "late",
            Self::Paused => "paused",
        }
    }

    /// Whether merchants are not told, or soon won't be.
    pub const fn is_bad(self) -> bool {
        !matches!(self, Self::Reload | Self::Late | Self::Paused)
    }
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Which kind.
    pub kind: TroubleKind,
    /// The app that it is about, if it is about one.
    pub app_id: Option<String>,
    /// The origin that it is about, if it is about one.
    pub origin: Option<String>,
    /// The callbacks that it is about.
    pub callbacks: u64,
    /// What it is, in a sentence.
    pub text: String,
}

impl Trouble {
    /// Trouble of the dispatcher or the store.
    pub fn at_home(kind: TroubleKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            app_id: None,
            origin: None,
            callbacks: 0,
            text: text.into(),
        }
    }
}

/// What is wrong with endpoints, the most urgent first.
pub fn troubles(endpoints: &[TroubledEndpoint], pauses: &[Pause], now: Timestamp) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = pauses
        .iter()
        .map(|pause| paused(pause, endpoints))
        .collect();
    for endpoint in endpoints {
        let is_paused = pauses.iter().any(|pause| holds(pause, endpoint));
        troubles.extend(of_endpoint(endpoint, is_paused, now));
    }
    troubles.sort_by(|one, other| {
        let urgency = |trouble: &Trouble| (trouble.kind, std::cmp::Reverse(trouble.callbacks));
        urgency(one).cmp(&urgency(other))
    });
    troubles
}

fn of_endpoint(endpoint: &TroubledEndpoint, is_paused: bool, now: Timestamp) -> Vec<Trouble> {
    let app = endpoint.app_id.as_text().into_owned();
    let origin = endpoint.origin.as_text().into_owned();
    let (shown_app, shown_origin) = (visible(&app).into_owned(), visible(&origin).into_owned());
    let mut troubles = Vec::new();
    let mut add = |kind, callbacks, text: String| {
        troubles.push(Trouble {
            kind,
            app_id: Some(app.clone()),
            origin: Some(origin.clone()),
            callbacks,
            text,
        });
    };
    if endpoint.unsignable > 0 {
        add(
            TroubleKind::Unsignable,
            endpoint.unsignable,
            format!(
                "app {shown_app}: {} to {shown_origin} can't be signed (no usable key, or rows that can't be \
                 read); nothing is sent for them",
                callbacks(endpoint.unsignable)
            ),
        );
    }
    if endpoint.exhausted_24h > 0 {
        add(
            TroubleKind::Exhausted,
            endpoint.exhausted_24h,
            format!(
                "app {shown_app}: {} to {shown_origin} given up within 24 hours; the merchant is not told",
                callbacks(endpoint.exhausted_24h)
            ),
        );
    }
    if endpoint.not_charged > 0 {
        add(
            TroubleKind::NotCharged,
            endpoint.not_charged,
            format!(
                "app {shown_app}: {} to {shown_origin} failed by a fault of our own (callback_stuck says which); \
                 not charged, and tried again every 15 s",
                callbacks(endpoint.not_charged)
            ),
        );
    }
    let late = endpoint
        .oldest_due
        .map_or(Duration::ZERO, |due| now.since(due));
    // What can't be signed is due and stays so; that is said already.
    if !is_paused && endpoint.unsignable == 0 && late >= Duration::from_secs(60) {
        let kind = if late >= STUCK_AFTER {
            TroubleKind::Stuck
        } else {
            TroubleKind::Late
        };
        add(
            kind,
            endpoint.pending,
            format!(
                "app {shown_app}: {} to {shown_origin}, the oldest due for {} min and not sent",
                waiting(endpoint.pending),
                late.as_secs() / 60
            ),
        );
    }
    troubles
}

fn paused(pause: &Pause, endpoints: &[TroubledEndpoint]) -> Trouble {
    let held = endpoints.iter().filter(|endpoint| holds(pause, endpoint));
    let pending = held.map(|endpoint| endpoint.pending).sum();
    let name = Some(pause.name.clone());
    let (app_id, origin) = match pause.scope {
        PauseScope::App => (name, None),
        PauseScope::Origin => (None, name),
    };
    Trouble {
        kind: TroubleKind::Paused,
        app_id,
        origin,
        callbacks: pending,
        text: format!(
            "{} {} is paused since {} by {} ({}); {}",
            pause.scope,
            visible(&pause.name),
            pause.since,
            visible(&pause.actor),
            visible(&pause.reason),
            waiting(pending)
        ),
    }
}

fn holds(pause: &Pause, endpoint: &TroubledEndpoint) -> bool {
    match pause.scope {
        PauseScope::App => AppId::new(&pause.name) == endpoint.app_id,
        PauseScope::Origin => Origin::new(&pause.name) == endpoint.origin,
    }
}

fn callbacks(count: u64) -> String {
    match count {
        1 => "1 callback".to_owned(),
        _ => format!("{count} callbacks"),
    }
}

fn waiting(count: u64) -> String {
    match count {
        1 => "1 callback waits".to_owned(),
        _ => format!("{count} callbacks wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::CommandId;

    const NOON: Timestamp = Timestamp::from_millis(1_700_049_600_000);

    fn endpoint(app: &str, origin: &str) -> TroubledEndpoint {
        TroubledEndpoint {
            app_id: AppId::new(app),
            origin: Origin::new(origin),
            pending: 270,
            unsignable: 0,
            not_charged: 0,
            oldest_due: Some(NOON.before(Duration::from_secs(720))),
            exhausted_24h: 0,
        }
    }

    fn pause(scope: PauseScope, name: &str) -> Pause {
        Pause {
            scope,
            name: name.to_owned(),
            since: NOON,
            command_id: CommandId(1),
            actor: "noy".to_owned(),
            reason: "their request".to_owned(),
        }
    }

    fn kinds(endpoints: &[TroubledEndpoint], pauses: &[Pause]) -> Vec<(TroubleKind, u64)> {
        let found = troubles(endpoints, pauses, NOON);
        found
            .iter()
            .map(|found| (found.kind, found.callbacks))
            .collect()
    }

    #[test]
    fn each_endpoint_is_told_by_what_it_needs() {
        use TroubleKind::{Exhausted, Late, NotCharged, Paused, Stuck, Unsignable};
        let late = || endpoint("6", "https://a.example");
        let stuck = TroubledEndpoint {
            oldest_due: Some(NOON.before(STUCK_AFTER)),
            ..late()
        };
        let unsignable = TroubledEndpoint {
            unsignable: 12,
            ..stuck.clone()
        };
        let exhausted = TroubledEndpoint {
            pending: 0,
            oldest_due: None,
            exhausted_24h: 11_000,
            ..late()
        };
        let not_charged = TroubledEndpoint {
            not_charged: 3,
            oldest_due: None,
            ..late()
        };
        let by_app = || pause(PauseScope::App, "6");
        let by_origin = || pause(PauseScope::Origin, "https://a.example");
        let other = || pause(PauseScope::App, "7");
        for (endpoints, pauses, expected) in [
            (vec![late()], vec![], vec![(Late, 270)]),
            (vec![stuck.clone()], vec![], vec![(Stuck, 270)]),
            (vec![unsignable.clone()], vec![], vec![(Unsignable, 12)]),
            (vec![exhausted.clone()], vec![], vec![(Exhausted, 11_000)]),
            (vec![not_charged], vec![], vec![(NotCharged, 3)]),
            (vec![stuck.clone()], vec![by_app()], vec![(Paused, 270)]),
            (vec![stuck.clone()], vec![by_origin()], vec![(Paused, 270)]),
            (vec![stuck], vec![other()], vec![(Stuck, 270), (Paused, 0)]),
            (
                vec![late(), exhausted, unsignable],
                vec![],
                vec![(Unsignable, 12), (Exhausted, 11_000), (Late, 270)],
            ),
        ] {
            assert_eq!(
                kinds(&endpoints, &pauses),
                expected,
                "{endpoints:?} {pauses:?}"
            );
        }
    }

    #[test]
    fn a_pause_tells_its_start_its_author_and_what_waits() {
        let pauses = [pause(PauseScope::App, "6")];
        let found = troubles(&[endpoint("6", "https://a.example")], &pauses, NOON);
        assert_eq!(
            found[0].text,
            format!("app 6 is paused since {NOON} by noy (their request); 270 callbacks wait")
        );
    }
}
