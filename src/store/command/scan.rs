//! Finding the callbacks that a command selects.
//!
//! A scan follows the narrowest index that the selectors offer and compares the rest. It goes along
//! the ids, so its position is one number, and it reads at most [`ROWS_MAX`] rows, so no statement
//! is long. It holds no lock: each callback is decided again in the transaction that changes it.

use std::collections::BTreeMap;

use super::{CallbackSnapshot, Command, Disposition, NewCommand, Selectors, StoredState};
use crate::domain::{CallbackId, Timestamp};
use crate::store::session::{Row, Session, Value};
use crate::store::{AppId, Origin, StoreError, disposition};

/// Callbacks that one scan reads.
const ROWS_MAX: usize = 10_000;

/// Callbacks that one transaction changes.
const ITEMS_MAX: usize = 500;

/// What a scan has found, as far as one transaction takes it.
#[derive(Debug)]
pub(in crate::store) struct Found {
    /// Where the scan stood before it.
    after: CallbackId,
    /// Where the scan stands after it.
    position: CallbackId,
    /// Where the scan ends: the highest id when the command began.
    end: CallbackId,
    /// The callbacks that the command acts on or waits for.
    pub(super) items: Vec<CallbackId>,
    /// The number of callbacks that stay as they are, by reason.
    skipped: BTreeMap<&'static str, u64>,
}

impl Found {
    const fn after(after: CallbackId, end: CallbackId) -> Self {
        Self {
            after,
            position: after,
            end,
            items: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// Whether `command` still stands where the scan began. Otherwise another dispatcher has carried
    /// out this part.
    pub(super) fn follows(&self, command: &Command) -> bool {
        self.after == command.scans_after()
    }

    /// Adds the selected callbacks to the command's counts, and moves its scan on. Items are counted
    /// as done when they are decided; in a dry run, here.
    pub(super) fn count(&self, command: &mut Command) {
        for (why, callbacks) in &self.skipped {
            command.selected += callbacks;
            command.skip(why, *callbacks);
        }
        let items = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        command.selected += items;
        if command.request.dry_run {
            command.done += items;
        }
        command.scan_end = Some(self.end);
        command.scan_position = self.position;
    }
}

/// A callback that the selectors' index has offered.
#[derive(Debug)]
struct Candidate {
    id: CallbackId,
    app_id: AppId,
    origin: Origin,
    created_at: Timestamp,
    snapshot: CallbackSnapshot,
}

/// Sorts the candidates of one scan into parts.
#[derive(Debug)]
struct Scan<'a> {
    request: &'a NewCommand,
    app_id: Option<AppId>,
    origin: Option<Origin>,
    now: Timestamp,
    candidates: usize,
    parts: Vec<Found>,
    last: Found,
}

impl<'a> Scan<'a> {
    fn begin(command: &'a Command, end: CallbackId, now: Timestamp) -> Self {
        let selectors = &command.request.selectors;
        Self {
            request: &command.request,
            app_id: selectors.app_id.as_deref().map(AppId::new),
            origin: selectors.origin.as_deref().and_then(Origin::of_url),
            now,
            candidates: 0,
            parts: Vec::new(),
            last: Found::after(command.scans_after(), end),
        }
    }

    fn selects(&self, candidate: &Candidate) -> bool {
        let selectors = &self.request.selectors;
        let state = candidate.snapshot.state;
        selectors.state.is_none_or(|wanted| wanted == state)
            && (self.app_id.as_ref()).is_none_or(|wanted| *wanted == candidate.app_id)
            && (self.origin.as_ref()).is_none_or(|wanted| *wanted == candidate.origin)
            && (selectors.since).is_none_or(|since| candidate.created_at >= since)
            && (selectors.until).is_none_or(|until| candidate.created_at < until)
    }

    /// Takes the next candidate in the order of ids.
    fn push(&mut self, candidate: &Candidate) {
        self.candidates += 1;
        if self.selects(candidate) {
            match disposition(self.request, candidate.snapshot, self.now) {
                Disposition::Act | Disposition::Await => self.last.items.push(candidate.id),
                Disposition::Skip(why) => *self.last.skipped.entry(why).or_default() += 1,
            }
        }
        self.last.position = candidate.id;
        // A dry run only counts.
        if self.last.items.len() == ITEMS_MAX && !self.request.dry_run {
            let next = Found::after(candidate.id, self.last.end);
            self.parts.push(std::mem::replace(&mut self.last, next));
        }
    }

    /// At least one part, in the order of ids.
    fn end(mut self) -> Vec<Found> {
        if self.candidates < ROWS_MAX {
            self.last.position = self.last.end;
        }
        self.parts.push(self.last);
        self.parts
    }
}

const HIGHEST: &str = "SELECT coalesce(max(id), 0) AS id FROM callback_queue";

/// Scans on from where `command` stands.
pub(super) async fn scan(
    session: &impl Session,
    command: &Command,
    now: Timestamp,
) -> Result<Vec<Found>, StoreError> {
    let end = match command.scan_end {
        Some(end) => end,
        None => match session.query(HIGHEST, &[]).await?.first() {
            Some(row) => row.get("id")?,
            None => CallbackId(0),
        },
    };
    let (sql, selector) = candidates(&command.request.selectors);
    let mut values = vec![command.scans_after().into(), end.into()];
    values.extend(selector);
    let mut scan = Scan::begin(command, end, now);
    for row in session.query(&sql, &values).await? {
        scan.push(&candidate(&row)?);
    }
    Ok(scan.end())
}

const COLUMNS: &str = "id, state, leased_until IS NOT NULL AS in_flight, attempts, \
     next_attempt_at, finished_at, app_id, origin, created_at, \
     CASE WHEN state = 'delivered' THEN FALSE ELSE EXISTS (SELECT 1 FROM callback_attempt \
       WHERE callback_id = id AND outcome = 'acknowledged') END AS was_acknowledged";

/// For indexes that do not go by id: their ids are found first. Otherwise PostgreSQL's planner may
/// prefer to go along all ids until enough of them fit.
const AMONG_FOUND: &str =
    "WHERE id IN (SELECT id FROM found WHERE id > ?1 ORDER BY id LIMIT {rows}) AND";

/// The statement that reads candidates in the order of their ids, and its third value.
pub(in crate::store) fn candidates(selectors: &Selectors) -> (String, Option<Value>) {
    let (found, rows, selector) = if let Some(id) = selectors.callback_id {
        ("", "{NOT INDEXED|} WHERE id = ?3 AND", Some(id.into()))
    } else if let Some(command) = selectors.command_id {
        (
            "WITH found AS MATERIALIZED (
               SELECT callback_id AS id FROM operator_command_item WHERE command_id = ?3 AND what = 'resent')",
            AMONG_FOUND,
            Some(command.0.into()),
        )
    } else if let Some(number) = &selectors.order_number {
        (
            "WITH found AS MATERIALIZED (
               SELECT id FROM callback_queue {INDEXED BY callback_by_order|} WHERE order_no = ?3
               UNION SELECT id FROM callback_queue {INDEXED BY callback_one_per_payment|}
                 WHERE newpay_order_no = ?3
               UNION SELECT id FROM callback_queue {INDEXED BY callback_by_refund_order|}
                 WHERE refund_order_no = ?3 AND refund_order_no IS NOT NULL
               UNION SELECT id FROM callback_queue {INDEXED BY callback_one_per_refund|}
                 WHERE kind = 'refund' AND newpay_refund_order_no = ?3)",
            AMONG_FOUND,
            Some(number.as_str().into()),
        )
    } else if let Some(app_id) = &selectors.app_id {
        (
            "",
            "{INDEXED BY callback_by_app|} WHERE app_id = ?3 AND",
            Some(app_id.as_str().into()),
        )
    } else if let Some(state @ (StoredState::Exhausted | StoredState::Cancelled)) = selectors.state
    {
        (
            "WITH found AS MATERIALIZED (
               SELECT id FROM callback_queue {INDEXED BY callback_finished|}
               WHERE state = ?3 AND finished_at IS NOT NULL)",
            AMONG_FOUND,
            Some(state.as_str().into()),
        )
    } else {
        ("", "{NOT INDEXED|} WHERE", None)
    };
    let rows = rows.replace("{rows}", &ROWS_MAX.to_string());
    let sql = format!(
        "{found} SELECT {COLUMNS} FROM callback_queue {rows} \
         id > ?1 AND id <= ?2 ORDER BY id LIMIT {ROWS_MAX}"
    );
    (sql, selector)
}

fn candidate(row: &Row) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        id: row.get("id")?,
        app_id: row.get("app_id")?,
        origin: row.get("origin")?,
        created_at: row.get("created_at")?,
        snapshot: snapshot(row, row.get("was_acknowledged")?)?,
    })
}

/// Reads `state`, `in_flight`, `attempts`, `next_attempt_at` and `finished_at`.
pub(super) fn snapshot(row: &Row, was_acknowledged: bool) -> Result<CallbackSnapshot, StoreError> {
    Ok(CallbackSnapshot {
        state: row.parsed("state", |text| text.parse().ok())?,
        in_flight: row.get("in_flight")?,
        attempts: row.get("attempts")?,
        next_attempt_at: row.get("next_attempt_at")?,
        finished_at: row.get("finished_at")?,
        was_acknowledged,
    })
}
