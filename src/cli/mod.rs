//! The commands: parse, do, print, exit code.
//!
//! Each file is one command. Results go to standard output, everything else to standard error.
//! `anyhow` is used here and only here.

mod actor;
mod check;
mod colour;
mod demo;
mod enqueue;
mod exit;
mod given;
mod init;
mod json;
mod list;
mod manual;
mod mock_merchant;
mod moment;
mod notify;
mod operate;
mod probe;
mod prune;
mod queue;
mod reconcile;
mod run;
mod show;
mod stats;
mod table;
mod top;
mod transfer;
mod verify;
mod waiting;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Inputs;

use exit::{CommandResult, Exit};

/// Delivers signed payment and refund results to merchants.
#[derive(Debug, Parser)]
#[command(name = "callback-dispatcher", version, about, max_term_width = 100)]
struct Arguments {
    /// The settings file [default: ./dispatcher.toml, then /etc/callback-dispatcher/dispatcher.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: SIGTERM or SIGINT drains and stops it, SIGHUP reloads settings and keys
    Run,
    /// Create the database and its schema, or migrate an older one
    Init,
    /// Queue callbacks from NDJSON, all of them or none, and print their ids
    Enqueue(enqueue::Arguments),
    /// Show a callback, its attempts, and what to tell the merchant
    Show(show::Arguments),
    /// List callbacks, newest first
    List(list::Arguments),
    /// Count callbacks by state and merchant
    Stats(stats::Arguments),
    /// Watch the queue: what needs a person, counts, apps and what was given up last, until Ctrl-C
    Top,
    #[command(flatten)]
    Operate(operate::Operation),
    /// Remove finished callbacks past their retention, as the daemon does by itself every night
    Prune(prune::Arguments),
    /// Count a day's callbacks by app, hold them against the gateway's books, check the audit chain
    Reconcile(reconcile::Arguments),
    /// Move the queue to another database, SQLite or PostgreSQL, with the daemon stopped
    Transfer(transfer::Arguments),
    /// Check settings, keys, database and schema, and report every fault
    Check,
    /// Read a flat JSON object from standard input, print its canonical form and check its sign
    Verify(verify::Arguments),
    /// Send a test payment to a merchant's URL, and say what to fix
    Probe(probe::Arguments),
    /// Be a merchant to test against
    MockMerchant(mock_merchant::Arguments),
    /// Show the main job: queue, dispatcher and merchants in one process
    Demo,
    /// Write the manual pages and shell completions, for packages
    #[command(hide = true)]
    Manual(manual::Arguments),
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    // clap itself ends with 2 for wrong usage and with 0 for --help and --version.
    let arguments = Arguments::parse();
    let inputs = Inputs::of_process(arguments.config.as_deref());
    for (name, meant) in &inputs.mistaken {
        let warning = format!("warning: {name} is no setting and is not read; is {meant} meant?");
        // Nobody is left to tell if this fails.
        let _ = writeln!(anstream::stderr(), "{warning}");
    }
    let mut out = anstream::stdout().lock();
    let done = dispatch(arguments.command, &inputs, &mut out);
    let done = done.and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match done {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough.
        Err(failure) if failure.is_broken_pipe() => Exit::Done.into(),
        Err(failure) => {
            let mut err = anstream::stderr().lock();
            let label = colour::ERROR;
            // Nobody is left to tell if this fails.
            let _ = writeln!(err, "{label}error{label:#}: {failure}");
            failure.exit().into()
        }
    }
}

fn dispatch(command: Command, inputs: &Inputs, out: &mut dyn Write) -> CommandResult {
    match command {
        Command::Run => run::run(inputs),
        Command::Init => init::run(inputs, out),
        Command::Enqueue(arguments) => enqueue::run(&arguments, inputs, out),
        Command::Show(arguments) => show::run(&arguments, inputs, out),
        Command::List(arguments) => list::run(&arguments, inputs, out),
        Command::Stats(arguments) => stats::run(&arguments, inputs, out),
        Command::Top => top::run(inputs, out),
        Command::Operate(operation) => operate::run(operation, inputs, out),
        Command::Prune(arguments) => prune::run(&arguments, inputs, out),
        Command::Reconcile(arguments) => reconcile::run(&arguments, inputs, out),
        Command::Transfer(arguments) => transfer::run(&arguments, inputs, out),
        Command::Check => check::run(inputs, out),
        Command::Verify(arguments) => verify::run(&arguments, inputs, out),
        Command::Probe(arguments) => probe::run(&arguments, inputs, out),
        Command::MockMerchant(arguments) => mock_merchant::run(arguments, inputs, out),
        Command::Demo => demo::run(out),
        Command::Manual(arguments) => manual::run(&arguments, out),
    }
}
