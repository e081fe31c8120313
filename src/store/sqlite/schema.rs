//! Which schema a file has, and how it gets the current one.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::database_error;
use crate::store::OpenError;

/// The current schema, as the file at the top of the repository has it.
pub const SCHEMA: &str = include_str!("../../../schema.sql");

/// The version that [`SCHEMA`] makes.
pub const SCHEMA_VERSION: i64 = 6;

/// "NPCB": marks a file as a queue of this program.
const APPLICATION_ID: i64 = 0x4e50_4342;

/// One step from a version to the next.
#[derive(Clone, Copy)]
struct Migration {
    from: i64,
    sql: &'static str,
}

/// Steps from older versions, oldest first, each from the version that the one before it made.
const MIGRATIONS: &[Migration] = &[
    Migration {
        from: 1,
        sql: include_str!("migrations/2.sql"),
    },
    Migration {
        from: 2,
        sql: include_str!("migrations/3.sql"),
    },
    Migration {
        from: 3,
        sql: include_str!("migrations/4.sql"),
    },
    Migration {
        from: 4,
        sql: include_str!("migrations/5.sql"),
    },
    Migration {
        from: 5,
        sql: include_str!("migrations/6.sql"),
    },
];

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet.
    Empty,
    /// A queue of this version.
    Version(i64),
}

/// Says what stands in the file.
pub(super) fn inspect(db: &Connection, path: &Path) -> Result<Found, OpenError> {
    let failed = |error| database_error(path, &error);
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application_id = pragma("application_id").map_err(failed)?;
    let version = pragma("user_version").map_err(failed)?;
    let objects: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    match (application_id, objects) {
        (APPLICATION_ID, _) => Ok(Found::Version(version)),
        (0, 0) => Ok(Found::Empty),
        _ => Err(OpenError::Foreign {
            database: path.display().to_string(),
            fault: format!("application_id {application_id:#x}, {objects} objects"),
        }),
    }
}

/// Gives an empty or older file the current schema.
pub(super) fn bring_up_to_date(db: &mut Connection, path: &Path) -> Result<(), OpenError> {
    match inspect(db, path)? {
        Found::Empty => create(db, path),
        Found::Version(SCHEMA_VERSION) => Ok(()),
        Found::Version(found) if found > SCHEMA_VERSION => Err(newer(path, found)),
        Found::Version(found) => {
            if migrate(db, found, MIGRATIONS, SCHEMA_VERSION)
                .map_err(|error| database_error(path, &error))?
            {
                Ok(())
            } else {
                Err(older(path, found))
            }
        }
    }
}

/// Insists on the current schema.
pub(super) fn require_current(db: &Connection, path: &Path) -> Result<(), OpenError> {
    match inspect(db, path)? {
        Found::Version(SCHEMA_VERSION) => Ok(()),
        Found::Version(found) if found > SCHEMA_VERSION => Err(newer(path, found)),
        Found::Version(found) => Err(older(path, found)),
        Found::Empty => Err(OpenError::Missing {
            database: path.display().to_string(),
        }),
    }
}

fn newer(path: &Path, found: i64) -> OpenError {
    OpenError::Newer {
        database: path.display().to_string(),
        found,
        known: SCHEMA_VERSION,
    }
}

fn older(path: &Path, found: i64) -> OpenError {
    OpenError::Older {
        database: path.display().to_string(),
        found,
        known: SCHEMA_VERSION,
    }
}

fn create(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let Err(error) = db.execute_batch(SCHEMA) else {
        return Ok(());
    };
    // Leaves the half-made transaction; fails when there is none to leave.
    let _ = db.execute_batch("ROLLBACK");
    // Another process may have created it between our look and our lock.
    match inspect(db, path)? {
        Found::Version(_) => require_current(db, path),
        Found::Empty => Err(database_error(path, &error)),
    }
}

/// Applies every step that leads from `found` to `to` in one transaction. False, and nothing done,
/// if a step is missing.
fn migrate(
    db: &mut Connection,
    found: i64,
    migrations: &[Migration],
    to: i64,
) -> rusqlite::Result<bool> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut version = found;
    for migration in migrations {
        if migration.from == version {
            transaction.execute_batch(migration.sql)?;
            version += 1;
        }
    }
    if version != to {
        return Ok(false);
    }
    transaction.pragma_update(None, "user_version", to)?;
    transaction.commit().map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Migration] = &[
        Migration {
            from: 1,
            sql: "ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1;",
        },
        Migration {
            from: 2,
            sql: "ALTER TABLE t ADD COLUMN c; UPDATE t SET c = b + 1;",
        },
    ];

    fn version(db: &Connection) -> i64 {
        db.pragma_query_value(None, "user_version", |row| row.get(0))
            .expect("a version")
    }

    fn old_database() -> Connection {
        let db = Connection::open_in_memory().expect("memory");
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA user_version = 1")
            .expect("created");
        db
    }

    #[test]
    fn an_older_file_takes_every_step() {
        let mut db = old_database();
        assert_eq!(migrate(&mut db, 1, STEPS, 3), Ok(true));
        let row = db.query_row("SELECT a, b, c FROM t", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        assert_eq!(row, Ok((1, 2, 3)));
        assert_eq!(version(&db), 3);
    }

    #[test]
    fn a_failing_step_leaves_the_file_as_it_was() {
        const BROKEN: &[Migration] = &[
            STEPS[0],
            Migration {
                from: 2,
                sql: "UPDATE nowhere SET x = 1",
            },
        ];
        let mut db = old_database();
        migrate(&mut db, 1, BROKEN, 3).expect_err("no such table");
        assert_eq!(version(&db), 1);
        assert!(
            db.prepare("SELECT b FROM t").is_err(),
            "step 1 is undone too"
        );
    }

    #[test]
    fn without_a_way_nothing_is_done() {
        let mut db = old_database();
        assert_eq!(
            migrate(&mut db, 1, &STEPS[..1], 3),
            Ok(false),
            "2 to 3 is missing"
        );
        assert_eq!(version(&db), 1);
    }
}
