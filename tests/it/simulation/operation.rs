//! What may happen, and how a seed becomes a list of it.
//!
//! An operation names nothing that it can't be sure of: `which` counts through what there is at
//! that moment, modulo. So any part of a list is a list, and a failing one can be shrunk.

use proptest::prelude::*;
use proptest::sample::select;

use super::order::KEYED_APPS;

/// One thing that happens. What it sets off is awaited before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// The gateway queues `count` callbacks for a merchant.
    Enqueue {
        way: Way,
        app: u8,
        merchant: u8,
        refund: bool,
        count: u8,
        /// Whether the dispatcher is notified.
        notify: bool,
    },
    /// The gateway queues a result that is queued already.
    EnqueueAgain { way: Way, which: u8 },
    /// Someone writes a row past the schema's checks.
    EnqueueUnreadable { merchant: u8 },
    /// Time passes.
    Advance { seconds: u32 },
    /// The wall clock is set, forwards or back.
    SetClock { by_seconds: i32 },
    /// A merchant answers a POST that waits.
    Answer { which: u8, reply: Reply },
    /// What a merchant answers from now on; `None`: each POST waits for its answer.
    ChangeMind { merchant: u8, mood: Option<Reply> },
    /// The next `times` calls of this kind fail.
    StoreFails {
        call: StoreCall,
        fault: StoreFault,
        times: u8,
    },
    /// Another process holds the write lock for a while.
    LockHeld,
    /// The process dies, now.
    Crash,
    /// It dies as soon as it comes there.
    CrashAt { point: CrashPoint },
    /// SIGTERM, and a new start.
    Stop,
    /// The same while callbacks are claimed ahead for a merchant that was fast and hangs now.
    StopLoaded { merchant: u8 },
    /// Finished callbacks are removed that are older than this.
    Prune { keep_minutes: u16 },
    /// The file is kept in shape.
    Maintain,
    /// SIGHUP, with other terms.
    Reload {
        waits: u8,
        places: u8,
        without_key_of: Option<u8>,
        rotated: bool,
        shield: bool,
    },
    /// No merchant can be reached for so long, while callbacks for all of them come in.
    NetworkLost { minutes: u8, shows_as: Reply },
    /// Many callbacks are due at once for a small merchant.
    Crowd(Crowd),
    /// An operator cancels a callback by SQL.
    Cancel { which: u8 },
    /// An operator sends a finished callback again, by SQL.
    Resend { which: u8 },
    /// An operator asks the dispatcher for it, by `operator_command`.
    Command {
        asked: Asked,
        chosen: Chosen,
        acknowledged: bool,
        dry_run: bool,
        /// Whether the dispatcher is notified.
        notify: bool,
    },
}

/// A merchant with this many workers, each of which takes this long, and what is due for it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    pub(super) merchant: u8,
    pub(super) workers: u8,
    pub(super) seconds: u8,
    pub(super) count: u8,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Resend,
    Cancel,
}

/// For which callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// One, counted among those that there are.
    Row(u8),
    /// Those of an app.
    App(u8),
}

/// How a row gets into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `Queue::enqueue`.
    Command,
    /// An INSERT from another connection.
    Sql,
    /// The same with an id of the gateway's choice, below those that the table gives.
    SqlOwnId,
}

/// How a POST ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Acknowledge,
    Refuse,
    Html,
    Oversized,
    Status(u16),
    /// Nothing comes until the deadline.
    Hang,
    Dns,
    /// Its name server is silent until the deadline.
    DnsSilence,
    Connect,
    /// Its host is silent until the deadline.
    ConnectSilence,
    Tls,
    Reset,
    /// Our own host fails.
    Local,
    /// No resolver of ours is in reach.
    NoResolver,
    /// The egress policy forbids it.
    Blocked,
    /// The transport panics.
    Panic,
}

/// Calls of the store that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreCall {
    Claiming,
    Recording,
    /// Doing what operators ask for.
    CarryingOut,
    /// Taking attempts from the merchants' accounts after an outage of our own.
    Refunding,
    /// The search for new rows and the survey.
    Reading,
    /// All of these, and what a start does.
    Everything,
}

/// How they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreFault {
    Busy,
    Full,
    Io,
    /// One row's fault: only batches with that row fail.
    Refused,
    Other,
    /// Beyond healing: the process ends and is started anew.
    Corrupt,
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashPoint {
    BeforeClaim,
    AfterClaim,
    BeforeRecord,
    AfterRecord,
    BeforeCommand,
    AfterCommand,
    BeforeSend,
    /// The merchant has acknowledged, and nobody knows of it.
    AfterSend,
}

impl Operation {
    /// Its name, for the counts.
    pub(super) fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    }
}

/// A list of operations.
pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(), 1..36)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        9 => enqueueing(),
        7 => passing(),
        7 => merchants(),
        4 => faults(),
        3 => operators(),
    ]
}

fn enqueueing() -> impl Strategy<Value = Operation> {
    let ways = select(vec![Way::Command, Way::Sql, Way::Sql, Way::SqlOwnId]);
    let apps = prop_oneof![12 => 0..KEYED_APPS, 1 => Just(KEYED_APPS)];
    let enqueue = (
        ways.clone(),
        apps,
        0..6_u8,
        any::<bool>(),
        1..6_u8,
        any::<bool>(),
    );
    prop_oneof![
        8 => enqueue.prop_map(|(way, app, merchant, refund, count, notify)| Operation::Enqueue {
            way, app, merchant, refund, count, notify,
        }),
        1 => (ways, any::<u8>()).prop_map(|(way, which)| Operation::EnqueueAgain { way, which }),
        1 => (0..6_u8).prop_map(|merchant| Operation::EnqueueUnreadable { merchant }),
    ]
}

fn passing() -> impl Strategy<Value = Operation> {
    let steps = select(vec![1_u32, 5, 14, 15, 60, 299, 300, 301, 900, 4000]);
    let jumps = select(vec![-86_400_i32, -3600, -299, -1, 1, 299, 3600, 86_400]);
    prop_oneof![
        5 => steps.prop_map(|seconds| Operation::Advance { seconds }),
        1 => jumps.prop_map(|by_seconds| Operation::SetClock { by_seconds }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    select(vec![
        Reply::Acknowledge,
        Reply::Acknowledge,
        Reply::Acknowledge,
        Reply::Refuse,
        Reply::Html,
        Reply::Oversized,
        Reply::Status(503),
        Reply::Status(429),
        Reply::Status(302),
        Reply::Hang,
        Reply::Dns,
        Reply::DnsSilence,
        Reply::Connect,
        Reply::ConnectSilence,
        Reply::Tls,
        Reply::Tls,
        Reply::Reset,
        Reply::Local,
        Reply::NoResolver,
        Reply::Blocked,
        Reply::Panic,
    ])
}

fn merchants() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (any::<u8>(), reply()).prop_map(|(which, reply)| Operation::Answer { which, reply }),
        2 => (0..6_u8, proptest::option::weighted(0.8, reply()))
            .prop_map(|(merchant, mood)| Operation::ChangeMind { merchant, mood }),
        1 => (0..6_u8, 1..4_u8, 1..5_u8, 5..25_u8).prop_map(|(merchant, workers, seconds, count)| {
            Operation::Crowd(Crowd { merchant, workers, seconds, count })
        }),
    ]
}

fn faults() -> impl Strategy<Value = Operation> {
    let calls = select(vec![
        StoreCall::Claiming,
        StoreCall::Recording,
        StoreCall::Recording,
        StoreCall::Refunding,
        StoreCall::CarryingOut,
        StoreCall::Reading,
        StoreCall::Everything,
    ]);
    let faults = select(vec![
        StoreFault::Busy,
        StoreFault::Full,
        StoreFault::Io,
        StoreFault::Refused,
        StoreFault::Refused,
        StoreFault::Other,
        StoreFault::Corrupt,
    ]);
    let points = select(vec![
        CrashPoint::BeforeClaim,
        CrashPoint::AfterClaim,
        CrashPoint::BeforeRecord,
        CrashPoint::AfterRecord,
        CrashPoint::BeforeCommand,
        CrashPoint::AfterCommand,
        CrashPoint::BeforeSend,
        CrashPoint::AfterSend,
    ]);
    let losses = select(vec![
        Reply::Connect,
        Reply::ConnectSilence,
        Reply::DnsSilence,
        Reply::NoResolver,
    ]);
    prop_oneof![
        4 => (calls, faults, 1..5_u8)
            .prop_map(|(call, fault, times)| Operation::StoreFails { call, fault, times }),
        1 => Just(Operation::LockHeld),
        1 => Just(Operation::Crash),
        1 => (select(vec![5_u8, 30]), losses)
            .prop_map(|(minutes, shows_as)| Operation::NetworkLost { minutes, shows_as }),
        4 => points.prop_map(|point| Operation::CrashAt { point }),
        1 => Just(Operation::Stop),
        1 => (0..6_u8).prop_map(|merchant| Operation::StopLoaded { merchant }),
    ]
}

fn operators() -> impl Strategy<Value = Operation> {
    let key = proptest::option::weighted(0.4, 0..3_u8);
    let reload = (any::<u8>(), any::<u8>(), key, any::<bool>(), any::<bool>());
    prop_oneof![
        3 => reload.prop_map(|(waits, places, without_key_of, rotated, shield)| Operation::Reload {
            waits: waits % 5, places: places % 4, without_key_of, rotated, shield,
        }),
        1 => any::<u8>().prop_map(|which| Operation::Cancel { which }),
        1 => any::<u8>().prop_map(|which| Operation::Resend { which }),
        3 => commands(),
        1 => select(vec![0_u16, 10, 600]).prop_map(|keep_minutes| Operation::Prune { keep_minutes }),
        1 => Just(Operation::Maintain),
    ]
}

fn commands() -> impl Strategy<Value = Operation> {
    let asked = select(vec![Asked::Resend, Asked::Resend, Asked::Cancel]);
    let chosen = prop_oneof![
        3 => any::<u8>().prop_map(Chosen::Row),
        1 => (0..4_u8).prop_map(Chosen::App),
    ];
    let dry_run = proptest::bool::weighted(0.1);
    (asked, chosen, any::<bool>(), dry_run, any::<bool>()).prop_map(
        |(asked, chosen, acknowledged, dry_run, notify)| Operation::Command {
            asked,
            chosen,
            acknowledged,
            dry_run,
            notify,
        },
    )
}
