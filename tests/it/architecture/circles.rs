//! No circle of files: what a file names, and what that names, never leads back to it.
//!
//! A module's own file holds what its children share, so a child that names something of a module
//! around it makes no edge. A name that is re-exported stands for the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::{identifier, source_files, without_comments};

/// The files of `src/` by their modules' paths from the crate's root.
struct Modules {
    /// The path of a file and its code, without comments and unit tests.
    files: BTreeMap<Vec<String>, (String, String)>,
    /// Where the names come from that a module re-exports by `pub use`, by module and name.
    reexports: BTreeMap<(Vec<String>, String), Vec<String>>,
}

impl Modules {
    fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut modules = Self {
            files: BTreeMap::new(),
            reexports: BTreeMap::new(),
        };
        for (path, text) in files {
            let module = module_of(&path);
            let is_tests = module.last().is_some_and(|name| name == "tests");
            if !is_tests {
                let code = without_comments(&text);
                let end = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
                modules.files.insert(module, (path, code[..end].to_owned()));
            }
        }
        let mut reexports = BTreeMap::new();
        for (module, (_, code)) in &modules.files {
            for (at, prefix) in code.match_indices("pub") {
                let Some(path) = use_after(&code[at + prefix.len()..]) else {
                    continue;
                };
                for path in paths_of_tree(path) {
                    let path = modules.absolute(module, &path);
                    let name = path.last().cloned().unwrap_or_default();
                    reexports.insert((module.clone(), name), path);
                }
            }
        }
        modules.reexports = reexports;
        modules
    }

    /// `path` as written in `module`, from the crate's root.
    fn absolute(&self, module: &[String], path: &[String]) -> Vec<String> {
        let mut base = module.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                rest = &path[1..];
            }
            Some("self") => rest = &path[1..],
            _ => {}
        }
        while rest.first().is_some_and(|name| name == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        base
    }

    /// The module that defines what `path` names.
    fn definition(&self, path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        // A re-export of a re-export of …; no chain is longer than the house is high.
        for _ in 0..8 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| self.files.contains_key(&path[..*depth]))
                .unwrap_or(0);
            let Some(name) = path.get(depth) else {
                return path;
            };
            match self.reexports.get(&(path[..depth].to_vec(), name.clone())) {
                Some(source) if *source != path[..=depth] => {
                    path = [source, &path[depth + 1..]].concat();
                }
                _ => return path[..depth].to_vec(),
            }
        }
        path
    }

    /// The files that each file depends on.
    fn edges(&self) -> BTreeMap<&[String], BTreeSet<Vec<String>>> {
        let mut edges = BTreeMap::new();
        for (module, (_, code)) in &self.files {
            let named = paths_in(code).into_iter().filter_map(|path| {
                let is_rooted = matches!(path[0].as_str(), "crate" | "self" | "super");
                let child = [module.as_slice(), &path[..1]].concat();
                let is_local = is_rooted || self.files.contains_key(&child);
                is_local.then(|| self.definition(&self.absolute(module, &path)))
            });
            let others = named.filter(|other| !module.starts_with(other)).collect();
            edges.insert(module.as_slice(), others);
        }
        edges
    }

    /// The circles, each as the paths of its files.
    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let reached: BTreeMap<_, _> = (edges.keys())
            .map(|module| (*module, reachable(&edges, module)))
            .collect();
        let mut circles = BTreeSet::new();
        for (module, others) in &reached {
            if others.contains(*module) {
                let circle: Vec<_> = (others.iter())
                    .filter(|other| {
                        let back = reached.get(other.as_slice());
                        back.is_some_and(|back| back.contains(*module))
                    })
                    .map(|other| self.files[other].0.as_str())
                    .collect();
                circles.insert(circle.join(", "));
            }
        }
        circles.into_iter().collect()
    }
}

fn reachable(
    edges: &BTreeMap<&[String], BTreeSet<Vec<String>>>,
    from: &[String],
) -> BTreeSet<Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from.to_vec()];
    while let Some(module) = next.pop() {
        for other in edges.get(module.as_slice()).into_iter().flatten() {
            if reached.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    reached
}

/// `src/store/mod.rs` is `store`, `src/store/lease.rs` is `store::lease`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    match inside {
        "lib" => Vec::new(),
        _ => inside.split('/').map(str::to_owned).collect(),
    }
}

/// The tree of `pub use` or `pub(...) use`, from the text after `pub`.
fn use_after(text: &str) -> Option<&str> {
    let text = match text.strip_prefix('(') {
        Some(text) => text.split_once(')')?.1,
        None => text,
    };
    text.strip_prefix(" use ")
}

/// Every path that begins at a name: in `use` and elsewhere, but not what `pub use` passes on.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut before = ' ';
    let mut skip_until = 0;
    for (at, character) in code.char_indices() {
        let begins = is_of_name(character) && !is_of_name(before) && before != ':';
        before = character;
        if at < skip_until || !begins {
            continue;
        }
        if let Some(tree) = code[at..].strip_prefix("pub").and_then(use_after) {
            skip_until = code.len() - tree.len() + tree.find(';').unwrap_or(0);
        } else if code[at + identifier(&code[at..]).len()..].starts_with("::") {
            paths.extend(paths_of_tree(&code[at..]));
        }
    }
    paths
}

const fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// The paths of `a::{b, c::d}`, from where it begins.
fn paths_of_tree(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    tree(text, &[], &mut paths);
    paths
}

/// Reads one entry of a tree; returns the text after it.
fn tree<'a>(text: &'a str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let name = identifier(text);
    let rest = &text[name.len()..];
    let path = match name.as_str() {
        "" => prefix.to_vec(),
        // `{self, …}`: the module itself.
        "self" if !prefix.is_empty() => prefix.to_vec(),
        _ => [prefix, &[name]].concat(),
    };
    let Some(rest) = rest.strip_prefix("::") else {
        paths.push(path);
        return rest;
    };
    let Some(mut rest) = rest.strip_prefix('{') else {
        return tree(rest, &path, paths);
    };
    loop {
        rest = tree(rest.trim_start(), &path, paths);
        // ` as other` changes nothing.
        let Some(end) = rest.find([',', '}']) else {
            return rest;
        };
        let is_last = rest[end..].starts_with('}');
        rest = rest[end + 1..].trim_start();
        if is_last {
            return rest;
        }
        if let Some(rest) = rest.strip_prefix('}') {
            return rest;
        }
    }
}

#[test]
fn no_file_depends_on_itself_through_others() {
    let circles = Modules::new(source_files()).circles();
    assert!(
        circles.is_empty(),
        "circles of files:\n{}",
        circles.join("\n")
    );
}

#[test]
fn circles_are_found_through_groups_children_and_re_exports() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[
                ("src/a/mod.rs", "mod x;\nmod y;\n"),
                ("src/a/x.rs", "use super::y::Y;"),
                ("src/a/y.rs", "fn f() { super::x::g() }"),
            ],
            "src/a/x.rs, src/a/y.rs",
        ),
        (
            &[
                ("src/a.rs", "use crate::{c::C, b::{self, B}};"),
                ("src/b.rs", "use crate::c::{C as Other};"),
                ("src/c.rs", "use super::a;"),
            ],
            "src/a.rs, src/b.rs, src/c.rs",
        ),
        (
            &[
                ("src/a/mod.rs", "mod x;\npub(crate) use self::x::X;\n"),
                ("src/a/x.rs", "use crate::b::B;"),
                ("src/b.rs", "use crate::a::X;"),
            ],
            "src/a/x.rs, src/b.rs",
        ),
        (
            &[
                ("src/a/mod.rs", "mod x;\nfn f() { x::run() }\n"),
                ("src/a/x.rs", "use crate::b::B;"),
                ("src/b.rs", "use crate::a::A;"),
            ],
            "src/a/mod.rs, src/a/x.rs, src/b.rs",
        ),
    ];
    for (files, circle) in cases {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        assert_eq!(Modules::new(files).circles(), [*circle]);
    }
}

#[test]
fn a_child_may_name_what_the_modules_around_it_define() {
    let files = [
        (
            "src/a/mod.rs",
            "mod x;\npub use x::X;\nuse x::run;\npub struct A;",
        ),
        (
            "src/a/x.rs",
            "use super::A; // use crate::b::B\n#[cfg(test)]\nmod tests { use crate::b::B; }",
        ),
        ("src/b.rs", "use crate::a::X;"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(Modules::new(files).circles(), Vec::<String>::new());
}
