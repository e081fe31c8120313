//! `resend`, `cancel`, `pause`, `resume`: ask the dispatcher to do it, and wait for its answer.
//!
//! All four write one row of `operator_command`, as SQL and the console do. If no dispatcher works
//! on the queue, this process takes its place for as long as the command takes: whoever stops the
//! daemon to call something off wants it called off before the daemon starts again.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::actor;
use super::exit::{CommandResult, Exit, Failure};
use super::given;
use super::json;
use super::moment;
use super::queue;
use super::waiting::Waiting;
use crate::clock::{Clock, SystemClock};
use crate::config::{Inputs, Settings};
use crate::domain::{Timestamp, visible};
use crate::service;
use crate::store::{
    Action, CallbackRow, CommandId, CommandStatus, Filter, Inspection, NewCommand, Selectors,
    StoredState,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Operation {
    /// Send callbacks again, each with a full budget of attempts
    Resend(ResendArguments),
    /// Call off pending callbacks, for good
    Cancel(CancelArguments),
    /// Stop a paced resend: call off what it has queued and what was not tried yet
    Stop(StopArguments),
    /// Send nothing more of an app, or to an origin, until it is resumed
    Pause(PauseArguments),
    /// End a pause
    Resume(PauseArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct ResendArguments {
    #[command(flatten)]
    which: Which,
    /// Also what the merchant has acknowledged
    #[arg(long)]
    include_acknowledged: bool,
    /// Callbacks per second [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Send it to this URL from now on; the one that the gateway queued stays on record
    #[arg(
        long,
        value_name = "URL",
        requires = "orders",
        conflicts_with_all = ["app", "origin", "state", "since", "until"],
        value_parser = given::parse
    )]
    to: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct CancelArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct StopArguments {
    /// The resend's number, as it was answered
    #[arg(value_name = "COMMAND")]
    command: i64,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseArguments {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    asking: Asking,
}

/// Which callbacks; what is given must all hold.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Which {
    /// A callback's id, or an order number or refund number of either side; several are acted on one by one
    #[arg(value_name = "ORDER", value_parser = given::parse)]
    orders: Vec<String>,
    /// The same from a file, one a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "orders")]
    orders_from: Option<PathBuf>,
    /// Those of this app
    #[arg(long, value_name = "APP_ID", value_parser = given::parse)]
    app: Option<String>,
    /// Those that go there: a URL, of which scheme, host and port count
    #[arg(long, value_name = "URL", value_parser = given::parse)]
    origin: Option<String>,
    /// pending (in flight, too), delivered, exhausted or cancelled
    #[arg(long, value_parser = given::word::<StoredState>(StoredState::ALL.iter().map(|it| it.as_str())))]
    state: Option<StoredState>,
    /// Queued since then: a date, a moment (2026-11-01T00:00:00Z) or an age (2h, 3d)
    #[arg(long, value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Queued before then: likewise
    #[arg(long, value_parser = moment::parse)]
    until: Option<Timestamp>,
}

/// Whose callbacks.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Those of this app
    #[arg(long, value_name = "APP_ID", value_parser = given::parse)]
    app: Option<String>,
    /// Those that go there: a URL, of which scheme, host and port count
    #[arg(long, value_name = "URL", value_parser = given::parse)]
    origin: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    /// Only count what would be done
    #[arg(long)]
    dry_run: bool,
    /// Why: kept with the command
    #[arg(long, required_unless_present = "dry_run", value_parser = given::parse)]
    reason: Option<String>,
    /// Who asks: kept with the command [default: the login name]
    #[arg(long, value_parser = given::parse)]
    actor: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(operation: Operation, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    let (command, which, json) = match operation {
        Operation::Resend(asked) => {
            let command = NewCommand {
                include_acknowledged: asked.include_acknowledged,
                rate: asked.rate,
                to_url: asked.to,
                ..asked.asking.command(Action::Resend)
            };
            (command, asked.which, asked.asking.json)
        }
        Operation::Cancel(asked) => {
            let command = asked.asking.command(Action::Cancel);
            (command, asked.which, asked.asking.json)
        }
        Operation::Stop(asked) => {
            let mut command = asked.asking.command(Action::Cancel);
            command.selectors.command_id = Some(CommandId(asked.command));
            return operate(command, None, asked.asking.json, inputs, out);
        }
        Operation::Pause(asked) => asked.command(Action::Pause),
        Operation::Resume(asked) => asked.command(Action::Resume),
    };
    let orders = which.orders()?;
    if orders.len() < 2 {
        let order = orders.into_iter().next();
        return operate(command, Some((order, which)), json, inputs, out);
    }
    let mut failed = 0;
    for order in &orders {
        let of_one = Some((Some(order.clone()), which.clone()));
        if let Err(failure) = operate(command.clone(), of_one, json, inputs, out) {
            failed += 1;
            writeln!(anstream::stderr(), "error: {}: {failure}", visible(order))?;
        }
    }
    match failed {
        0 => Ok(Exit::Done),
        _ => Err(anyhow!(
            "{failed} of {} orders were not acted on, see above",
            orders.len()
        )
        .into()),
    }
}

impl Which {
    /// The orders that are named, here or in a file.
    fn orders(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.orders_from else {
            return Ok(self.orders.clone());
        };
        let text = match path.to_str() {
            Some("-") => io::read_to_string(io::stdin()).context("standard input")?,
            _ => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let orders: Vec<String> = lines.map(str::to_owned).collect();
        if orders.is_empty() {
            return Err(anyhow!("{}: there is no order in it", path.display()).into());
        }
        Ok(orders)
    }
}

impl PauseArguments {
    fn command(self, action: Action) -> (NewCommand, Which, bool) {
        let Self { whose, asking } = self;
        let which = Which {
            orders: Vec::new(),
            orders_from: None,
            app: whose.app,
            origin: whose.origin,
            state: None,
            since: None,
            until: None,
        };
        (asking.command(action), which, asking.json)
    }
}

impl Asking {
    pub(super) fn command(&self, action: Action) -> NewCommand {
        let actor = self.actor.clone().unwrap_or_else(actor::login_name);
        let reason = self.reason.as_deref().unwrap_or("dry run");
        NewCommand {
            dry_run: self.dry_run,
            ..NewCommand::new(action, actor, reason)
        }
    }
}

/// Submits `command`, with the callbacks that a person has named, and waits for its answer.
pub(super) fn operate(
    mut command: NewCommand,
    which: Option<(Option<String>, Which)>,
    json: bool,
    inputs: &Inputs,
    out: &mut dyn Write,
) -> CommandResult {
    let settings = Settings::load(inputs)?;
    let operated = queue::block_on(async {
        let url = &settings.store.url;
        let commands = service::operators(url).await?;
        let inspection = service::inspection(url).await?;
        if let Some((order, which)) = which {
            command.selectors = selectors(order, which, inspection.as_ref()).await?;
            warn_of_strangers(&command.selectors, inspection.as_ref()).await?;
        }
        let id = commands.submit(command, SystemClock.now()).await?;
        let mut waiting = Waiting::new(commands.as_ref(), id);
        waiting.wait(&settings).await
    })?;
    let command = &operated.command;
    if json {
        json::print(out, command)?;
    }
    match (command.status, operated.is_left) {
        (CommandStatus::Refused, _) => {
            Err(anyhow!("command {} is refused: {}", command.id, command.answer).into())
        }
        (_, true) => Err(anyhow!(
            "command {}: {}; no dispatcher works on this queue, and what was in flight when the \
             last one stopped is left: start it with `callback-dispatcher run`, and it goes on",
            command.id,
            command.summary()
        )
        .into()),
        (_, false) => {
            if !json {
                writeln!(out, "command {}: {}", command.id, command.answer)?;
            }
            Ok(Exit::Done)
        }
    }
}

/// Says so on standard error if the queue has no callback of the app, or to the origin, that is named:
/// it may be a slip of the pen.
async fn warn_of_strangers(
    selectors: &Selectors,
    inspection: &dyn Inspection,
) -> Result<(), Failure> {
    let named = [
        ("app", selectors.app_id.clone(), None),
        ("origin", None, selectors.origin.clone()),
    ];
    for (what, app_id, origin) in named {
        let Some(name) = app_id.clone().or_else(|| origin.clone()) else {
            continue;
        };
        let filter = Filter {
            app_id,
            origin,
            limit: 1,
            ..Filter::default()
        };
        let page = inspection.list(filter).await?;
        // A page that is not full and has a next one has not looked at all.
        if page.rows.is_empty() && page.next.is_none() {
            let name = visible(&name).into_owned();
            writeln!(
                anstream::stderr(),
                "warning: the queue has no callback of {what} {name}; is it written as the gateway does?"
            )?;
        }
    }
    Ok(())
}

/// Resolves what a person calls an order. A number that is one callback's id and another's order
/// number is nobody's guess.
async fn selectors(
    order: Option<String>,
    which: Which,
    inspection: &dyn Inspection,
) -> Result<Selectors, Failure> {
    let mut selectors = Selectors {
        app_id: which.app,
        origin: which.origin,
        state: which.state,
        since: which.since,
        until: which.until,
        ..Selectors::default()
    };
    let Some(order) = order else {
        return Ok(selectors);
    };
    let found = inspection.find(&order).await?;
    let (by_number, by_id): (Vec<_>, Vec<_>) =
        found.iter().partition(|row| has_number(row, &order));
    match (by_number.as_slice(), by_id.as_slice()) {
        ([], []) => Err(queue::no_callback(&order)),
        ([], [row, ..]) => {
            selectors.callback_id = Some(row.id);
            Ok(selectors)
        }
        (_, []) => {
            selectors.order_number = Some(order);
            Ok(selectors)
        }
        ([numbered, ..], [row, ..]) => Err(anyhow!(
            "{order:?} is the id of callback {} and a number of callback {}; \
             give another number of the one that is meant",
            row.id,
            numbered.id
        )
        .into()),
    }
}

fn has_number(row: &CallbackRow, number: &str) -> bool {
    let numbers = [
        Some(&row.order_no),
        Some(&row.newpay_order_no),
        row.refund_order_no.as_ref(),
        row.newpay_refund_order_no.as_ref(),
    ];
    numbers.into_iter().flatten().any(|known| known == number)
}
