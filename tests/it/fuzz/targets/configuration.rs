//! A settings file and variables: settings that keep their promises, or faults that can be found.

use std::collections::BTreeMap;
use std::time::Duration;

use callback_dispatcher::config::{
    ConfigFault, FILE_NAME, Inputs, Invalid, Place, Problem, Settings,
};

use super::folder;

/// `data` is the file; lines behind a line `---` are variables, `NAME=value`, without the prefix.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return check_parts(data, "");
    };
    let (file, variables) = text.split_once("\n---\n").unwrap_or((text, ""));
    check_parts(file.as_bytes(), variables);
}

fn check_parts(file: &[u8], variables: &str) {
    if names_a_file(file) || names_a_file(variables.as_bytes()) {
        return;
    }
    let environment: BTreeMap<String, String> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("DISPATCHER__{name}"), value.to_owned()))
        .collect();
    folder::with_file(FILE_NAME, file, |folder| {
        let inputs = Inputs {
            file: Some(folder.join(FILE_NAME)),
            environment,
            working_directory: folder.to_owned(),
            ..Inputs::default()
        };
        match Settings::load(&inputs) {
            Ok(settings) => {
                check_settings(&settings);
                check_precedence(inputs, settings);
            }
            Err(invalid) => check_faults(&invalid, file, &inputs),
        }
    });
}

/// A certificate file is opened wherever it is: not for a fuzzer to choose.
fn names_a_file(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    text.contains("ca_file")
        && text
            .lines()
            .any(|line| line.contains('/') || line.contains('\\'))
}

/// The daemon adds durations up.
const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);

/// What the documentation of the settings says of them.
fn check_settings(settings: &Settings) {
    let delivery = &settings.delivery;
    assert!((1..=65_536).contains(&delivery.max_in_flight));
    assert!((1..=65_536).contains(&delivery.max_in_flight_per_merchant));
    assert!((1..=65_536).contains(&delivery.max_in_flight_per_app));
    assert!((1..=16 << 20).contains(&delivery.max_response_bytes));
    assert!(delivery.connect_timeout <= delivery.timeout);
    for network in &settings.egress.allow_networks {
        assert_eq!(*network, network.trunc());
    }
    if let Some(proxy) = &settings.egress.proxy {
        assert!(proxy.host_str().is_some(), "{proxy}");
    }
    assert_eq!(
        settings.housekeeping.prune_cron.split_whitespace().count(),
        6
    );
    let schedule = &settings.retry.schedule;
    let waits = (0..schedule.attempts_max()).map(|before| schedule.current_wait(before));
    let housekeeping = &settings.housekeeping;
    let durations = waits.chain([
        delivery.connect_timeout,
        delivery.timeout,
        housekeeping.keep_delivered,
        housekeeping.keep_exhausted,
    ]);
    for duration in durations {
        assert!(
            duration > Duration::ZERO && duration <= CENTURY,
            "{duration:?}"
        );
    }
    assert!(delivery.drain_timeout <= CENTURY);
}

/// Each fault says where it stands, and the place is there.
fn check_faults(invalid: &Invalid, file: &[u8], inputs: &Inputs) {
    assert!(!invalid.faults.is_empty());
    let lines = file.iter().filter(|byte| **byte == b'\n').count() + 1;
    for fault in &invalid.faults {
        check_place(fault, lines, inputs);
        // One fault, one line, whatever was quoted in it.
        let shown = fault.to_string();
        assert!(shown.len() > 10 && !shown.contains('\n'), "{shown:?}");
    }
}

fn check_place(fault: &ConfigFault, lines: usize, inputs: &Inputs) {
    match &fault.place {
        Place::File { path, line } => {
            assert_eq!(Some(path), inputs.file.as_ref(), "{fault}");
            match line {
                Some(line) => assert!((1..=lines).contains(line), "{fault}"),
                None => assert!(
                    matches!(
                        fault.problem,
                        Problem::Unreadable { .. } | Problem::Invalid(_)
                    ),
                    "{fault}"
                ),
            }
        }
        Place::Variable(name) => assert!(inputs.environment.contains_key(name), "{fault}"),
        Place::Defaults => assert!(fault.subject.is_some(), "{fault}"),
    }
}

/// A variable wins over the file, and changes nothing else.
fn check_precedence(mut inputs: Inputs, mut settings: Settings) {
    let variable = "DISPATCHER__DELIVERY__MAX_IN_FLIGHT".to_owned();
    inputs.environment.insert(variable, "17".to_owned());
    let loaded = Settings::load(&inputs).expect("17 are allowed");
    let mut changed = loaded.changed_since(&settings).into_iter();
    assert!(changed.all(|name| name == "delivery.max_in_flight"));
    settings.delivery.max_in_flight = 17;
    assert_eq!(loaded.delivery, settings.delivery);
}
