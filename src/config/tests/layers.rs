//! Which layer a value comes from, and names that no layer may have.

use std::path::Path;

use super::super::Place;
use super::super::layers::{Layers, Written};

fn file_faults(text: &str) -> String {
    let faults = Layers::defaults().lay_file(Path::new("dispatcher.toml"), text);
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_later_layer_replaces_an_earlier_one_key_by_key() {
    let mut layers = Layers::defaults();
    let text = "[delivery]\ntimeout = \"8s\"\nmax_in_flight = 0x10\n";
    assert_eq!(layers.lay_file(Path::new("d.toml"), text), []);
    let variable = "DISPATCHER__DELIVERY__TIMEOUT".to_owned();
    let environment = [
        (variable.clone(), "7s".to_owned()),
        ("DISPATCHER_OTHER".to_owned(), "x".to_owned()),
    ];
    assert_eq!(layers.lay_environment(&environment.into()), []);

    let timeout = layers.get("delivery.timeout");
    assert_eq!(timeout.written, Written::Variable("7s".to_owned()));
    assert_eq!(timeout.place, Place::Variable(variable));
    let in_flight = layers.get("delivery.max_in_flight");
    assert_eq!(in_flight.written, Written::Integer(16));
    assert_eq!(in_flight.place.to_string(), "d.toml:3");
    assert_eq!(layers.get("store.url").place, Place::Defaults);
}

#[test]
fn unknown_names_are_faults_with_a_suggestion() {
    let text = "timeout = \"1s\"\n\
                retry = 5\n\
                [delivery]\n\
                timeuot = \"1s\"\n\
                [delivry]\n\
                timeout = \"1s\"\n\
                [log]\n\
                prune_cron = \"\"\n\
                [nonsense]\n\
                [shield]\n\
                zzzzzzzzzzzz = 1\n";
    let mut lines: Vec<String> = file_faults(text).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "dispatcher.toml:11: unknown key shield.zzzzzzzzzzzz; remove it",
            "dispatcher.toml:1: unknown key timeout; did you mean delivery.timeout?",
            "dispatcher.toml:2: retry is a section; write [retry] and its keys below it",
            "dispatcher.toml:4: unknown key delivery.timeuot; did you mean delivery.timeout?",
            "dispatcher.toml:5: unknown section [delivry]; did you mean [delivery]?",
            "dispatcher.toml:8: unknown key log.prune_cron; \
             did you mean housekeeping.prune_cron?",
            "dispatcher.toml:9: unknown section [nonsense]; remove it",
        ]
    );
}

#[test]
fn unknown_variables_are_faults_with_a_suggestion() {
    let environment = [
        ("DISPATCHER__DELIVERY__TIMEUOT".to_owned(), "1s".to_owned()),
        ("DISPATCHER__log__level".to_owned(), "warn".to_owned()),
    ];
    let faults = Layers::defaults().lay_environment(&environment.into());
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "environment variable DISPATCHER__DELIVERY__TIMEUOT: unknown setting; \
             did you mean DISPATCHER__DELIVERY__TIMEOUT?",
            "environment variable DISPATCHER__log__level: unknown setting; \
             did you mean DISPATCHER__LOG__LEVEL?",
        ]
    );
}

#[test]
fn syntax_errors_name_their_line_and_there_may_be_several() {
    let faults = file_faults("[delivery]\ntimeout = \n[log]\nlevel = \"a\nformat = \"text\"\n");
    assert!(
        faults.contains("dispatcher.toml:2: not valid TOML: "),
        "{faults}"
    );
    assert!(
        faults.contains("dispatcher.toml:4: not valid TOML: "),
        "{faults}"
    );
    let doubled = file_faults("[log]\nlevel = \"a\"\nlevel = \"b\"\n");
    assert_eq!(doubled, "dispatcher.toml:3: not valid TOML: duplicate key");
}
