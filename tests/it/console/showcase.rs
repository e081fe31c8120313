//! A console over a queue as it may look on some night, with plots of the last day: for pictures, and
//! for tests that visit every page.
//!
//! The queue is a real one. Its rows and attempts are written by SQL, and the plots are fed with what
//! a dispatcher would have told them, since a test has no day to wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::admin::console::{Console, ConsoleParts, Token};
use callback_dispatcher::admin::{self, Beat, History};
use callback_dispatcher::clock::{Clock, ManualClock, SystemClock};
use callback_dispatcher::delivery::observer::{FinishedAttempt, Observer};
use callback_dispatcher::domain::{
    CallbackId, Convention, Kind, Next, Outcome, Secret, Timestamp, Verdict,
};
use callback_dispatcher::housekeeping::StatsSink;
use callback_dispatcher::store::sqlite::{SqliteCommands, SqliteInspection};
use callback_dispatcher::store::{Attempt, Origin, ShownState, Stats};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::TOKEN;
use crate::live::{Place, listener};

/// What a merchant may write to take over the console, or to mislead who reads it.
pub(super) const HOSTILE: &str = "<script>document.title='owned'</script>\
     <img src=x onerror=\"document.title='owned'\"></pre>\u{202e}DELIAF\u{202c}\u{1b}[31m\u{0007}\
     <style>body{display:none}</style>' onmouseover='document.title=1' \"><h1>owned</h1>&lt;b&gt;";

const MINUTE: Duration = Duration::from_secs(60);

/// A running console.
pub(super) struct Showcase {
    pub(super) address: SocketAddr,
    _place: Place,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Showcase {
    pub(super) async fn start() -> Self {
        let place = Place::new();
        // The views of the database go by the real time.
        let now = SystemClock.now();
        place.sqlite3(&rows(now));
        let history = Arc::new(History::new(now.before(MINUTE * 60 * 22)));
        fill(&history, now);
        let beat = Arc::new(Beat::default());
        beat.beat(now);
        let database = place.database();
        let reader = || Arc::new(SqliteInspection::open(&database).expect("the queue"));
        let token = Token::new(&Secret::new(TOKEN.to_owned()));
        let (_, token) = watch::channel(Some(token));
        let console = Console::new(ConsoleParts {
            inspection: reader(),
            slow_inspection: reader(),
            commands: Arc::new(SqliteCommands::open(&database).expect("the queue")),
            history,
            beat,
            clock: Arc::new(ManualClock::at(now)),
            convention: Arc::new(Convention::default),
            token,
            names: Vec::new(),
            open_to_readers: true,
        });
        let listener = listener().await;
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(admin::serve(listener, console.router(), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            _place: place,
            stop,
            server,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.expect("no panic");
    }
}

/// A merchant of the showcase: app, URL, and how its attempts go.
struct Merchant {
    app: &'static str,
    url: &'static str,
    /// Outcome, status, detail and answer of attempts that fail; none: all is well.
    fails: Option<(&'static str, &'static str, &'static str, &'static str)>,
}

const MERCHANTS: [Merchant; 5] = [
    Merchant {
        app: "6",
        url: "https://shop.vientiane.example/newpay/callback",
        fails: None,
    },
    Merchant {
        app: "11",
        url: "https://pay.luangprabang.example/notify",
        fails: Some((
            "http_status",
            "503",
            "HTTP 503 Service Unavailable",
            "<html><head><title>503</title></head><body>Maintenance until 03:00. Please come back later.</body></html>",
        )),
    },
    Merchant {
        app: "23",
        url: "https://api.pakse.example:8443/cb?source=newpay",
        fails: Some(("timeout", "NULL", "no answer within 10 s: head", "")),
    },
    Merchant {
        app: "42",
        url: "https://tickets.savannakhet.example/hooks/payment",
        fails: Some((
            "refused",
            "200",
            "transResult is \"FAIL\", not \"SUCCESS\"",
            "{\"transResult\":\"FAIL\",\"message\":\"order unknown\"}",
        )),
    },
    Merchant {
        app: "77",
        url: "https://old.thakhek.example/callback.php",
        fails: Some((
            "tls",
            "NULL",
            "certificate expired on 2026-11-20T00:00:00Z",
            "",
        )),
    },
];

/// Callbacks in every state, with their attempts.
fn rows(now: Timestamp) -> String {
    let mut sql = String::from("BEGIN;\n");
    let mut id = 0;
    for round in 0..24_u64 {
        for merchant in &MERCHANTS {
            id += 1;
            let queued = now.before(MINUTE * u32::try_from(7 * round + 3).expect("small"));
            sql.push_str(&callback(id, merchant, round, queued));
        }
    }
    sql.push_str(&hostile(id + 1, now));
    sql.push_str(COMMANDS);
    sql.push_str("COMMIT;");
    sql
}

const COMMANDS: &str = "
INSERT INTO operator_command (action, callback_id, actor, reason) VALUES
  ('resend', 2, 'noy', 'their maintenance is over');
INSERT INTO operator_command (action, app_id, state, actor, reason, rate) VALUES
  ('resend', '42', 'exhausted', 'Khamla (console)', 'they have imported the missing orders', 20);
INSERT INTO operator_command (action, origin, actor, reason) VALUES
  ('pause', 'https://api.pakse.example:8443', 'Noy (console)', 'they have asked us to, ticket 4711');
UPDATE operator_command SET status = 'done', selected = 1, done = 1, answer = '1 callback has a new round.',
  started_at = created_at + 4, finished_at = created_at + 11 WHERE id = 1;
UPDATE operator_command SET status = 'done', selected = 18, done = 16, skipped = 2,
  skipped_why = '{\"acknowledged\":2}', answer = '16 callbacks have a new round; 2 stay as they are.',
  started_at = created_at + 4, finished_at = created_at + 913 WHERE id = 2;
";

fn insert(
    id: u64,
    kind: &str,
    app: &str,
    url: &str,
    queued: Timestamp,
    more: &str,
    text: &str,
) -> String {
    let (refund_columns, refund_values) = match kind {
        "refund" => (
            ", newpay_refund_order_no, refund_order_no",
            format!(", '2026112{id:09}', 'R-{id:06}'"),
        ),
        _ => (", settlement_status", ", 1".to_owned()),
    };
    let subject = if kind == "refund" { "" } else { text };
    let amount = 1_000 + id * 7_919 % 480_000;
    format!(
        "INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, currency, \
           newpay_order_no, order_no, subject, result, trans_info, created_at, state, attempts, \
           next_attempt_at, finished_at, last_outcome, attempt_seq{refund_columns}) \
         VALUES ({id}, '{kind}', '{url}', '{app}', 1, '{amount}.00', 'LAK', '2026112{id:09}', \
           'S-{id:06}', '{subject}', 'success', '{text}', {}, {more}{refund_values});\n",
        queued.as_millis()
    )
}

fn attempt(id: u64, seq: u64, at: i64, took: u64, end: (&str, &str, &str, &str)) -> String {
    let (outcome, status, detail, excerpt) = end;
    let sign = "ceoQPyYSmaYi13Q27jaa9doOPd6nJeET+KSjqdTpBo0=";
    format!(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, \
           http_status, detail, response_excerpt, remote_addr, sent_timestamp, sign, key_id, body_sha256) \
         VALUES ({id}, {seq}, {at}, {took}, '{outcome}', 1, {status}, '{detail}', '{excerpt}', \
           '203.0.113.{}:443', {at}, '{sign}', '2026-11', '{:064x}');\n",
        id % 250 + 1,
        u128::from(id) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835
    )
}

fn callback(id: u64, merchant: &Merchant, round: u64, queued: Timestamp) -> String {
    let kind = if round % 5 == 4 { "refund" } else { "payment" };
    let start = queued.as_millis();
    let acknowledged = ("acknowledged", "200", "", "{\"transResult\":\"SUCCESS\"}");
    let Some(failure) = merchant.fails.filter(|_| round % 4 != 3) else {
        let end = start + 140;
        let more = format!("'delivered', 1, NULL, {end}, 'acknowledged', 1");
        return insert(
            id,
            kind,
            merchant.app,
            merchant.url,
            queued,
            &more,
            "Transaction Success",
        ) + &attempt(id, 1, start + 20, 118, acknowledged);
    };
    // Four attempts five minutes apart; those that began lately have some left.
    let attempts = (round * 7 / 5 + 1).min(4);
    let last = start + i64::try_from(attempts - 1).expect("small") * 300_000;
    let more = if attempts == 4 {
        format!("'exhausted', 4, NULL, {}, '{}', 4", last + 900, failure.0)
    } else {
        format!(
            "'pending', {attempts}, {}, NULL, '{}', {attempts}",
            last + 300_000,
            failure.0
        )
    };
    let mut sql = insert(
        id,
        kind,
        merchant.app,
        merchant.url,
        queued,
        &more,
        "Transaction Success",
    );
    for seq in 1..=attempts {
        let at = start + i64::try_from(seq - 1).expect("small") * 300_000;
        let took = if failure.0 == "timeout" {
            10_000
        } else {
            90 + id % 200
        };
        sql.push_str(&attempt(id, seq, at, took, failure));
    }
    sql
}

/// A callback in which everything that others write is hostile.
fn hostile(id: u64, now: Timestamp) -> String {
    let text = HOSTILE.replace('\'', "''");
    let queued = now.before(MINUTE);
    let more = format!(
        "'pending', 1, {}, NULL, 'unreadable', 1",
        now.as_millis() + 240_000
    );
    let url = "https://hostile.example/?q=<script>document.title=1</script>";
    let end = ("unreadable", "200", text.as_str(), text.as_str());
    insert(id, "payment", &text, url, queued, &more, &text)
        + &attempt(id, 1, queued.as_millis(), 33, end)
}

/// What a dispatcher would have told in 22 hours: quiet at night, one merchant's outage, one burst.
fn fill(history: &History, now: Timestamp) {
    let mut pending = 40_u64;
    let mut exhausted = 120_u64;
    for minute in (0..22 * 60).rev() {
        let at = now.before(MINUTE * minute);
        let hour = f64::from(minute) / 60.0;
        let busy = 14.0 + 10.0 * (hour * 0.6).sin() + f64::from(minute * 7919 % 13) * 0.4;
        let outage = (35..75).contains(&minute);
        let good = busy as usize;
        let slow = if outage { 2_500 } else { 140 };
        for n in 0..good {
            let lag = slow + (n as u64 * 37 + u64::from(minute) * 11) % 190;
            told(
                history,
                Outcome::Acknowledged,
                at,
                Duration::from_millis(lag),
            );
        }
        // Retries are late by their schedule.
        if minute % 3 == 0 {
            told(history, Outcome::Acknowledged, at, Duration::from_secs(301));
        }
        let failing = if outage {
            9
        } else {
            usize::from(minute % 2 == 0)
        };
        for n in 0..failing {
            let outcome = [Outcome::HttpStatus, Outcome::Timeout, Outcome::Refused][n % 3];
            told(history, outcome, at, Duration::ZERO);
        }
        if minute % 45 == 0 {
            told(history, Outcome::Interrupted, at, Duration::ZERO);
        }
        pending = if outage {
            pending + 8
        } else {
            pending - pending / 30
        };
        exhausted += u64::from((30..60).contains(&minute)) * 3;
        history.queue_counted(&stats(pending, exhausted, at), at);
    }
    history.in_flight(7);
}

fn stats(pending: u64, exhausted: u64, at: Timestamp) -> Stats {
    Stats {
        depth: vec![
            (ShownState::Pending, pending),
            (ShownState::InFlight, 3 + pending / 20),
            (ShownState::Delivered, 1_284_311),
            (ShownState::Exhausted, exhausted),
            (ShownState::Cancelled, 4),
        ],
        oldest_due: Some(at.before(Duration::from_millis(1_400))),
        ..Stats::default()
    }
}

fn told(history: &History, outcome: Outcome, now: Timestamp, lag: Duration) {
    let attempt = Attempt {
        started_at: now,
        duration: lag,
        verdict: Verdict {
            outcome,
            counted: outcome.is_counted(),
            detail: String::new(),
        },
        http_status: None,
        response_excerpt: None,
        remote_addr: None,
        sent: None,
        phase: None,
        phases: Default::default(),
    };
    history.attempt_finished(&FinishedAttempt {
        id: CallbackId(1),
        kind: Some(Kind::Payment),
        app_id: "6",
        origin: &Origin::new("https://shop.vientiane.example"),
        created_at: now.before(lag),
        attempts: 1,
        attempt: &attempt,
        next: match outcome {
            Outcome::Acknowledged => Next::Delivered,
            _ => Next::RetryAt(now.after(MINUTE * 5)),
        },
        now,
    });
}
