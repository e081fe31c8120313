//! The house rules that the compiler does not know, read off the text of `src/`.

mod circles;

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up, with how many of those before it each may import: the ones that
/// surround the delivery know nothing of each other. `main.rs` and `lib.rs` stand above them all.
const LAYERS: &[(&str, usize)] = &[
    ("domain", 0),
    ("failpoint", 0),
    ("clock", 2),
    ("store", 3),
    ("delivery", 4),
    ("reconciliation", 5),
    ("housekeeping", 6),
    ("health", 4),
    ("config", 8),
    ("merchant", 8),
    ("telemetry", 8),
    ("explanation", 8),
    ("diagnosis", 8),
    ("admin", 8),
    ("service", 14),
    ("cli", 15),
];

/// What a layer may import besides: the admin port serves the metrics and tells the report.
const NEIGHBOURS: &[(&str, &str)] = &[("admin", "telemetry"), ("admin", "explanation")];

/// Whether `layer` may import `named`; `None` if one of them is no layer.
fn may_import(layer: &str, named: &str) -> Option<bool> {
    let place = |name: &str| LAYERS.iter().position(|(layer, _)| *layer == name);
    let reach = LAYERS[place(layer)?].1;
    let within_reach = place(named)? < reach || layer == named;
    Some(within_reach || NEIGHBOURS.contains(&(layer, named)))
}

/// A word of code and the only places where it may stand, as beginnings of paths.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("SystemTime::now", &["src/clock.rs"], "take a Clock"),
    ("Instant::now", &["src/clock.rs"], "take a Stopwatch"),
    ("Utc::now", &[], "take a Clock"),
    ("Local::now", &[], "take a Clock"),
    (
        "thread::sleep",
        // Until another process gives the database's lock back, has had its turn at it, or its
        // commit is to be seen.
        &[
            "src/store/sqlite/connection.rs",
            "src/store/sqlite/lock_backoff.rs",
            "src/store/sqlite/commit_watcher.rs",
        ],
        "wait for the event itself",
    ),
    (
        "time::sleep",
        &[
            "src/clock.rs",
            // A merchant that was told to be slow.
            "src/merchant/",
            // Until a file descriptor is free again.
            "src/admin/server/mod.rs",
            // Until the database takes an outcome again.
            "src/delivery/recorder/mod.rs",
            // Between two tries of what the store has refused.
            "src/delivery/dispatcher/drain.rs",
            // Between two pages of a day that is closed.
            "src/reconciliation/closing.rs",
            // Until a commit that was heard is to be seen.
            "src/store/sqlite/commit_watcher.rs",
            // Until a server that is away is asked again.
            "src/store/postgres/listener.rs",
        ],
        "use Clock::sleep_until, or a deadline",
    ),
    (
        "reqwest",
        &["src/delivery/transport"],
        "merchants are called through delivery::transport",
    ),
    (
        "rusqlite",
        &["src/store/sqlite"],
        "the database is behind store::Queue and store::Inspection",
    ),
    (
        "tokio_postgres",
        &["src/store/postgres"],
        "the database is behind store::Queue and store::Inspection",
    ),
    (
        "deadpool_postgres",
        &["src/store/postgres"],
        "the database is behind store::Queue and store::Inspection",
    ),
];

/// What the pure layer does without.
const IMPURE: &[&str] = &[
    "tokio::",
    "tracing::",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
];

/// Every fault of one file, in words.
fn faults(path: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut faults = Vec::new();
    for (word, homes, remedy) in HOMES {
        let at_home = homes.iter().any(|home| path.starts_with(home));
        if !at_home && mentions(&code, word) {
            faults.push(format!("{path}: {word} has no business here; {remedy}"));
        }
    }
    let Some(layer) = layer_of(path) else {
        return faults;
    };
    if may_import(layer, layer).is_none() {
        faults.push(format!("{path}: {layer} has no place among the layers"));
        return faults;
    }
    for named in imports(path, &code) {
        if may_import(layer, &named) == Some(false) {
            faults.push(format!("{path}: {layer} must not import {named}"));
        }
    }
    if layer == "domain" {
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            faults.push(format!("{path}: the domain is pure, it has no {word}"));
        }
    }
    faults
}

/// `src/store/lease.rs` and `src/store.rs` are both of the layer `store`.
fn layer_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let layer = first.strip_suffix(".rs").unwrap_or(first);
    (layer != "main" && layer != "lib").then_some(layer)
}

/// How many `super` lead from a file's module to the crate's root.
fn depth_of(path: &str) -> usize {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let names = inside.split('/').count();
    if inside.ends_with("/mod.rs") {
        names - 1
    } else {
        names
    }
}

/// The modules at the crate's root that a file names, by `crate::` or by climbing with `super::`.
fn imports(path: &str, code: &str) -> Vec<String> {
    let climb = "super::".repeat(depth_of(path));
    let mut named = Vec::new();
    for prefix in ["crate::", &climb] {
        for (at, _) in code.match_indices(prefix) {
            let rest = code[at + prefix.len()..].trim_start_matches("super::");
            match rest.strip_prefix('{') {
                Some(group) => named.extend(heads_of_group(group)),
                None => named.push(identifier(rest)),
            }
        }
    }
    named
}

/// The first identifier of each entry in `a::b, c::{d, e}, f}`.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut entry_begins = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => entry_begins = true,
            c if entry_begins && !c.is_whitespace() => {
                heads.push(identifier(&group[at..]));
                entry_begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Whether `word` stands there as a whole path: `reqwest` as `reqwest::` or `use reqwest`, but
/// not as part of a text or a longer name.
fn mentions(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"');
        let is_path = word.contains("::");
        let ends = match after {
            Some(':' | ';') => true,
            Some(c) => is_path && !c.is_alphanumeric() && c != '_',
            None => is_path,
        };
        begins && ends
    })
}

/// Cuts `//` comments off, `://` in texts excepted. Good enough for the formatted code of `src/`,
/// which has no block comments.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let comment = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'))
            .map_or(line.len(), |(at, _)| at);
        code.push_str(&line[..comment]);
        code.push('\n');
    }
    code
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src/ can be read") {
        let path = entry.expect("src/ can be listed").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every file under `src/`: its path from the repository's root and its text.
fn source_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    assert!(files.len() > 20, "only {} files were found", files.len());
    let file = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let path = path.strip_prefix(root).expect("it was found under root");
        (path.to_str().expect("paths are ASCII").to_owned(), text)
    };
    files.into_iter().map(file).collect()
}

#[test]
fn no_file_breaks_a_house_rule() {
    let files = source_files();
    let found: Vec<_> = (files.iter())
        .flat_map(|(path, text)| faults(path, text))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_checker_finds_what_it_is_for() {
    let table = [
        ("src/domain/a.rs", "use crate::store::Lease;"),
        ("src/domain/a.rs", "use super::super::clock::Clock;"),
        (
            "src/domain/a.rs",
            "async fn f() { tokio::task::yield_now().await }",
        ),
        ("src/clock.rs", "use crate::delivery;"),
        (
            "src/store/mod.rs",
            "use crate::{domain::Kind, delivery::{egress, transport}};",
        ),
        ("src/store/mod.rs", "use super::delivery::egress;"),
        (
            "src/store/sqlite/a.rs",
            "use crate::{\n    domain::{A, B},\n    config::C,\n};",
        ),
        ("src/delivery/a.rs", "fn f(_: crate::housekeeping::Task) {}"),
        ("src/config/mod.rs", "use crate::telemetry::Level;"),
        ("src/merchant/mod.rs", "use crate::config::Keys;"),
        ("src/telemetry.rs", "use crate::admin::Server;"),
        ("src/admin/mod.rs", "use crate::config::Admin;"),
        ("src/newcomer/mod.rs", ""),
        ("src/store/mod.rs", "let now = SystemTime::now();"),
        ("src/cli/run.rs", "let now = std::time::Instant::now();"),
        ("src/delivery/mod.rs", "use reqwest::Client;"),
        ("src/admin/mod.rs", "use reqwest;"),
        ("src/main.rs", "use rusqlite::Connection;"),
        ("src/store/mod.rs", "fn f() -> rusqlite::Result<()> {}"),
        ("src/delivery/a.rs", "tokio::time::sleep(wait).await;"),
        ("src/service/mod.rs", "use crate::cli::Arguments;"),
        ("src/explanation.rs", "use crate::config::Settings;"),
    ];
    for (path, text) in table {
        assert_eq!(faults(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn the_checker_leaves_good_code_alone() {
    let table = [
        (
            "src/store/mod.rs",
            "use crate::{clock::Clock, domain::Kind};",
        ),
        (
            "src/store/mod.rs",
            "// delivery: use crate::delivery::X, reqwest::Client\n",
        ),
        (
            "src/store/sqlite/a.rs",
            "use rusqlite::Connection; use super::super::Lease;",
        ),
        (
            "src/delivery/transport/dns.rs",
            "use reqwest::dns::Resolve;",
        ),
        (
            "src/telemetry/mod.rs",
            "let quiet = [\"reqwest\", \"rusqlite\"];",
        ),
        (
            "src/cli/run.rs",
            "use crate::{admin, config, telemetry, merchant, housekeeping};",
        ),
        ("src/admin/mod.rs", "use crate::telemetry::Metrics;"),
        (
            "src/clock.rs",
            "let now = SystemTime::now(); tokio::time::sleep(nap).await;",
        ),
        ("src/delivery/a.rs", "self.clock.sleep_until(due).await;"),
        ("src/main.rs", "use callback_dispatcher::cli;"),
        (
            "src/service/mod.rs",
            "use crate::{admin::Beat, config::Settings};",
        ),
        ("src/cli/show.rs", "use crate::{explanation, service};"),
        ("src/lib.rs", "pub mod store;"),
    ];
    for (path, text) in table {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
