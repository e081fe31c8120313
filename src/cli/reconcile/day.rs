//! `reconcile --day`: a day's callbacks by app, its record in the audit chain, and the differences to the books.

use std::io::{self, Write};

use serde::Serialize;

use super::super::exit::{CommandResult, Exit, Failure};
use super::super::json;
use super::super::table;
use super::pruned::{self, pruned_by_hand};
use crate::domain::{Counts, Day, DayRecord, Difference, Offset, visible};
use crate::reconciliation::{AppCounts, Comparison, Payments, Report, compare, report};
use crate::store::{AuditChain, Command, Commands};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub day: Day,
    pub offset: Offset,
    pub app: Option<&'a str>,
}

pub(super) async fn run(
    (chain, commands): (&dyn AuditChain, &dyn Commands),
    asked: &Asked<'_>,
    books: Option<Payments>,
    json: bool,
    out: &mut dyn Write,
) -> CommandResult {
    let period = asked.day.period(asked.offset);
    let report = report(chain, period, asked.app).await?;
    let record = match asked.offset {
        Offset::UTC => record_of(chain, asked.day).await?,
        // Days of the chain are in UTC, so none of them is this day.
        _ => None,
    };
    let by_hand = pruned_by_hand(commands, period.start).await?;
    if json {
        begin_json(asked, &report, record.as_ref(), &by_hand, out)?;
    } else {
        print(asked, &report, record.as_ref(), out)?;
        pruned::print(&by_hand, out)?;
    }
    let mut is_clean = true;
    if let Some(books) = books {
        if json {
            write!(out, ",\n  \"differences\": [")?;
        }
        let mut separator = "";
        let show = |difference: &Difference| {
            if !json {
                return writeln!(out, "{}", in_words(difference));
            }
            write!(out, "{separator}\n    ")?;
            separator = ",";
            write!(out, "{}", json::line(difference)?)
        };
        let found = compare(chain, books, period, asked.app, show).await?;
        is_clean = found.is_clean();
        if json {
            write!(out, "\n  ],\n  \"comparison\": ")?;
            write!(out, "{}", json::line(&found)?)?;
        } else {
            summarise(&found, out)?;
        }
    }
    if json {
        writeln!(out, "\n}}")?;
    }
    Ok(if is_clean { Exit::Done } else { Exit::Failed })
}

async fn record_of(chain: &dyn AuditChain, day: Day) -> Result<Option<DayRecord>, Failure> {
    let records = chain.days().await?;
    Ok(records.into_iter().find(|record| record.day == day))
}

fn print(
    asked: &Asked<'_>,
    report: &Report,
    record: Option<&DayRecord>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    writeln!(out, "queued on {} ({})", asked.day, asked.offset)?;
    let header = [
        "app",
        "queued",
        "acknowledged",
        "exhausted",
        "cancelled",
        "pending",
        "unknown",
    ];
    let mut rows: Vec<_> = report
        .apps
        .iter()
        .map(|AppCounts { app_id, counts }| row(app_id, counts))
        .collect();
    rows.push(row("all", &report.total));
    table::print(out, header, rows)?;
    match record {
        Some(record) => writeln!(out, "closed {}, digest {}", record.closed_at, record.digest)?,
        None if asked.offset == Offset::UTC => writeln!(
            out,
            "not closed: the daemon closes a day an hour after its end in UTC"
        )?,
        None => writeln!(out, "the chain's days are in UTC: this one has no digest")?,
    }
    Ok(())
}

fn row(app: &str, counts: &Counts) -> [String; 7] {
    [
        app.to_owned(),
        counts.queued.to_string(),
        counts.acknowledged.to_string(),
        counts.exhausted.to_string(),
        counts.cancelled.to_string(),
        counts.pending.to_string(),
        counts.unknown.to_string(),
    ]
}

fn in_words(difference: &Difference) -> String {
    let words = match difference {
        Difference::NotQueued { key, app_id, place } => format!(
            "{place}: {} {} of app {app_id} was never queued, or is pruned",
            key.kind, key.number
        ),
        Difference::NotInPayments {
            key,
            app_id,
            callback_id,
        } => format!(
            "callback {callback_id}: {} {} of app {app_id} is not in the payments",
            key.kind, key.number
        ),
        Difference::Differs {
            key,
            place,
            callback_id,
            fields,
        } => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| {
                    let (name, queued, payments) = (field.field, &field.queued, &field.payments);
                    format!("{name} {queued} is queued, the payments say {payments}")
                })
                .collect();
            let fields = fields.join("; ");
            format!(
                "{place}: {} {}, callback {callback_id}: {fields}",
                key.kind, key.number
            )
        }
    };
    visible(&words).into_owned()
}

fn summarise(found: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{} payments: {} match, {} never queued, {} differ; {} queued are not in the payments",
        found.payments, found.matched, found.not_queued, found.differs, found.not_in_payments
    )
}

/// The members of the object that are known before the books are read; the object stays open.
fn begin_json(
    asked: &Asked<'_>,
    report: &Report,
    record: Option<&DayRecord>,
    pruned_by_hand: &[Command],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Known<'a> {
        day: Day,
        offset: String,
        apps: &'a [AppCounts],
        total: Counts,
        /// Scripts know it by this name.
        #[serde(rename = "link")]
        record: Option<&'a DayRecord>,
        pruned_by_hand: &'a [Command],
    }
    let known = Known {
        day: asked.day,
        offset: asked.offset.to_string(),
        apps: &report.apps,
        total: report.total,
        record,
        pruned_by_hand,
    };
    let text = json::pretty(&known)?;
    let open = text.strip_suffix("\n}").unwrap_or(&text);
    write!(out, "{open}")?;
    Ok(())
}
