//! A day's callbacks, counted by app.

use std::collections::BTreeMap;

use serde::Serialize;

use super::walk::{Ids, Walk};
use crate::domain::{CallbackId, Counts, DayRecord, Period, ReconciledCallback};
use crate::store::{AuditChain, StoreError};

/// What one app was owed that day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppCounts {
    /// The app.
    pub app_id: String,
    /// Its callbacks, as they stand now.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A day in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By app, in the order of their names.
    pub apps: Vec<AppCounts>,
    /// All of them.
    pub total: Counts,
}

/// Counts the callbacks queued within `period`, of `app` alone if there is one, as they stand now.
///
/// # Errors
///
/// What the store said.
pub async fn report(
    chain: &dyn AuditChain,
    period: Period,
    app: Option<&str>,
) -> Result<Report, StoreError> {
    let mut apps: BTreeMap<String, Counts> = BTreeMap::new();
    let mut total = Counts::default();
    let mut within = Within::new(chain, period, app).await?;
    while let Some(callbacks) = within.page().await? {
        for callback in callbacks {
            total.add(callback.state);
            let counts = apps.entry(callback.app_id).or_default();
            counts.add(callback.state);
        }
    }
    let apps = apps
        .into_iter()
        .map(|(app_id, counts)| AppCounts { app_id, counts })
        .collect();
    Ok(Report { apps, total })
}

/// A way through the callbacks that were queued within a period.
#[derive(Debug)]
pub(super) struct Within<'a> {
    chain: &'a dyn AuditChain,
    period: Period,
    app: Option<&'a str>,
    walk: Walk<'a>,
    /// Where to go on after that, the last one first.
    then: Vec<Ids>,
}

impl<'a> Within<'a> {
    /// Through the callbacks queued within `period`, of `app` alone if there is one.
    pub(super) async fn new(
        chain: &'a dyn AuditChain,
        period: Period,
        app: Option<&'a str>,
    ) -> Result<Self, StoreError> {
        let records = chain.days().await?;
        let newest = chain.newest().await?;
        let mut then = where_to_look(&records, period, newest);
        then.reverse();
        let nowhere = Ids {
            from: CallbackId(1),
            to: CallbackId(0),
        };
        let first = then.pop().unwrap_or(nowhere);
        Ok(Self {
            chain,
            period,
            app,
            walk: Walk::new(chain, first, None),
            then,
        })
    }

    /// The next few callbacks, perhaps none; `None`: that was all.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<ReconciledCallback>>, StoreError> {
        let mut callbacks = self.walk.page().await?;
        if callbacks.is_empty() {
            let Some(ids) = self.then.pop() else {
                return Ok(None);
            };
            self.walk = Walk::new(self.chain, ids, None);
        }
        callbacks.retain(|callback| {
            let asked_for = self.app.is_none_or(|app| callback.app_id == app);
            asked_for && self.period.contains(callback.created_at)
        });
        Ok(Some(callbacks))
    }
}

/// The ranges of ids in which the callbacks of `period` are: those of the closed days that reach into
/// it, and all ids that no closed day has. Ascending, and no id twice.
fn where_to_look(records: &[DayRecord], period: Period, newest: CallbackId) -> Vec<Ids> {
    let reaches = |record: &&DayRecord| {
        let begins = record.created_from.is_some_and(|from| from < period.end);
        begins && record.created_to.is_some_and(|to| period.start <= to)
    };
    let beyond = records
        .last()
        .map_or(CallbackId(i64::MIN), |record| record.next_id);
    let mut ranges: Vec<Ids> = records
        .iter()
        .filter(reaches)
        .map(|record| Ids {
            from: record.first_id,
            to: record.last_id,
        })
        .collect();
    ranges.push(Ids {
        from: beyond,
        to: newest,
    });
    let mut apart: Vec<Ids> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            // Links overlap where a day's callbacks were queued before the one before was closed.
            Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
            _ => apart.push(range),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Day, DayIds, Lines, NO_PREVIOUS_DAY, Offset, Timestamp};

    fn record(day: &str, first: i64, last: i64, next: i64) -> DayRecord {
        let day: Day = day.parse().expect("a day");
        let ids = DayIds {
            first: CallbackId(first),
            last: CallbackId(last),
            next: CallbackId(next),
        };
        let mut record = DayRecord::seal(day, NO_PREVIOUS_DAY, ids, &Lines::default(), day.end());
        record.created_from = Some(day.start());
        record.created_to = Some(day.end().before(Duration::from_millis(1)));
        record
    }

    fn looked_at(records: &[DayRecord], day: &str) -> Vec<(i64, i64)> {
        let day: Day = day.parse().expect("a day");
        let ids = where_to_look(records, day.period(Offset::UTC), CallbackId(100));
        ids.iter().map(|ids| (ids.from.0, ids.to.0)).collect()
    }

    #[test]
    fn only_where_the_days_callbacks_can_be() {
        assert_eq!(looked_at(&[], "2026-11-24"), [(i64::MIN, 100)]);
        let mut records = [
            record("2026-11-22", 1, 25, 21),
            record("2026-11-23", 21, 45, 41),
            record("2026-11-24", 41, 65, 61),
        ];
        assert_eq!(looked_at(&records, "2026-11-22"), [(1, 25), (61, 100)]);
        assert_eq!(looked_at(&records, "2026-11-24"), [(41, 100)]);
        assert_eq!(looked_at(&records, "2026-11-25"), [(61, 100)]);
        // One callback of the 22nd came late, and belongs to the 23rd.
        records[1].created_from = Some(Timestamp::from_millis(
            records[0].day.start().as_millis() + 1,
        ));
        assert_eq!(looked_at(&records, "2026-11-22"), [(1, 45), (61, 100)]);
        // And one of the 25th was ahead of its time.
        records[0].created_to = Some(records[2].day.end());
        assert_eq!(looked_at(&records, "2026-11-25"), [(1, 25), (61, 100)]);
    }
}
