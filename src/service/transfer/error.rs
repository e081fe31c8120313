//! Why a queue was not moved, and what to do.

use thiserror::Error;

use crate::store::{OpenError, StoreError};

/// Why a queue was not moved.
#[derive(Debug, Error)]
pub enum TransferError {
    /// One of the two can't be opened or held.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A database failed on the way.
    #[error("{database}: {source}; run the same transfer again, it goes on where it has stopped")]
    Store {
        /// Which.
        database: String,
        /// What it said.
        source: StoreError,
    },
    /// Both are the same.
    #[error("{database} is both the queue to be moved and its new place; name two databases")]
    SameQueue {
        /// It.
        database: String,
    },
    /// The queue moves elsewhere.
    #[error(
        "{database} moves to {to}, not to {asked}; finish that transfer, or take it back with --abandon"
    )]
    OtherTarget {
        /// The queue.
        database: String,
        /// Where it moves to.
        to: String,
        /// Where it was asked to move to now.
        asked: String,
    },
    /// There is a queue already.
    #[error(
        "{database} is not empty, and no part of this transfer; name a new database. Nothing was changed"
    )]
    NotEmpty {
        /// Where.
        database: String,
    },
    /// Another transfer is on its way.
    #[error(
        "{database} is the unfinished copy that another transfer, from {from}, has left; finish that \
         one, or remove {database} and transfer again"
    )]
    OtherSource {
        /// Where.
        database: String,
        /// Where that one comes from.
        from: String,
    },
    /// A row can't be held at the other end.
    #[error(
        "table {table}, {key}, column {column}: {fault}, which {database} can't hold; {}. \
         Nothing is lost",
        remedy(table)
    )]
    Unfit {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        fault: &'static str,
        /// Where it can't be held.
        database: String,
    },
    /// What was read back is not what was written.
    #[error(
        "table {table} differs at {key}: {difference}. Neither queue is worked on now: transfer \
         --abandon takes this one back into use; then remove {database} and transfer anew"
    )]
    Differs {
        /// The table.
        table: &'static str,
        /// The first row that differs.
        key: String,
        /// How.
        difference: &'static str,
        /// The database that was filled.
        database: String,
    },
    /// There is nothing to take back.
    #[error("{database} is not being moved; there is nothing to abandon")]
    NotMoving {
        /// The queue.
        database: String,
    },
    /// It is too late to take it back.
    #[error(
        "{database} has moved to {to}: that one is complete, and perhaps at work. To go back, \
         transfer it from there into a new database"
    )]
    Complete {
        /// The queue that was left.
        database: String,
        /// The one that is at work.
        to: String,
    },
    /// The system has no randomness.
    #[error("no randomness to name the transfer by: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// What to do about a row that can't be held.
fn remedy(table: &str) -> &'static str {
    match table {
        // What merchants are told, and what pauses are found by.
        "callback_queue" => {
            "take the queue back with --abandon, cancel that callback, delete its row, queue a \
             corrected one, remove the copy and transfer again"
        }
        "paused" => {
            "take the queue back with --abandon, end that pause, remove the copy and transfer again"
        }
        _ => {
            "run transfer again with --replace-unfit, which puts U+FFFD in place of such characters"
        }
    }
}
