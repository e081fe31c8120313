//! A set of results too large for memory, in a file that SQLite makes and removes by itself.

use rusqlite::{Connection, OptionalExtension as _};

use super::connection::store_error;
use crate::domain::ResultKey;
use crate::store::StoreError;

/// Pages kept in memory, in KiB; the rest is in the file.
const CACHE_KIB: i64 = 16 * 1024;

/// Results that have been seen, each with the place where it was.
#[derive(Debug)]
pub struct KnownResults {
    connection: Connection,
}

impl KnownResults {
    /// None yet.
    ///
    /// # Errors
    ///
    /// What SQLite said, for instance that the folder for temporary files can't be written.
    pub fn new() -> Result<Self, StoreError> {
        // An empty name: a database of its own that nobody else sees, in the folder for temporary
        // files, and gone with this connection.
        let open = || {
            let connection = Connection::open("")?;
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.execute_batch(
                "CREATE TABLE known (kind TEXT NOT NULL, number TEXT NOT NULL, place TEXT NOT NULL,
                   PRIMARY KEY (kind, number)) STRICT, WITHOUT ROWID",
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|error: rusqlite::Error| store_error(&error))?;
        Ok(Self { connection })
    }

    /// Adds `key`, seen at `place`. If it was seen before, it stays as it was, and that place is
    /// returned.
    ///
    /// # Errors
    ///
    /// What SQLite said, for instance that the disk is full.
    pub fn add(&self, key: &ResultKey, place: &str) -> Result<Option<String>, StoreError> {
        let add = || {
            let added = self
                .connection
                .prepare_cached("INSERT OR IGNORE INTO known VALUES (?1, ?2, ?3)")?
                .execute((key.kind.as_str(), &key.number, place))?;
            if added == 1 {
                return Ok(None);
            }
            self.place(key)
        };
        add().map_err(|error| store_error(&error))
    }

    /// Whether `key` was seen.
    ///
    /// # Errors
    ///
    /// What SQLite said.
    pub fn has(&self, key: &ResultKey) -> Result<bool, StoreError> {
        let place = self.place(key);
        place
            .map(|place| place.is_some())
            .map_err(|error| store_error(&error))
    }

    fn place(&self, key: &ResultKey) -> rusqlite::Result<Option<String>> {
        self.connection
            .prepare_cached("SELECT place FROM known WHERE kind = ?1 AND number = ?2")?
            .query_row((key.kind.as_str(), &key.number), |row| row.get(0))
            .optional()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;

    #[test]
    fn remembers_what_was_added_and_where() {
        let known = KnownResults::new().expect("a temporary database");
        let key = |kind, number: &str| ResultKey {
            kind,
            number: number.to_owned(),
        };
        let payment = key(Kind::Payment, "1");
        assert_eq!(known.add(&payment, "line 2"), Ok(None));
        let refund = key(Kind::Refund, "1");
        assert_eq!(known.add(&refund, "line 3"), Ok(None));
        let earlier = known.add(&payment, "line 4").expect("readable");
        assert_eq!(earlier.as_deref(), Some("line 2"));
        assert_eq!(known.has(&payment), Ok(true));
        assert_eq!(known.has(&key(Kind::Payment, "2")), Ok(false));
    }
}
