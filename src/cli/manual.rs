//! `manual`: manual pages and shell completions, as files for a package.
//!
//! They are made from the definition of the command line, by the program that goes into the
//! package: what they say is what it takes. Hidden, as nobody else has a use for it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::exit::{CommandResult, Exit};

const PROGRAM: &str = "callback-dispatcher";

/// What stands beside the program.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/callback-dispatcher/dispatcher.toml",
        "The settings, if there is no dispatcher.toml in the working directory.",
    ),
    (
        "/etc/callback-dispatcher/keys.toml",
        "The keys that sign. Refused if others than its owner can read it.",
    ),
    (
        "/var/lib/callback-dispatcher/queue.db",
        "The queue, as the service of the package has it.",
    ),
    (
        "/usr/share/doc/callback-dispatcher/",
        "Every setting with its default and reason, the schema of the queue, and further reading.",
    ),
];

const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "DISPATCHER__SECTION__KEY",
        "Overrides a setting, for instance DISPATCHER__DELIVERY__MAX_IN_FLIGHT=8.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Set by systemd. A keys.toml there is taken instead of signing.keys_file.",
    ),
    ("NO_COLOR", "Anything in it switches colours off."),
];

const EXIT_STATUS: [(&str, &str); 5] = [
    ("0", "Done."),
    (
        "1",
        "Failed; also: show found nothing, verify found a sign that fails.",
    ),
    ("2", "Wrong usage."),
    ("75", "Another dispatcher holds this queue."),
    ("78", "Settings, keys or database are unusable."),
];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to write: man1/, bash/, zsh/ and fish/ are made in it
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> CommandResult {
    let directory = &arguments.directory;
    for (path, content) in files() {
        let path = directory.join(path);
        write(&path, &content).with_context(|| format!("{} can't be written", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(Exit::Done)
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

/// Every file by its path within the directory.
fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = completions();
    // Built with it, `help` and its shadows of all others would be commands too.
    let mut root = super::Arguments::command().disable_help_subcommand(true);
    root.build();
    let names: Vec<String> = shown(&root)
        .map(|command| format!("{PROGRAM}-{}", command.get_name()))
        .collect();
    let page = |name: &str| PathBuf::from(format!("man1/{name}.1"));
    files.push((page(PROGRAM), page_of_the_program(&root, &names)));
    for (command, name) in shown(&root).zip(&names) {
        files.push((page(name), page_of_a_command(command)));
    }
    files
}

/// The commands that people see.
fn shown(root: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    root.get_subcommands()
        .filter(|command| !command.is_hide_set())
}

fn completions() -> Vec<(PathBuf, Vec<u8>)> {
    [
        (Shell::Bash, "bash/callback-dispatcher"),
        (Shell::Zsh, "zsh/_callback-dispatcher"),
        (Shell::Fish, "fish/callback-dispatcher.fish"),
    ]
    .map(|(shell, path)| {
        let mut content = Vec::new();
        let mut root = super::Arguments::command();
        clap_complete::generate(shell, &mut root, PROGRAM, &mut content);
        (PathBuf::from(path), content)
    })
    .into()
}

fn page_of_the_program(root: &clap::Command, commands: &[String]) -> Vec<u8> {
    let mut roff = Roff::new();
    section(&mut roff, "FILES", &FILES);
    section(&mut roff, "ENVIRONMENT", &ENVIRONMENT);
    section(&mut roff, "EXIT STATUS", &EXIT_STATUS);
    let others = commands.iter().map(|name| format!("{name}(1)"));
    let others: Vec<String> = others.chain(["systemctl(1)".to_owned()]).collect();
    see_also(&mut roff, &others);
    page(root, &roff)
}

fn page_of_a_command(command: &clap::Command) -> Vec<u8> {
    let mut roff = Roff::new();
    section(&mut roff, "EXIT STATUS", &EXIT_STATUS);
    see_also(&mut roff, &[format!("{PROGRAM}(1)")]);
    page(command, &roff)
}

/// What clap knows of the command, and `more`.
fn page(command: &clap::Command, more: &Roff) -> Vec<u8> {
    let man = Man::new(command.clone())
        .source(concat!("callback-dispatcher ", env!("CARGO_PKG_VERSION")))
        .manual("Payment callbacks");
    let mut page = Vec::new();
    let has_commands = shown(command).next().is_some();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| match has_commands {
            true => man.render_subcommands_section(&mut page),
            false => Ok(()),
        })
        .and_then(|()| more.to_writer(&mut page));
    written.expect("a Vec takes every write");
    page
}

fn section(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in entries {
        roff.control("TP", [])
            .text([bold(*term)])
            .text([roman(*meaning)]);
    }
}

fn see_also(roff: &mut Roff, pages: &[String]) {
    roff.control("SH", ["SEE ALSO"])
        .text([roman(pages.join(", "))]);
}
