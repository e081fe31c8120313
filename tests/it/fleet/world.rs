//! A database on a server of its own, its merchants, and dispatchers as processes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use super::audit::{self, Attempt, Row};
use crate::campaign::merchants::{Answer, Behaviour, Journal, Merchant, Post};
use crate::secrets::HMAC;
use crate::support::attempt::sent_before;
use crate::support::callback::insert_rows;
use crate::support::place::{Place, key};
use crate::support::postgres::Server;
use crate::support::process::{self, PROGRAM, Process};

/// The build that ships; without it, the one that the tests were built with.
const BINARY: &str = "FLEET_PROGRAM";

/// Merchants, each an origin.
const ORIGINS: usize = 8;

/// Of them, those that refuse each callback once.
const RELUCTANT: usize = 2;

/// Attempts at the same moment, of all dispatchers together, for each of them.
const PER_ORIGIN: u64 = 6;

/// How long it would take to send all rows once, if nobody were killed.
const WORK: Duration = Duration::from_secs(14);

/// A sign of life that is older is that of a dead one, in milliseconds.
const SILENT_MS: u64 = 10_000;

/// See the module.
pub(super) struct World {
    place: Place,
    pub(super) server: Server,
    pub(super) journal: Arc<Journal>,
    merchants: Vec<Merchant>,
    rows: u64,
}

impl World {
    /// With `rows` callbacks in the queue.
    pub(super) async fn new(rows: u64) -> Self {
        let journal = Arc::<Journal>::default();
        let places = u64::try_from(ORIGINS).expect("few") * PER_ORIGIN;
        // Answers take half of it on average.
        let slow =
            Behaviour::Slow(WORK * 2 * u32::try_from(places).expect("few") / at_least_one(rows));
        let mut merchants = Vec::new();
        for number in 0..ORIGINS {
            let behaviour = match slow {
                Behaviour::Slow(time) if number < RELUCTANT => Behaviour::Reluctant(time),
                slow => slow,
            };
            merchants.push(Merchant::start(behaviour, Arc::clone(&journal)).await);
        }
        let server = Server::own();
        let world = Self {
            place: Place::of(server.create_database()),
            server,
            journal,
            merchants,
            rows,
        };
        world.place.write_settings(&format!(
            "[retry]\nschedule = [\"1s\", \"1s\", \"1s\"]\n\
             [delivery]\nmax_in_flight_per_merchant = {PER_ORIGIN}\ntimeout = \"2s\"\n\
             connect_timeout = \"2s\"\n\
             [egress]\nallow_http = true\nallow_networks = [\"127.0.0.1\"]\n[admin]\nlisten = \"\"\n\
             [log]\nlevel = \"warn,callback_dispatcher::cli=info\"\n"
        ));
        let keys: Vec<String> = (1..=3).map(|app| key(&app.to_string(), HMAC)).collect();
        world.place.write_keys(&keys.concat());
        world.fill();
        world
    }

    /// Queues the rows, of three apps, over all origins.
    fn fill(&self) {
        let urls: Vec<String> = self
            .merchants
            .iter()
            .map(|merchant| format!("'{}'", merchant.url))
            .collect();
        let urls = format!("(ARRAY[{}])[1 + n % {ORIGINS}]", urls.join(", "));
        let app = format!("(1 + n / {ORIGINS} % 3)::text");
        let columns = [
            ("callback_url", urls.as_str()),
            ("app_id", &app),
            ("amount", "n || '.25'"),
            ("order_no", "'M' || n"),
        ];
        let rows = usize::try_from(self.rows).expect("not so many rows");
        self.place.sql(&insert_rows(rows, "", &columns));
    }

    /// A dispatcher, which dispatches when this returns.
    pub(super) async fn dispatcher(&self) -> Process {
        let binary = std::env::var_os(BINARY).map_or_else(|| PROGRAM.into(), PathBuf::from);
        let command = process::command(binary, self.place.folder(), &["run"]);
        Process::spawn_patiently(command, PATIENCE).ready().await
    }

    /// How many rows are pending; `None` while the server can't be asked.
    pub(super) fn pending(&self) -> Option<u64> {
        self.count("state = 'pending'")
    }

    /// How many rows are in flight that were claimed before `moment`.
    pub(super) fn in_flight_since(&self, moment: i64) -> Option<u64> {
        self.count(&format!("leased_at < {moment}"))
    }

    fn count(&self, condition: &str) -> Option<u64> {
        let sql = format!("SELECT count(*) FROM callback_queue WHERE {condition}");
        self.place.store().try_sql(&sql).ok()?.parse().ok()
    }

    /// A few that are pending, for a message.
    pub(super) fn some_pending(&self) -> String {
        self.place.sql(
            "SELECT newpay_order_no, origin, attempts, next_attempt_at, leased_at,
               leased_until - callback_now() AS stands_for, last_outcome
             FROM callback_queue WHERE state = 'pending' ORDER BY id LIMIT 10",
        )
    }

    /// Holds everything against everything; returns how many attempts were interrupted, and what is
    /// wrong.
    pub(super) fn faults(&self) -> (u64, Vec<String>) {
        let rows = self.read();
        let posts = self.journal.posts();
        let mut of: HashMap<&str, Vec<&Post>> = HashMap::new();
        for post in &*posts {
            of.entry(&post.number).or_default().push(post);
        }
        let mut interrupted = 0;
        let mut faults = Vec::new();
        for number in 1..=self.rows {
            let name = format!("N{number}");
            let posts = of.remove(&*name).unwrap_or_default();
            let Some(row) = rows.get(&name) else {
                faults.push(format!("{name}: queued, but absent"));
                continue;
            };
            let log = row.log.iter();
            let cut_off = log
                .filter(|attempt| attempt.outcome == "interrupted")
                .count();
            interrupted += u64::try_from(cut_off).expect("few");
            let mut found = audit::faults(row, &posts);
            if posts.iter().any(|post| !is_of(post, number)) {
                found.push("another message than queued".to_owned());
            }
            let shown = || -> Vec<(i64, &str, Answer)> {
                let posts = posts.iter();
                posts
                    .map(|post| (post.came_at, &*post.sign, post.answer))
                    .collect()
            };
            let told = found
                .into_iter()
                .map(|fault| format!("{name}: {fault}: {row:?} {:?}", shown()));
            faults.extend(told);
        }
        faults.extend(
            of.keys()
                .map(|name| format!("{name}: POSTed, but not queued")),
        );
        if self.journal.garbled() > 0 {
            faults.push("a POST was no message".to_owned());
        }
        (interrupted, faults)
    }

    /// What is wrong with the table of dispatchers after all of them have ended, and one was killed.
    pub(super) fn faults_of_the_table(&self) -> Vec<String> {
        let left = self.place.sql(&format!(
            "SELECT count(*), count(*) FILTER (WHERE seen_at > callback_now() - {SILENT_MS}) FROM dispatcher"
        ));
        match left.as_str() {
            "1|0" => Vec::new(),
            other => vec![format!("dispatchers left in the table, and alive: {other}")],
        }
    }

    fn read(&self) -> BTreeMap<String, Row> {
        let lines = self.place.sql(
            "SELECT newpay_order_no, state, attempts, attempt_seq, seq, outcome, counted, started_at,
               duration_ms, sign, body_sha256, detail
             FROM callback_queue LEFT JOIN callback_attempt ON callback_id = id ORDER BY id, seq",
        );
        let mut rows = BTreeMap::new();
        for line in lines.lines() {
            let columns: Vec<&str> = line.split('|').collect();
            let number = |at: usize| columns[at].parse::<i64>().expect("a number");
            let text = |at: usize| Some(columns[at].to_owned()).filter(|text| !text.is_empty());
            let row = rows.entry(columns[0].to_owned()).or_insert_with(|| Row {
                state: columns[1].to_owned(),
                attempts: number(2),
                attempt_seq: number(3),
                log: Vec::new(),
            });
            if columns[4].is_empty() {
                continue;
            }
            row.log.push(Attempt {
                seq: number(4),
                outcome: columns[5].to_owned(),
                counted: number(6) == 1,
                started_at: number(7),
                duration_ms: number(8),
                sign: text(9),
                body_sha256: text(10),
                sent_before: sent_before(columns[11]),
            });
        }
        rows
    }
}

fn at_least_one(rows: u64) -> u32 {
    u32::try_from(rows.max(1)).expect("not so many rows")
}

/// Whether it tells what the `number`th row has.
fn is_of(post: &Post, number: u64) -> bool {
    let member = |name: &str| post.members.get(name).and_then(|value| value.as_str());
    member("orderNo") == Some(&format!("M{number}"))
        && member("orderAmt") == Some(&format!("{number}.25"))
}
