//! Moving a queue from one database to another.
//!
//! 1. Both ends are held: no dispatcher, no other transfer.
//! 2. The source is marked; from then on its database refuses every change.
//! 3. The target is marked; from then on it takes rows of a transfer alone.
//! 4. Rows are copied page by page, each page a transaction, after the last key that is there.
//! 5. All rows are read back from both ends and compared.
//! 6. The source is marked as verified: the moment at which the target becomes the queue. Only then
//!    does the target lose its mark.
//!
//! Every step can be repeated, so a transfer that was cut off goes on when it is run again. Up to step
//! 6 the mark on the source decides alone, so it can be taken back whatever has become of the target.

mod comparison;
mod error;

use crate::clock::Clock;
use crate::config::StoreUrl;
use crate::store::transfer::{Page, TABLES, Table, TransferEnd, TransferIn, TransferOut, replaced};
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
    /// The source.
    pub from: StoreUrl,
    /// The target.
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
    let source = stores::source(&route.from, clock.now()).await?;
    let out = read_mark(&source, &to).await?;
    let is_verified = out.as_ref().is_some_and(|out| out.is_verified);
    let target = match stores::target(&route.to, clock.now()).await {
        Ok(target) => target,
        // A dispatcher takes no queue that is not complete.
        Err(OpenError::Held { .. }) if is_verified => return Ok(Transferred::Already),
        Err(error) => return Err(error.into()),
    };
    let mut transfer = Transfer {
        source,
        target,
        replace_unfit,
        clock,
        watcher,
    };
    match out {
        Some(out) if is_verified => {
            transfer.finish(&out).await?;
            return Ok(Transferred::Already);
        }
        out => transfer.begin(out).await?,
    }
    for table in &TABLES {
        transfer.copy(table).await?;
    }
    let ids = transfer.source.highest_ids().await;
    let ids = ids.map_err(at(&transfer.source))?;
    let advanced = transfer.target.advance_sequences(ids).await;
    advanced.map_err(at(&transfer.target))?;
    let mut verified = Vec::new();
    for table in &TABLES {
        verified.push(transfer.verify(table).await?);
    }
    transfer.commit().await?;
    Ok(Transferred::Now(verified))
}

/// Takes the source back into use. Returns the database in which an unfinished copy may be.
///
/// # Errors
///
/// Why not: perhaps the other one is complete.
pub async fn abandon(route: &Route, clock: &dyn Clock) -> Result<String, TransferError> {
    let to = stores::name(&route.to)?;
    let source = stores::source(&route.from, clock.now()).await?;
    let database = source.name().to_owned();
    match read_mark(&source, &to).await? {
        None => Err(TransferError::NotMoving { database }),
        Some(out) if out.is_verified => Err(TransferError::Complete { database, to }),
        Some(_) => {
            let unmarked = source.unmark_source().await;
            unmarked.map(|()| to).map_err(at(&source))
        }
    }
}

/// The mark on the source, if it moves to `to` and nowhere else.
async fn read_mark(source: &TransferEnd, to: &str) -> Result<Option<TransferOut>, TransferError> {
    let out = source.transfer_out().await.map_err(at(source))?;
    match out {
        Some(out) if out.to != to && out.is_verified => Err(OpenError::Moved {
            database: source.name().to_owned(),
            to: out.to,
        }
        .into()),
        Some(out) if out.to != to => Err(TransferError::OtherTarget {
            database: source.name().to_owned(),
            to: out.to,
            asked: to.to_owned(),
        }),
        out => Ok(out),
    }
}

/// Names the database that failed.
fn at(end: &TransferEnd) -> impl FnOnce(StoreError) -> TransferError + use<> {
    let database = end.name().to_owned();
    move |source| TransferError::Store { database, source }
}

struct Transfer<'a, 'w> {
    source: TransferEnd,
    target: TransferEnd,
    replace_unfit: bool,
    clock: &'a dyn Clock,
    watcher: &'a mut Watcher<'w>,
}

impl Transfer<'_, '_> {
    /// Marks both ends, unless they are marked.
    async fn begin(&mut self, out: Option<TransferOut>) -> Result<(), TransferError> {
        let transfer_id = out.as_ref().map(|out| &out.transfer_id);
        match self.transfer_in().await? {
            Some(mark) if Some(&mark.transfer_id) == transfer_id => return Ok(()),
            Some(mark) => return Err(self.other_source(mark)),
            None => {}
        }
        let is_empty = self.target.is_empty().await.map_err(at(&self.target))?;
        let not_empty = TransferError::NotEmpty {
            database: self.target.name().to_owned(),
        };
        if !is_empty {
            return Err(not_empty);
        }
        let out = match out {
            Some(out) => out,
            None => self.mark_source().await?,
        };
        let mark = TransferIn {
            transfer_id: out.transfer_id,
            from: self.source.name().to_owned(),
        };
        let marked = self.target.mark_target(&mark, self.clock.now()).await;
        match marked.map_err(at(&self.target))? {
            true => Ok(()),
            false => Err(not_empty),
        }
    }

    async fn mark_source(&self) -> Result<TransferOut, TransferError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let mark = TransferOut {
            transfer_id: hex::encode(id),
            to: self.target.name().to_owned(),
            is_verified: false,
        };
        let marked = self.source.mark_source(&mark, self.clock.now()).await;
        marked.map(|()| mark).map_err(at(&self.source))
    }

    /// Copies the rows after the last one that is there.
    async fn copy(&mut self, table: &Table) -> Result<(), TransferError> {
        let of = self.source.count(table).await.map_err(at(&self.source))?;
        let mut rows = self.target.count(table).await.map_err(at(&self.target))?;
        let after = self.target.last_key(table).await;
        let mut after = after.map_err(at(&self.target))?;
        loop {
            self.tell("copying", table, rows, of);
            let page = self.source.page(table, after, PAGE_ROWS).await;
            let page = self.fit(table, page.map_err(at(&self.source))?)?;
            let Some(last) = page.rows.last() else {
                return Ok(());
            };
            after = Some(table.key_of(last).to_vec());
            let inserted = self.target.insert(table, &page).await;
            inserted.map_err(at(&self.target))?;
            rows += page.rows.len() as u64;
        }
    }

    /// The rows as the target holds them.
    fn fit(&self, table: &Table, mut page: Page) -> Result<Page, TransferError> {
        for row in &mut page.rows {
            for at in 0..row.len() {
                let Some(fault) = self.target.unfit(&row[at]) else {
                    continue;
                };
                if !self.replace_unfit || !table.may_be_replaced(at) {
                    return Err(TransferError::Unfit {
                        table: table.name,
                        key: table.name_of(row),
                        column: page.columns[at].clone(),
                        fault,
                        database: self.target.name().to_owned(),
                    });
                }
                row[at] = replaced(&row[at]);
            }
        }
        Ok(page)
    }

    /// Reads a table back from both ends.
    async fn verify(&mut self, table: &'static Table) -> Result<VerifiedTable, TransferError> {
        let of = self.source.count(table).await.map_err(at(&self.source))?;
        let mut comparison = Comparison::new(table);
        let mut after = None;
        loop {
            self.tell("verifying", table, comparison.rows(), of);
            let sent = self.source.page(table, after.clone(), PAGE_ROWS).await;
            let sent = self.fit(table, sent.map_err(at(&self.source))?)?.rows;
            let taken = self.target.page(table, after, PAGE_ROWS).await;
            let taken = taken.map_err(at(&self.target))?.rows;
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
                    Some(last) => after = Some(table.key_of(last).to_vec()),
                    None => return Ok(comparison.finish()),
                },
            }
        }
    }

    /// Makes the target the queue.
    async fn commit(&mut self) -> Result<(), TransferError> {
        let verified = self.source.mark_verified(self.clock.now()).await;
        verified.map_err(at(&self.source))?;
        self.unmark_target().await
    }

    /// Of a transfer that was cut off after the moment at which it was done.
    async fn finish(&self, out: &TransferOut) -> Result<(), TransferError> {
        match self.transfer_in().await? {
            Some(mark) if mark.transfer_id == out.transfer_id => self.unmark_target().await,
            Some(mark) => Err(self.other_source(mark)),
            None => Ok(()),
        }
    }

    async fn transfer_in(&self) -> Result<Option<TransferIn>, TransferError> {
        self.target.transfer_in().await.map_err(at(&self.target))
    }

    async fn unmark_target(&self) -> Result<(), TransferError> {
        self.target.unmark_target().await.map_err(at(&self.target))
    }

    fn other_source(&self, mark: TransferIn) -> TransferError {
        TransferError::OtherSource {
            database: self.target.name().to_owned(),
            from: mark.from,
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
