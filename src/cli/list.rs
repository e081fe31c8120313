//! `list`: callbacks by filter.

use std::io::Write;

use super::exit::{CommandResult, Failure};
use super::given;
use super::json;
use super::moment;
use super::queue::inspect;
use super::table;
use super::watch::WatchArguments;
use crate::config::Inputs;
use crate::domain::{Outcome, Timestamp};
use crate::store::{Cursor, Filter, Inspection, ListPage, ListedCallback, ShownState};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// pending, in_flight, delivered, exhausted or cancelled
    #[arg(long, value_parser = given::word::<ShownState>(ShownState::ALL.map(ShownState::as_str)))]
    state: Option<ShownState>,
    /// Only this app's
    #[arg(long, value_name = "APP_ID")]
    app: Option<String>,
    /// Only those that go there: a URL, of which scheme, host and port count
    #[arg(long, value_name = "URL", value_parser = given::parse)]
    origin: Option<String>,
    /// Queued since then: a date, a moment (2026-11-01T00:00:00Z), a time (14:30, UTC) or an age (2h, 3d)
    #[arg(long, value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Queued before then: likewise
    #[arg(long, value_parser = moment::parse)]
    until: Option<Timestamp>,
    /// Whose newest attempt ended so, for instance timeout
    #[arg(long, value_parser = given::word::<Outcome>(Outcome::ALL.map(Outcome::as_str)))]
    outcome: Option<Outcome>,
    /// Whose newest attempt was answered with this HTTP status
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..=599))]
    status: Option<u16>,
    /// Whose newest attempt has this text in its detail, in upper or lower case
    #[arg(long, value_name = "TEXT", value_parser = given::parse)]
    detail: Option<String>,
    /// Go on where the list before says that it ended
    #[arg(long, value_name = "PLACE")]
    after: Option<Cursor>,
    /// At most this many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: WatchArguments,
}

pub(super) fn run(arguments: &Arguments, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    arguments
        .watch
        .run(out, |out| print(arguments, inputs, out))
}

impl Arguments {
    /// The newest of what was given up.
    pub(super) fn given_up(limit: usize) -> Self {
        Self {
            state: Some(ShownState::Exhausted),
            limit,
            ..Self::default()
        }
    }
}

pub(super) fn print(
    arguments: &Arguments,
    inputs: &Inputs,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let filter = Filter {
        state: arguments.state,
        app_id: arguments.app.clone(),
        origin: arguments.origin.clone(),
        since: arguments.since,
        until: arguments.until,
        outcome: arguments.outcome.map(|outcome| outcome.as_str().to_owned()),
        http_status: arguments.status,
        detail: arguments.detail.clone(),
        after: arguments.after,
        limit: arguments.limit,
    };
    let page = inspect(inputs, async move |queue| list(&*queue, filter).await)?;
    if arguments.json {
        json::print(out, &page.rows)?;
    } else {
        let header = [
            "id",
            "kind",
            "state",
            "app",
            "order",
            "attempts",
            "last outcome",
            "next or finished",
            "origin",
            "detail",
        ];
        table::print(out, header, page.rows.iter().map(row))?;
    }
    if let Some(next) = page.next {
        let hint = format!("there may be more: raise --limit, or go on with --after {next}");
        match arguments.json {
            true => writeln!(anstream::stderr(), "{hint}")?,
            false => writeln!(out, "{hint}")?,
        }
    }
    Ok(())
}

/// Looks on until the list is full, however rare the matches are.
async fn list(queue: &dyn Inspection, filter: Filter) -> Result<ListPage, Failure> {
    let mut list = queue.list(filter.clone()).await?;
    while list.next.is_some() && list.rows.len() < filter.limit {
        let more = queue.list(Filter {
            after: list.next,
            limit: filter.limit - list.rows.len(),
            ..filter.clone()
        });
        let more = more.await?;
        list.rows.extend(more.rows);
        list.next = more.next;
    }
    Ok(list)
}

fn row(listed: &ListedCallback) -> [String; 10] {
    let row = &listed.callback;
    let order = row.refund_order_no.as_ref().unwrap_or(&row.order_no);
    let moment = row.next_attempt_at.or(row.finished_at);
    let outcome = row.last_outcome.clone().unwrap_or_default();
    [
        row.id.to_string(),
        row.kind.clone(),
        row.state.to_string(),
        row.app_id.clone(),
        order.clone(),
        row.attempts.to_string(),
        match listed.last_http_status {
            Some(status) => format!("{outcome} {status}"),
            None => outcome,
        },
        moment.map_or_else(String::new, |moment| moment.to_string()),
        row.origin.to_string(),
        detail(listed),
    ]
}

/// How the newest attempt went, and where.
fn detail(listed: &ListedCallback) -> String {
    const CHARACTERS_MAX: usize = 80;
    let detail = listed.last_detail.as_deref().unwrap_or_default();
    let mut shown: String = detail.chars().take(CHARACTERS_MAX).collect();
    if shown.len() < detail.len() {
        shown.push('…');
    }
    match &listed.last_remote_addr {
        Some(address) if shown.is_empty() => address.clone(),
        Some(address) => format!("{shown} ({address})"),
        None => shown,
    }
}
