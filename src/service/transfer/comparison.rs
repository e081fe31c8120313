//! Whether a table is the same at both ends.

use std::cmp::Ordering;

use crate::store::transfer::{Row, RowsDigest, Table};

/// A table that is the same at both ends.
#[derive(Debug)]
pub struct VerifiedTable {
    /// Its name.
    pub name: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 over them, see [`RowsDigest`].
    pub sha256: String,
}

/// The first row that differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: String,
    pub(super) how: &'static str,
}

/// Compares a table page by page, in the order of its keys.
pub(super) struct Comparison {
    table: &'static Table,
    sent: RowsDigest,
    taken: RowsDigest,
}

impl Comparison {
    pub(super) fn new(table: &'static Table) -> Self {
        Self {
            table,
            sent: RowsDigest::default(),
            taken: RowsDigest::default(),
        }
    }

    /// Takes the next page of both ends, each after the same key.
    pub(super) fn add(&mut self, sent: &[Row], taken: &[Row]) -> Result<(), Difference> {
        for at in 0..sent.len().max(taken.len()) {
            let (key, how) = match (sent.get(at), taken.get(at)) {
                (Some(sent), Some(taken)) if sent == taken => {
                    self.sent.add(sent);
                    self.taken.add(taken);
                    continue;
                }
                (Some(sent), Some(taken)) => match self.order(sent, taken) {
                    Some(Ordering::Less) => (sent, "the copy lacks this row"),
                    Some(Ordering::Greater) => (taken, "only the copy has this row"),
                    _ => (sent, "the two rows are not the same"),
                },
                (Some(sent), None) => (sent, "the copy lacks this row"),
                (None, Some(taken)) => (taken, "only the copy has this row"),
                (None, None) => continue,
            };
            return Err(Difference {
                key: self.table.name_of(key),
                how,
            });
        }
        Ok(())
    }

    pub(super) const fn rows(&self) -> u64 {
        self.sent.rows()
    }

    pub(super) fn finish(self) -> VerifiedTable {
        let rows = self.taken.rows();
        let sha256 = self.taken.finish();
        assert_eq!(self.sent.finish(), sha256, "equal rows are rendered alike");
        VerifiedTable {
            name: self.table.name,
            rows,
            sha256,
        }
    }

    fn order(&self, sent: &Row, taken: &Row) -> Option<Ordering> {
        self.table
            .key_of(sent)
            .partial_cmp(self.table.key_of(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::transfer::{TABLES, Value};

    fn rows(ids: &[(i64, i64)]) -> Vec<Row> {
        let row = |(id, since): &(i64, i64)| {
            vec![
                Value::Text(b"app".to_vec()),
                Value::Text(id.to_string().into()),
                Value::Integer(1),
                Value::Integer(*since),
            ]
        };
        ids.iter().map(row).collect()
    }

    #[test]
    fn the_first_difference_is_named() {
        let paused = &TABLES[4];
        assert_eq!(paused.name, "paused");
        let sent = rows(&[(1, 0), (3, 0)]);
        let table = [
            (rows(&[(1, 0), (3, 0)]), None),
            (
                rows(&[(1, 0), (3, 9)]),
                Some(("3", "the two rows are not the same")),
            ),
            (rows(&[(1, 0)]), Some(("3", "the copy lacks this row"))),
            (rows(&[(3, 0)]), Some(("1", "the copy lacks this row"))),
            (
                rows(&[(1, 0), (2, 0), (3, 0)]),
                Some(("2", "only the copy has this row")),
            ),
            (
                rows(&[(1, 0), (3, 0), (4, 0)]),
                Some(("4", "only the copy has this row")),
            ),
        ];
        for (taken, expected) in table {
            let found = Comparison::new(paused).add(&sent, &taken).err();
            let expected = expected.map(|(name, how)| Difference {
                key: format!("scope \"app\", name {name:?}"),
                how,
            });
            assert_eq!(found, expected, "{taken:?}");
        }
    }
}
