//! What a queue consists of, and its rows.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::store::session::Value;

/// A table that is carried, with all its columns.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, which are its first ones.
    pub key: &'static [&'static str],
}

impl Table {
    /// Whether characters of its `column`th column may be replaced where a database can't hold them.
    /// Not in keys, and not in what merchants are told.
    pub fn may_be_replaced(&self, column: usize) -> bool {
        self.name != "callback_queue" && column >= self.key.len()
    }

    /// The key of a row.
    pub fn key_of<'a>(&self, row: &'a [Value]) -> &'a [Value] {
        &row[..self.key.len()]
    }

    /// A row's key, for people: `callback_id 7, seq 2`.
    pub fn name_of(&self, row: &[Value]) -> String {
        let parts = self.key.iter().zip(row);
        let parts = parts.map(|(column, value)| match value {
            Value::Null => format!("{column} NULL"),
            Value::Integer(number) => format!("{column} {number}"),
            Value::Real(number) => format!("{column} {number}"),
            Value::Text(bytes) => format!("{column} {:?}", String::from_utf8_lossy(bytes)),
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// What a queue consists of, in the order in which the schema's guards take it. A dispatcher's own
/// notes stay behind: internal tables, `learned_limit`, and `dispatcher` on PostgreSQL.
pub static TABLES: [Table; 7] = [
    table("callback_queue", &["id"]),
    table("callback_attempt", &["callback_id", "seq"]),
    table("operator_command", &["id"]),
    table("operator_command_item", &["command_id", "callback_id"]),
    table("paused", &["scope", "name"]),
    // Before the days that they belong to: a closed day takes no more.
    table("reconciliation_open", &["day", "callback_id"]),
    table("reconciliation", &["day"]),
];

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key }
}

/// The tables that the gateway and operators write, and dispatchers after them. Their ids are given
/// by the database.
pub(super) const WRITTEN: [&str; 2] = ["callback_queue", "operator_command"];

/// The highest id ever given in each of the tables whose ids the database gives.
pub type HighestIds = [i64; WRITTEN.len()];

/// A row; one value for each column of its [`Table`].
pub type Row = Vec<Value>;

/// Rows of a table that follow each other.
#[derive(Clone, Debug)]
pub struct Page {
    /// The names of its columns; nothing if there is no row.
    pub columns: Arc<[String]>,
    /// The rows, in the order of their keys.
    pub rows: Vec<Row>,
}

/// A value with U+FFFD in place of what is no UTF-8, and of NUL.
pub fn replaced(value: &Value) -> Value {
    match value {
        Value::Text(bytes) => String::from_utf8_lossy(bytes)
            .replace('\0', "\u{fffd}")
            .into(),
        other => other.clone(),
    }
}

/// SHA-256 over rows. A value is `-` if it is NULL, `i` and the number in decimal, or `t`, the
/// text's length in bytes, a colon and the text; a line feed ends each value, and another one each
/// row. docs/transfer.md describes this.
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
                // No table has a column of such numbers.
                Value::Real(number) => self.sha256.update(format!("r{number}")),
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

    /// The number of rows so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest in hexadecimal digits.
    pub fn finish(self) -> String {
        hex::encode(self.sha256.finalize())
    }
}

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
