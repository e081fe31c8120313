//! The tables as the gateway and the operator meet them: past our code, through the `sqlite3`
//! program and Python's `sqlite3`, each with the SQLite library of its own system, and through
//! `psql`. What is refused, by which rule, and what is shown is the same on both databases; a test
//! of one database alone says why.
//!
//! The programs are part of what is tested; a test fails when one is missing. A whole table of
//! statements goes through one process each.

mod audit_chain;
mod commands;
mod database;
mod file;
mod guards;
mod marks;
mod migration;
mod notices;
mod origin;
mod queue;
mod roles;
mod rows;
mod rules;
mod views;

use serde_json::{Value, json};

use queue::{CLIENTS, Client, DATABASES, FILE_CLIENTS, Queue, Statement};

const SCHEMA: &str = include_str!("../../../schema.sql");

const POSTGRES_SCHEMA: &str = include_str!("../../../schema.postgres.sql");

/// A row on its way into `callback_queue`: columns and values, in order.
#[derive(Clone, Debug)]
struct Row(Vec<(&'static str, Value)>);

impl Row {
    /// The document's sample payment, with nothing that has a default.
    fn payment() -> Self {
        Self(vec![
            ("kind", json!("payment")),
            ("callback_url", json!("https://merchant.example/notify")),
            ("app_id", json!("6")),
            ("pay_method", json!(1)),
            ("amount", json!("123.00")),
            ("currency", json!("LAK")),
            ("newpay_order_no", json!("202209210000006950")),
            ("order_no", json!("202209067002502223")),
            ("result", json!("success")),
            ("settlement_status", json!(1)),
        ])
    }

    /// The document's sample refund.
    fn refund() -> Self {
        Self::payment()
            .with("kind", json!("refund"))
            .with("newpay_refund_order_no", json!("202209210000006951"))
            .with("refund_order_no", json!("202209067002502232"))
            .without("settlement_status")
    }

    fn with(self, column: &'static str, value: Value) -> Self {
        let mut row = self.without(column);
        row.0.push((column, value));
        row
    }

    fn without(mut self, column: &str) -> Self {
        self.0.retain(|(name, _)| *name != column);
        self
    }

    fn insert(&self) -> Statement {
        let (columns, values): (Vec<_>, Vec<_>) = self.0.iter().cloned().unzip();
        let marks = vec!["?"; columns.len()].join(", ");
        let columns = columns.join(", ");
        (
            format!("INSERT INTO callback_queue ({columns}) VALUES ({marks})"),
            values,
        )
    }
}

/// A statement without parameters.
fn plain(sql: &str) -> Statement {
    (sql.to_owned(), vec![])
}
