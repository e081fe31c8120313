//! Moving a queue from one database to another.
//!
//! 1. Both ends are held: no dispatcher, no other transfer.
//! 2. The queue that is left is marked; from then on its database refuses every change.
//! 3. The one that is filled is marked; from then on it takes rows from a transfer alone.
//! 4. Rows are copied page by page, each page a transaction, behind the last key that is there.
//! 5. All rows are read back from both ends and compared.
//! 6. The queue that is left is marked as verified: the moment at which the other one becomes the
//!    queue. Only then does the other one lose its mark.
//!
//! Every step can be taken again, so a transfer that was cut off goes on when it is run again. Up
//! to step 6 the mark on the queue that is left decides alone, so it can be taken back whatever has
//! become of the other one.

mod comparison;
mod error;

use crate::clock::Clock;
use crate::config::StoreUrl;
use crate::store::transfer::{Arriving, Movable, Moved, Row, TABLES, Table};
use crate::store::{OpenError, StoreError};

use super::stores;
use comparison::Comparison;

pub use comparison::VerifiedTable;
pub use error::TransferError;

/// Rows that are copied in one transaction.
const PAGE_ROWS: usize = 1000;

/// From where to where.
#[derive(Clone, Debug)]
pub struct Route {
    /// The queue that is left.
    pub from: StoreUrl,
    /// The database that is filled.
    pub to: StoreUrl,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug)]
pub struct TransferProgress {
    /// What is done with it.
    pub doing: &'static str,
    /// The table.
    pub table: &'static str,
    /// Rows done.
    pub rows: u64,
    /// Of how many.
    pub of: u64,
}

/// Is told how far a transfer is.
pub type Watcher<'a> = dyn FnMut(TransferProgress) + Send + 'a;

/// How a transfer has ended.
#[derive(Debug)]
pub enum Transferred {
    /// The queue is at its new place.
    Now(Vec<VerifiedTable>),
    /// It was there before.
    Already,
}

/// Moves a queue, or goes on doing so. `replace_unfit`: characters that the new place can't hold
/// are replaced, but none that a merchant is told.
///
/// # Errors
///
/// Why it was not moved, or not all of it yet.
pub async fn transfer(
    route: &Route,
    replace_unfit: bool,
    clock: &dyn Clock,
    watcher: &mut Watcher<'_>,
) -> Result<Transferred, TransferError> {
    let to = stores::name(&route.to)?;
    if stores::name(&route.from)? == to {
        return Err(TransferError::SameQueue { database: to });
    }
    let mut source = stores::source(&route.from, clock.now()).await?;
    let moved = read_mark(source.as_mut(), &to).await?;
    let is_verified = moved.as_ref().is_some_and(|moved| moved.is_verified);
    let mut target = match stores::target(&route.to, clock.now()).await {
        Ok(target) => target,
        // A dispatcher takes no queue that is not complete.
        Err(OpenError::Held { .. }) if is_verified => return Ok(Transferred::Already),
        Err(error) => return Err(error.into()),
    };
    let mut transfer = Transfer {
        source: source.as_mut(),
        target: target.as_mut(),
        replace_unfit,
        clock,
        watcher,
    };
    match moved {
        Some(moved) if is_verified => {
            transfer.finish(&moved).await?;
            return Ok(Transferred::Already);
        }
        moved => transfer.begin(moved).await?,
    }
    for table in &TABLES {
        transfer.copy(table).await?;
    }
    let ids = transfer.source.highest_ids().await;
    let ids = ids.map_err(at(transfer.source))?;
    let followed = transfer.target.go_on_behind(ids).await;
    followed.map_err(at(transfer.target))?;
    let mut verified = Vec::new();
    for table in &TABLES {
        verified.push(transfer.verify(table).await?);
    }
    transfer.commit().await?;
    Ok(Transferred::Now(verified))
}

/// Takes the queue back into use that was to be left. Returns the database in which an unfinished
/// copy may stand.
///
/// # Errors
///
/// Why not: perhaps the other one is complete.
pub async fn abandon(route: &Route, clock: &dyn Clock) -> Result<String, TransferError> {
    let to = stores::name(&route.to)?;
    let mut source = stores::source(&route.from, clock.now()).await?;
    let source = source.as_mut();
    let database = source.name().to_owned();
    match read_mark(source, &to).await? {
        None => Err(TransferError::NotMoving { database }),
        Some(moved) if moved.is_verified => Err(TransferError::Complete { database, to }),
        Some(_) => source.stay().await.map(|()| to).map_err(at(source)),
    }
}

/// The mark on the queue that is left, if it moves to `to` and nowhere else.
async fn read_mark(source: &mut dyn Movable, to: &str) -> Result<Option<Moved>, TransferError> {
    let moved = source.moved().await.map_err(at(source))?;
    match moved {
        Some(moved) if moved.to != to && moved.is_verified => Err(OpenError::Moved {
            database: source.name().to_owned(),
            to: moved.to,
        }
        .into()),
        Some(moved) if moved.to != to => Err(TransferError::OtherTarget {
            database: source.name().to_owned(),
            to: moved.to,
            asked: to.to_owned(),
        }),
        moved => Ok(moved),
    }
}

/// Names the database that failed.
fn at(end: &dyn Movable) -> impl FnOnce(StoreError) -> TransferError + use<> {
    let database = end.name().to_owned();
    move |source| TransferError::Store { database, source }
}

struct Transfer<'a, 'w> {
    source: &'a mut dyn Movable,
    target: &'a mut dyn Movable,
    replace_unfit: bool,
    clock: &'a dyn Clock,
    watcher: &'a mut Watcher<'w>,
}

impl Transfer<'_, '_> {
    /// Marks both ends, unless they are marked.
    async fn begin(&mut self, moved: Option<Moved>) -> Result<(), TransferError> {
        let arriving = self.target.arriving().await.map_err(at(self.target))?;
        let source = moved.as_ref().map(|moved| &moved.source);
        match &arriving {
            Some(arriving) if Some(&arriving.source) == source => return Ok(()),
            Some(arriving) => {
                return Err(TransferError::OtherSource {
                    database: self.target.name().to_owned(),
                    from: arriving.from.clone(),
                });
            }
            None => {}
        }
        let is_empty = self.target.is_empty().await.map_err(at(self.target))?;
        let not_empty = TransferError::NotEmpty {
            database: self.target.name().to_owned(),
        };
        if !is_empty {
            return Err(not_empty);
        }
        let moved = match moved {
            Some(moved) => moved,
            None => self.leave().await?,
        };
        let arriving = Arriving {
            source: moved.source,
            from: self.source.name().to_owned(),
        };
        let expected = self.target.expect(&arriving, self.clock.now()).await;
        match expected.map_err(at(self.target))? {
            true => Ok(()),
            false => Err(not_empty),
        }
    }

    async fn leave(&mut self) -> Result<Moved, TransferError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name)?;
        let moved = Moved {
            source: hex::encode(name),
            to: self.target.name().to_owned(),
            is_verified: false,
        };
        let left = self.source.leave(&moved, self.clock.now()).await;
        left.map_err(at(self.source))?;
        Ok(moved)
    }

    /// Copies what is behind the last row that is there.
    async fn copy(&mut self, table: &'static Table) -> Result<(), TransferError> {
        let of = self.source.count(table).await.map_err(at(self.source))?;
        let mut rows = self.target.count(table).await.map_err(at(self.target))?;
        let mut after = self.target.last_key(table).await;
        loop {
            self.tell("copying", table, rows, of);
            let page = self
                .source
                .page(table, after.map_err(at(self.target))?, PAGE_ROWS)
                .await
                .map_err(at(self.source))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            let last = last[..table.key_columns].to_vec();
            let page = self.fit(table, page)?;
            let taken = page.len() as u64;
            let took = self.target.take(table, page).await;
            took.map_err(at(self.target))?;
            rows += taken;
            after = Ok(Some(last));
        }
    }

    /// The rows as the new place holds them.
    fn fit(&self, table: &'static Table, mut rows: Vec<Row>) -> Result<Vec<Row>, TransferError> {
        for row in &mut rows {
            for (at, column) in table.columns.iter().enumerate() {
                let Some(fault) = self.target.unfit(&row[at]) else {
                    continue;
                };
                if !self.replace_unfit || !table.may_be_replaced(at) {
                    return Err(TransferError::Unfit {
                        table: table.name,
                        key: table.key_of(row),
                        column: column.name,
                        fault,
                        database: self.target.name().to_owned(),
                    });
                }
                row[at] = row[at].replaced();
            }
        }
        Ok(rows)
    }

    /// Reads a table back from both ends.
    async fn verify(&mut self, table: &'static Table) -> Result<VerifiedTable, TransferError> {
        let of = self.source.count(table).await.map_err(at(self.source))?;
        let mut comparison = Comparison::new(table);
        let mut after = None;
        loop {
            self.tell("verifying", table, comparison.rows(), of);
            let sent = self.source.page(table, after.clone(), PAGE_ROWS).await;
            let sent = self.fit(table, sent.map_err(at(self.source))?)?;
            let taken = self.target.page(table, after, PAGE_ROWS).await;
            let taken = taken.map_err(at(self.target))?;
            match comparison.add(&sent, &taken) {
                Err(difference) => {
                    return Err(TransferError::Differs {
                        table: table.name,
                        key: difference.key,
                        difference: difference.how,
                        database: self.target.name().to_owned(),
                    });
                }
                Ok(()) => match sent.last() {
                    Some(last) => after = Some(last[..table.key_columns].to_vec()),
                    None => return Ok(comparison.finish()),
                },
            }
        }
    }

    /// Makes the other one the queue.
    async fn commit(&mut self) -> Result<(), TransferError> {
        let left = self.source.left(self.clock.now()).await;
        left.map_err(at(self.source))?;
        self.target.arrived().await.map_err(at(self.target))
    }

    /// Of a transfer that was cut off behind the moment at which it was done.
    async fn finish(&mut self, moved: &Moved) -> Result<(), TransferError> {
        match self.target.arriving().await.map_err(at(self.target))? {
            Some(arriving) if arriving.source == moved.source => {
                self.target.arrived().await.map_err(at(self.target))
            }
            Some(arriving) => Err(TransferError::OtherSource {
                database: self.target.name().to_owned(),
                from: arriving.from,
            }),
            None => Ok(()),
        }
    }

    fn tell(&mut self, doing: &'static str, table: &Table, rows: u64, of: u64) {
        (self.watcher)(TransferProgress {
            doing,
            table: table.name,
            rows,
            of,
        });
    }
}
