//! The tables, through a connection of the simulation's own: the gateway's, the operator's and the
//! oracle's view.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::operation::Asked;
use super::oracle::{RATE, Selected};
use super::order::Order;

/// In the order of [`Order::columns`].
const GATEWAY_COLUMNS: [&str; 15] = [
    "kind",
    "callback_url",
    "app_id",
    "pay_method",
    "amount",
    "currency",
    "newpay_order_no",
    "order_no",
    "newpay_refund_order_no",
    "refund_order_no",
    "subject",
    "extra",
    "result",
    "trans_info",
    "settlement_status",
];

/// A row of `callback_queue`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) gateway: Vec<Value>,
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) next_attempt_at: Option<i64>,
    pub(super) leased_at: Option<i64>,
    pub(super) attempt_seq: i64,
    pub(super) last_outcome: Option<String>,
    pub(super) finished_at: Option<i64>,
}

/// A row of `callback_attempt`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logged {
    pub(super) seq: i64,
    pub(super) started_at: i64,
    pub(super) duration_ms: i64,
    pub(super) outcome: String,
    pub(super) counted: bool,
    pub(super) http_status: Option<i64>,
    pub(super) sent_timestamp: Option<i64>,
    pub(super) sign: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) body_sha256: Option<String>,
    pub(super) detail: String,
    pub(super) response_excerpt: Option<String>,
}

/// What a row of `operator_command` says of its execution.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) selected: i64,
    pub(super) done: i64,
    pub(super) skipped: i64,
    pub(super) started_at: Option<i64>,
    pub(super) finished_at: Option<i64>,
}

/// What a command did with a callback.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) what: String,
    pub(super) at: i64,
}

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    pub(super) fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("the queue can be opened");
        connection
            .busy_timeout(Duration::from_secs(10))
            .expect("a timeout can be set");
        connection.set_prepared_statement_cache_capacity(32);
        Self { connection }
    }

    /// The first id that the table gives by itself is the one after `id`.
    pub(super) fn count_ids_from(&self, id: i64) {
        let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('callback_queue', ?1)";
        self.execute(sql, [id]).expect("the sequence can be set");
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(values)
    }

    /// The gateway's INSERT, due at once.
    pub(super) fn insert(
        &self,
        order: &Order,
        id: Option<i64>,
        now: i64,
    ) -> Result<i64, rusqlite::Error> {
        let columns = GATEWAY_COLUMNS.join(", ");
        let sql = format!(
            "INSERT INTO callback_queue ({columns}, id, created_at, next_attempt_at) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?17)"
        );
        let mut values = order.columns();
        values.push(id.map_or(Value::Null, Value::Integer));
        values.push(Value::Integer(now));
        self.execute(&sql, params_from_iter(values))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// The same by a program that has switched the checks off.
    pub(super) fn insert_unchecked(&self, order: &Order, now: i64) -> i64 {
        let checks = |off| {
            let set = self
                .connection
                .pragma_update(None, "ignore_check_constraints", off);
            set.expect("the pragma exists");
        };
        checks(true);
        let id = self.insert(order, None, now);
        checks(false);
        id.expect("nothing checks it")
    }

    /// Cancels a callback, in flight or not. Returns whether it was pending.
    pub(super) fn cancel(&self, id: i64, now: i64) -> bool {
        let sql = "UPDATE callback_queue SET state = 'cancelled', finished_at = ?2, \
                   next_attempt_at = NULL, leased_until = NULL, leased_at = NULL, \
                   lease_token = NULL WHERE id = ?1 AND state = 'pending'";
        self.execute(sql, [id, now]).expect("the schema allows it") == 1
    }

    /// Opens a new round for a finished callback. Returns whether it was finished.
    pub(super) fn resend(&self, id: i64, now: i64) -> bool {
        let sql = "UPDATE callback_queue SET state = 'pending', attempts = 0, \
                   next_attempt_at = ?2, finished_at = NULL WHERE id = ?1 AND state <> 'pending'";
        self.execute(sql, [id, now]).expect("the schema allows it") == 1
    }

    /// Asks for something in `operator_command`; returns its row.
    pub(super) fn command(
        &self,
        asked: Asked,
        chosen: Selected,
        acknowledged: bool,
        dry_run: bool,
        now: i64,
    ) -> i64 {
        let action = match asked {
            Asked::Resend => "resend",
            Asked::Cancel => "cancel",
        };
        let (row, app) = match chosen {
            Selected::Row(row) => (Some(row), None),
            Selected::App(app) => (None, Some(app)),
        };
        let acknowledged = acknowledged && asked == Asked::Resend;
        let sql = "INSERT INTO operator_command (action, callback_id, app_id, include_acknowledged, \
                   dry_run, rate, actor, reason, created_at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'operator', 'simulated', ?7)";
        let rate = (asked == Asked::Resend).then_some(RATE);
        self.execute(sql, (action, row, app, acknowledged, dry_run, rate, now))
            .expect("the schema allows it");
        self.connection.last_insert_rowid()
    }

    /// How far a command has come.
    pub(super) fn answer(&self, id: i64) -> (Answer, BTreeMap<i64, Item>) {
        // Both as of one moment.
        self.execute("SAVEPOINT answer", ())
            .expect("it can be read");
        let sql = "SELECT status, selected, done, skipped, started_at, finished_at \
                   FROM operator_command WHERE id = ?1";
        let mut answers = self.query(sql, [id], |row| {
            Ok(Answer {
                status: row.get(0)?,
                selected: row.get(1)?,
                done: row.get(2)?,
                skipped: row.get(3)?,
                started_at: row.get(4)?,
                finished_at: row.get(5)?,
            })
        });
        let sql = "SELECT callback_id, what, at FROM operator_command_item WHERE command_id = ?1";
        let items = self.query(sql, [id], |row| {
            let item = Item {
                what: row.get(1)?,
                at: row.get(2)?,
            };
            Ok((row.get(0)?, item))
        });
        self.execute("RELEASE answer", ()).expect("it was read");
        (
            answers.pop().expect("it was asked for"),
            items.into_iter().collect(),
        )
    }

    /// Takes the write lock, or gives it back.
    pub(super) fn hold_the_lock(&self, held: bool) {
        let sql = if held { "BEGIN IMMEDIATE" } else { "ROLLBACK" };
        self.connection
            .execute_batch(sql)
            .expect("within the timeout");
    }

    pub(super) fn rows(&self) -> BTreeMap<i64, Stored> {
        let sql = format!(
            "SELECT id, state, attempts, next_attempt_at, leased_at, attempt_seq, last_outcome, \
             finished_at, {} FROM callback_queue",
            GATEWAY_COLUMNS.join(", ")
        );
        self.query(&sql, (), |row| {
            let gateway = (8..8 + GATEWAY_COLUMNS.len()).map(|column| row.get(column));
            let stored = Stored {
                gateway: gateway.collect::<Result<_, _>>()?,
                state: row.get(1)?,
                attempts: row.get(2)?,
                next_attempt_at: row.get(3)?,
                leased_at: row.get(4)?,
                attempt_seq: row.get(5)?,
                last_outcome: row.get(6)?,
                finished_at: row.get(7)?,
            };
            Ok((row.get(0)?, stored))
        })
        .into_iter()
        .collect()
    }

    /// The whole log.
    pub(super) fn log(&self) -> BTreeMap<i64, Vec<Logged>> {
        let mut log: BTreeMap<i64, Vec<Logged>> = BTreeMap::new();
        let sql = format!("{LOG} ORDER BY callback_id, seq");
        for (id, logged) in self.query(&sql, (), read_log) {
            log.entry(id).or_default().push(logged);
        }
        log
    }

    /// What the log has of a callback beyond `seq`.
    pub(super) fn log_after(&self, id: i64, seq: i64) -> Vec<Logged> {
        let sql = format!("{LOG} WHERE callback_id = ?1 AND seq > ?2 ORDER BY seq");
        let found = self.query(&sql, [id, seq], read_log);
        found.into_iter().map(|(_, logged)| logged).collect()
    }

    /// What SQLite says of the file, but for rows that were written past its checks.
    pub(super) fn integrity(&self) -> String {
        self.ignore_checks(true);
        let found = self.query("PRAGMA integrity_check", (), |row| row.get::<_, String>(0));
        found.join("; ")
    }

    fn ignore_checks(&self, ignored: bool) {
        self.connection
            .pragma_update(None, "ignore_check_constraints", ignored)
            .expect("the pragma exists");
    }

    fn query<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(values, read)?.collect()
        };
        rows().unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

const LOG: &str = "SELECT callback_id, seq, started_at, duration_ms, outcome, counted, http_status, \
     sent_timestamp, sign, key_id, body_sha256, detail, response_excerpt FROM callback_attempt";

fn read_log(row: &Row<'_>) -> rusqlite::Result<(i64, Logged)> {
    let logged = Logged {
        seq: row.get(1)?,
        started_at: row.get(2)?,
        duration_ms: row.get(3)?,
        outcome: row.get(4)?,
        counted: row.get(5)?,
        http_status: row.get(6)?,
        sent_timestamp: row.get(7)?,
        sign: row.get(8)?,
        key_id: row.get(9)?,
        body_sha256: row.get(10)?,
        detail: row.get(11)?,
        response_excerpt: row.get(12)?,
    };
    Ok((row.get(0)?, logged))
}
