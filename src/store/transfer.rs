//! Moving a queue to another database: what is carried, and what both kinds of database do for it.
//!
//! | who | what |
//! |---|---|
//! | [`TABLES`] | what a queue consists of, in the order in which the schema's guards take it |
//! | [`Movable`] | a queue that is held for a transfer, at either end |
//! | [`Moved`] | the mark on the queue that is left |
//! | [`Arriving`] | the mark on the one that is filled |
//!
//! The queue that is left is marked first and verified last. Between the two neither queue is
//! worked on; before, the old one is the queue, and afterwards the new one.
//!
//! Deliberately absent: leases. What was in flight is ended before anything is copied, so a row is
//! the same wherever it stands.

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::StoreError;
use crate::domain::Timestamp;

/// Whether a column holds numbers or texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Integers of 64 bits.
    Integer,
    /// Text.
    Text,
}

/// A column of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
}

const fn integer(name: &'static str) -> Column {
    Column {
        name,
        kind: ColumnKind::Integer,
    }
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: ColumnKind::Text,
    }
}

/// A table that is carried.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// All its columns; those of the primary key first.
    pub columns: &'static [Column],
    /// How many columns the primary key has.
    pub key_columns: usize,
}

impl Table {
    /// The columns of the primary key.
    pub fn key(&self) -> &'static [Column] {
        &self.columns[..self.key_columns]
    }

    /// The names of all columns, with commas between.
    pub fn column_names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// Whether characters of its `column`th column may be replaced where a database can't hold them.
    /// Not in keys, and not in what merchants are told.
    pub fn may_be_replaced(&self, column: usize) -> bool {
        self.name != "callback_queue" && column >= self.key_columns
    }

    /// A row's key, for people: `callback_id 7, seq 2`.
    pub fn key_of(&self, row: &[Value]) -> String {
        let parts = self.key().iter().zip(row);
        let parts: Vec<_> = parts
            .map(|(column, value)| format!("{} {}", column.name, value.for_people()))
            .collect();
        parts.join(", ")
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// None.
    Null,
    /// A number.
    Integer(i64),
    /// A text. Bytes, because SQLite holds text that is no UTF-8, and such a row is carried too.
    Text(Vec<u8>),
}

impl Value {
    /// The same with U+FFFD in place of what is no UTF-8, and of NUL.
    #[must_use]
    pub fn replaced(&self) -> Self {
        match self {
            Self::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
                Self::Text(text.into_bytes())
            }
            other => other.clone(),
        }
    }

    fn for_people(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Text(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        }
    }
}

/// A row; one value for each column of its [`Table`].
pub type Row = Vec<Value>;

/// SHA-256 over rows. A value is `-` if it is NULL, `i` and the number in decimal, or `t`, the
/// text's length in bytes, a colon and the text; a line feed ends each value, and another one each
/// row. Who changes this changes docs/transfer.md.
#[derive(Clone, Debug, Default)]
pub struct RowsDigest {
    sha256: Sha256,
    rows: u64,
}

impl RowsDigest {
    /// Takes the next row, in the order of the primary key.
    pub fn add(&mut self, row: &[Value]) {
        for value in row {
            match value {
                Value::Null => self.sha256.update(b"-"),
                Value::Integer(number) => self.sha256.update(format!("i{number}")),
                Value::Text(bytes) => {
                    self.sha256.update(format!("t{}:", bytes.len()));
                    self.sha256.update(bytes);
                }
            }
            self.sha256.update(b"\n");
        }
        self.sha256.update(b"\n");
        self.rows += 1;
    }

    /// How many rows there were.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest in hexadecimal digits.
    pub fn finish(self) -> String {
        hex::encode(self.sha256.finalize())
    }
}

/// The mark on a queue that is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Names the transfer; random.
    pub source: String,
    /// The database that it moves to.
    pub to: String,
    /// Whether all of it was found there, so that the other one is the queue from now on.
    pub is_verified: bool,
}

/// The mark on a queue that is being filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// The transfer, as in [`Moved`].
    pub source: String,
    /// The database that it comes from.
    pub from: String,
}

/// The highest ids ever given, so that none is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HighestIds {
    /// Of `callback_queue`.
    pub callback: i64,
    /// Of `operator_command`.
    pub command: i64,
}

/// A queue that is held for a transfer: no dispatcher works on it, and no other transfer. It is
/// held as long as this lives.
#[async_trait]
pub trait Movable: Send {
    /// The database for people, without a password.
    fn name(&self) -> &str;

    /// The mark of having been left.
    async fn moved(&mut self) -> Result<Option<Moved>, StoreError>;

    /// The mark of being filled.
    async fn arriving(&mut self) -> Result<Option<Arriving>, StoreError>;

    /// How many rows a table has.
    async fn count(&mut self, table: &'static Table) -> Result<u64, StoreError>;

    /// Rows with a key above `after` in the order of their keys, at most `limit`.
    async fn page(
        &mut self,
        table: &'static Table,
        after: Option<Row>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// The highest ids ever given.
    async fn highest_ids(&mut self) -> Result<HighestIds, StoreError>;

    /// Of the queue that is left: ends what is in flight as interrupted, and marks it, in one
    /// transaction. From then on the database refuses every change.
    async fn leave(&mut self, moved: &Moved, now: Timestamp) -> Result<(), StoreError>;

    /// Of the queue that is left: notes that all of it was found at the other end.
    async fn left(&mut self, now: Timestamp) -> Result<(), StoreError>;

    /// Of the queue that was to be left: takes the mark away.
    async fn stay(&mut self) -> Result<(), StoreError>;

    /// Whether there is nothing in it: no row, and no mark of having been left.
    async fn is_empty(&mut self) -> Result<bool, StoreError>;

    /// Of the queue that is to be filled: marks it, if there is nothing in it, see
    /// [`Movable::is_empty`]. Returns whether there was nothing.
    async fn expect(&mut self, arriving: &Arriving, now: Timestamp) -> Result<bool, StoreError>;

    /// The highest key in a table.
    async fn last_key(&mut self, table: &'static Table) -> Result<Option<Row>, StoreError>;

    /// Why a value can't be held, if it can't.
    fn unfit(&self, value: &Value) -> Option<&'static str>;

    /// Takes rows that follow on the last key: all of them or none.
    async fn take(&mut self, table: &'static Table, rows: Vec<Row>) -> Result<(), StoreError>;

    /// Gives no id from now on that is not above these.
    async fn go_on_behind(&mut self, ids: HighestIds) -> Result<(), StoreError>;

    /// Of the queue that was filled: takes the mark away, so that it may be worked on.
    async fn arrived(&mut self) -> Result<(), StoreError>;
}

/// What a queue consists of, in the order in which the schema's guards take it. A dispatcher's own
/// notes (`callback_in_the_way`; on PostgreSQL `dispatcher`) stay behind.
pub static TABLES: [Table; 7] = [
    Table {
        name: "callback_queue",
        key_columns: 1,
        columns: &[
            integer("id"),
            text("kind"),
            text("callback_url"),
            text("app_id"),
            integer("pay_method"),
            text("amount"),
            text("currency"),
            text("newpay_order_no"),
            text("order_no"),
            text("newpay_refund_order_no"),
            text("refund_order_no"),
            text("subject"),
            text("extra"),
            text("result"),
            text("trans_info"),
            integer("settlement_status"),
            integer("created_at"),
            text("state"),
            integer("attempts"),
            integer("next_attempt_at"),
            integer("leased_until"),
            integer("leased_at"),
            integer("lease_token"),
            integer("attempt_seq"),
            text("last_outcome"),
            integer("finished_at"),
            text("origin"),
        ],
    },
    Table {
        name: "callback_attempt",
        key_columns: 2,
        columns: &[
            integer("callback_id"),
            integer("seq"),
            integer("started_at"),
            integer("duration_ms"),
            text("outcome"),
            integer("counted"),
            integer("http_status"),
            text("detail"),
            text("response_excerpt"),
            text("remote_addr"),
            integer("sent_timestamp"),
            text("sign"),
            text("key_id"),
            text("body_sha256"),
            text("phase"),
            text("phases"),
        ],
    },
    Table {
        name: "operator_command",
        key_columns: 1,
        columns: &[
            integer("id"),
            text("action"),
            integer("callback_id"),
            text("order_number"),
            text("app_id"),
            text("origin"),
            text("state"),
            integer("since"),
            integer("until"),
            integer("include_acknowledged"),
            integer("dry_run"),
            integer("rate"),
            text("actor"),
            text("reason"),
            integer("created_at"),
            text("status"),
            integer("selected"),
            integer("done"),
            integer("skipped"),
            text("skipped_why"),
            text("answer"),
            integer("started_at"),
            integer("finished_at"),
            integer("looked_up_to"),
            integer("looks_up_to"),
        ],
    },
    Table {
        name: "operator_command_item",
        key_columns: 2,
        columns: &[
            integer("command_id"),
            integer("callback_id"),
            text("what"),
            text("why"),
            integer("at"),
        ],
    },
    Table {
        name: "paused",
        key_columns: 2,
        columns: &[
            text("scope"),
            text("name"),
            integer("command_id"),
            integer("since"),
        ],
    },
    // Before the days that they belong to: a closed day takes no more.
    Table {
        name: "reconciliation_open",
        key_columns: 2,
        columns: &[
            text("day"),
            integer("callback_id"),
            text("state"),
            integer("seq"),
        ],
    },
    Table {
        name: "reconciliation",
        key_columns: 1,
        columns: &[
            text("day"),
            text("previous"),
            integer("first_id"),
            integer("last_id"),
            integer("next_id"),
            integer("created_from"),
            integer("created_to"),
            integer("queued"),
            integer("acknowledged"),
            integer("exhausted"),
            integer("cancelled"),
            integer("pending"),
            integer("unknown"),
            integer("closed_at"),
            text("rows_sha256"),
            text("digest"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_rendered_as_the_documentation_says() {
        let row = [
            Value::Integer(-7),
            Value::Null,
            Value::Text("ສ\n".into()),
            Value::Text(Vec::new()),
        ];
        let mut digest = RowsDigest::default();
        digest.add(&row);
        assert_eq!(digest.rows(), 1);
        let rendered = "i-7\n-\nt4:ສ\n\nt0:\n\n";
        assert_eq!(digest.finish(), hex::encode(Sha256::digest(rendered)));
    }
}
