//! A PostgreSQL server, what it was asked, and what that took.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::common::place::{CALLBACK_PATH, Fill, Place};
use crate::common::process;
use crate::postgres;

/// Durability is that of the defaults.
const SETTINGS: [&str; 5] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track=top",
];

pub(crate) struct Server {
    server: postgres::Server,
    pid: u32,
}

/// What was asked, by the kind of the statement.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: String,
    pub(crate) calls: f64,
    pub(crate) millis: f64,
    pub(crate) rows: f64,
    pub(crate) wal_bytes: f64,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let server = postgres::Server::with(&SETTINGS);
        let folder = server.create_database().sql("SHOW data_directory");
        let file = fs::read_to_string(format!("{folder}/postmaster.pid"))?;
        let pid = file.lines().next().context("the server's process")?;
        Ok(Self {
            server,
            pid: pid.trim().parse()?,
        })
    }

    /// A database with a queue in it.
    pub(crate) fn create_queue(&self, place: &Place) -> Result<Queue> {
        let database = self.server.create_database();
        let settings = format!("[store]\nurl = \"{}\"\n", database.url());
        fs::write(place.path("dispatcher.toml"), settings)?;
        let output = Command::new(env!("CARGO_BIN_EXE_callback-dispatcher"))
            .arg("init")
            .current_dir(place.folder())
            .output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "init: {complaint}");
        database.sql("CREATE EXTENSION pg_stat_statements");
        Ok(Queue { database })
    }

    /// CPU time so far: of the first process, of those it has started, and of those that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = self.pid;
        // What children that have ended took stands behind what it took itself.
        let mut all = process::cpu(pid)? + process::ticks(pid, 13)?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        for child in children.split_whitespace() {
            // One that has just ended is not there any more.
            all += process::cpu(child.parse()?).unwrap_or_default();
        }
        Ok(all)
    }
}

pub(crate) struct Queue {
    database: postgres::Database,
}

impl Queue {
    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    /// Puts rows in, past the triggers, and writes them to the disk: filling is not what is
    /// measured. What is asked from here on counts.
    pub(crate) fn fill(&self, fill: &Fill<'_>) {
        let Fill { rows, origin, due } = fill;
        self.database.sql(&format!(
            "SET session_replication_role = replica;
             INSERT INTO callback_queue (kind, callback_url, origin, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, subject, extra, result, trans_info,
               settlement_status, created_at, next_attempt_at)
             SELECT 'payment', {origin} || '{CALLBACK_PATH}', {origin}, '6', 1, '188000.00', 'LAK',
               '2026' || lpad(n::text, 14, '0'), 'M' || lpad(n::text, 14, '0'),
               'Lao coffee, one kilogram, roasted', 'table 12', 'success', 'BCELONE', 1,
               callback_now(), {due}
             FROM generate_series(1, {rows}) AS n"
        ));
        self.database.sql("CHECKPOINT");
        self.forget_what_was_asked();
    }

    /// Only what is asked from here on counts.
    pub(crate) fn forget_what_was_asked(&self) {
        self.database.sql("SELECT pg_stat_statements_reset()");
    }

    /// What the dispatchers have asked since the fill.
    pub(crate) fn asked(&self) -> Result<Vec<Asked>> {
        let answer = self.database.sql(
            "SELECT CASE
                 WHEN query LIKE '%picked AS MATERIALIZED%' THEN 'claim'
                 WHEN query LIKE '%ended AS MATERIALIZED%' THEN 'record'
                 WHEN query LIKE '%(app_id, origin, begin_at, place) ORDER BY place%' THEN 'next due'
                 WHEN query LIKE '%RECURSIVE step%' THEN 'survey'
                 WHEN query LIKE '%operator_command WHERE finished_at IS NULL%' THEN 'look'
                 ELSE 'the rest' END AS kind,
               sum(calls), sum(total_exec_time), sum(rows), sum(wal_bytes)
             FROM pg_stat_statements
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
             GROUP BY kind ORDER BY kind",
        );
        let asked = answer.lines().map(|line| {
            let mut fields = line.split('|');
            let kind = fields.next().unwrap_or_default().to_owned();
            let numbers: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
            let [calls, millis, rows, wal_bytes] = numbers[..] else {
                anyhow::bail!("not four numbers: {line}");
            };
            Ok(Asked {
                kind,
                calls,
                millis,
                rows,
                wal_bytes,
            })
        });
        asked.collect()
    }

    /// How many rows are in `state`, and have their newest attempt in the log.
    pub(crate) fn count(&self, state: &str) -> Result<usize> {
        let sql = format!(
            "SELECT count(*) FROM callback_queue q JOIN callback_attempt a
             ON a.callback_id = q.id AND a.seq = q.attempt_seq WHERE state = '{state}'"
        );
        Ok(self.database.sql(&sql).parse()?)
    }
}
