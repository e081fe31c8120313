//! What an operator reads when `dispatcher.toml` or the environment is wrong.

use std::collections::BTreeMap;

use super::super::layers::{Layers, variable_name};
use super::super::{Inputs, Settings};
use super::Folder;

/// The faults of `inputs`, one per line.
fn faults(folder: &Folder, inputs: &Inputs) -> Vec<String> {
    match Settings::load(inputs) {
        Ok(settings) => panic!("no fault in {settings:?}"),
        Err(invalid) => folder.lines(&invalid),
    }
}

#[test]
fn every_setting_is_read_and_all_faults_are_reported_at_once() {
    let folder = Folder::new();
    let names: Vec<String> = Layers::defaults().names().map(str::to_owned).collect();
    let variables: BTreeMap<String, String> = names
        .iter()
        .map(|name| {
            let wrong = if name == "egress.extra_ca_file" {
                "missing.pem"
            } else {
                " ?, "
            };
            (variable_name(name), wrong.to_owned())
        })
        // Any text is a path.
        .filter(|(name, _)| name != "DISPATCHER__SIGNING__KEYS_FILE")
        .chain([("DISPATCHER__SIGNING__KEYS_FILE".to_owned(), String::new())])
        .collect();
    let inputs = Inputs {
        environment: variables,
        ..folder.inputs()
    };
    let faults = faults(&folder, &inputs).join("\n");
    for (name, variable) in names.iter().map(|name| (name, variable_name(name))) {
        let expected = format!("environment variable {variable}: {name}: ");
        assert!(
            faults.contains(&expected),
            "no fault for {name} in\n{faults}"
        );
    }
}

/// A setting as it is written, and below it what its fault says after the place and the key.
const FAULTS: &str = r#"
store.url = "postgres://u:p@h"
  not a PostgreSQL URL (no database); write postgres://USER@HOST:PORT/DATABASE
store.url = 5
  expected a text in quotes, found an integer
retry.schedule = ["5m", "5 parsecs"]
  "5 parsecs" is not a duration; write it like "10s", "5m" or "90d"
retry.schedule = ["0s"]
  "0s" is no time at all; write a duration above zero
retry.schedule = "5m"
  expected a list of texts, found a text
retry.schedule = [5]
  expected a list of texts in quotes, found a list with other items
delivery.max_in_flight = 0
  0 is out of range; write 1 to 65536
delivery.max_in_flight = -1
  -1 is out of range; write 1 to 65536
delivery.max_in_flight = "8"
  expected a whole number, found a text
delivery.max_in_flight_per_merchant = 65537
  65537 is out of range; write 1 to 65536
delivery.max_in_flight_per_app = 0
  0 is out of range; write 1 to 65536
delivery.max_in_flight = 99999999999999999999
  expected a whole number, found an integer out of range
delivery.connect_timeout = "11s"
  11s is more than delivery.timeout, 10s; lower it
delivery.timeout = "2s"
  2s is less than delivery.connect_timeout, 3s; lower that one too
delivery.timeout = "0s"
  "0s" is no time at all; write a duration above zero
delivery.user_agent = "shop\u0007"
  "shop\u{7}" can't stand in a header; use printable ASCII, with no space at either end
delivery.drain_timeout = 30
  expected a text in quotes, found an integer
delivery.max_response_bytes = "17MiB"
  "17MiB" is out of range; write 1 to 16777216 bytes
delivery.max_response_bytes = "much"
  "much" is not a size; write it like "64KiB" or "1MiB"
delivery.max_response_bytes = 0
  0 is out of range; write 1 to 16777216 bytes
egress.allow_http = "yes"
  expected true or false, found a text
egress.allow_networks = ["10.0.0.0/33"]
  "10.0.0.0/33" is not a network; write it like "10.1.0.0/16" or "10.1.2.3"
egress.proxy = "ftp://h"
  not a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT
signing.algorithm = "md5"
  unknown variant `md5`, expected `hmac-sha256` or `rsa-sha256`
signing.encoding = "base32"
  unknown variant `base32`, expected one of `base64`, `hex`, `hex-upper`
signing.keys_file = ""
  empty; name the keys file
shield.enabled = 1
  expected true or false, found an integer
housekeeping.keep_delivered = "0s"
  "0s" is no time at all; write a duration above zero
housekeeping.prune_cron = "0 0 0 31 2 *"
  "0 0 0 31 2 *" never comes round; choose a date that exists
admin.listen = "localhost"
  "localhost" is not an address with a port; write it like "127.0.0.1:9464" or "[::1]:9464"
admin.console_names = ["https://ops.example"]
  "https://ops.example" is not the name of a host; write it like "ops.example", without scheme and port
log.level = "inof"
  "inof" is not a level; write error, warn, info, debug, trace or off, or module=level, separated by commas
log.level = "3"
  "3" is not a level; write error, warn, info, debug, trace or off, or module=level, separated by commas
log.level = "hyper="
  "hyper=" is not a level; write error, warn, info, debug, trace or off, or module=level, separated by commas
log.format = 2026-11-01
  expected a text in quotes, found a date or time
tracing.otlp_endpoint = "https://u:hunter2@collector:4318/v1/traces"
  not a collector; write http://HOST:PORT without a path, for instance http://127.0.0.1:4318. Where TLS or a password is needed, run a collector on this host that has it
"#;

#[test]
fn each_kind_of_fault_names_line_key_and_remedy() {
    let folder = Folder::new();
    let lines: Vec<&str> = FAULTS.trim().lines().map(str::trim).collect();
    for case in lines.chunks(2) {
        let (setting, problem) = (case[0], case[1]);
        let (section, line) = setting.split_once('.').expect("section.key = value");
        let inputs = folder.with_file(&format!("\n[{section}]\n{line}\n"));
        let name = setting.split(' ').next().expect("split gives one at least");
        let expected = format!("dispatcher.toml:3: {name}: {problem}");
        assert_eq!(faults(&folder, &inputs), [expected]);
    }
}

#[test]
fn a_schedule_has_six_fields() {
    let folder = Folder::new();
    for wrong in [
        "30 3 * * *",
        "0 30 3 * * * 2030",
        "",
        "0 30 25 * * *",
        "every night",
    ] {
        let inputs = folder.with_variables(&[("HOUSEKEEPING__PRUNE_CRON", wrong)]);
        let faults = faults(&folder, &inputs);
        assert!(
            faults[0].contains("write six fields"),
            "{wrong}: {faults:?}"
        );
    }
    for right in [
        "0 30 3 * * *",
        "*/10 * * * * *",
        "0 0 3 29 2 *",
        "0 0 4 * * SUN",
    ] {
        let inputs = folder.with_variables(&[("HOUSEKEEPING__PRUNE_CRON", right)]);
        Settings::load(&inputs).expect(right);
    }
}

#[test]
fn too_many_retries_are_refused() {
    let folder = Folder::new();
    let schedule = vec!["1s"; 101].join(",");
    let inputs = folder.with_variables(&[("RETRY__SCHEDULE", &schedule)]);
    assert_eq!(
        faults(&folder, &inputs),
        [
            "environment variable DISPATCHER__RETRY__SCHEDULE: retry.schedule: \
          101 retries are too many; list at most 100 waits"
        ]
    );
}

#[test]
fn one_run_reports_file_and_environment_in_reading_order() {
    let folder = Folder::new();
    let mut inputs = folder.with_file(
        "[shield]\nenabled = \"on\"\n[retry]\nschedule = [\"x\", \"1m\", \"y\"]\nshedule = []\n",
    );
    inputs.environment = folder
        .with_variables(&[("LOG__FORMAT", "xml"), ("LOG__COLOUR", "red")])
        .environment;
    let faults = faults(&folder, &inputs);
    let beginnings: Vec<&str> = faults
        .iter()
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    assert_eq!(
        beginnings,
        [
            "shield.enabled",
            "retry.schedule",
            "retry.schedule",
            "unknown key retry.shedule; did you mean retry.schedule?",
            "unknown setting; remove it",
            "log.format",
        ],
        "{faults:#?}"
    );
}

#[test]
fn extra_certificates_are_looked_into() {
    let folder = Folder::new();
    let secret = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    for (content, expected) in [
        ("nothing", "has no certificate in it"),
        (secret, "certificate 1 in"),
        ("-----BEGIN CERTIFICATE-----\n!!\n", "certificate 1 in"),
    ] {
        folder.write("ca.pem", content);
        let inputs = folder.with_file("[egress]\nextra_ca_file = \"ca.pem\"\n");
        let faults = faults(&folder, &inputs);
        assert!(faults[0].contains(expected), "{faults:?}");
        assert_eq!(faults.len(), 1);
    }
}

#[test]
fn a_missing_file_or_one_that_is_not_toml_is_a_fault() {
    let folder = Folder::new();
    let missing = Inputs {
        file: Some(folder.path("missing.toml")),
        ..folder.inputs()
    };
    let faults_of_missing = faults(&folder, &missing);
    assert_eq!(
        faults_of_missing,
        [
            "missing.toml: can't be read (No such file or directory (os error 2)); \
          name a readable settings file with --config"
        ]
    );
    let mut broken = folder.with_file("[delivery]\ntimeout = \"2s\nmax_in_flight = 8\n");
    let variables = [("DELIVRY__TIMEOUT", "1s")];
    broken.environment = folder.with_variables(&variables).environment;
    let faults = faults(&folder, &broken);
    assert!(
        faults[0].starts_with("dispatcher.toml:2: not valid TOML: "),
        "{faults:?}"
    );
    assert!(
        faults[1].contains("did you mean DISPATCHER__DELIVERY__TIMEOUT?"),
        "{faults:?}"
    );
}

#[test]
fn a_fault_is_one_line_whatever_a_name_has_in_it() {
    let folder = Folder::new();
    let file = "[\"a\\nb\"]\n[log]\n\"x\\ny\" = 1\n\"\\u001b[2J\" = 1\n";
    let mut inputs = folder.with_file(file);
    let variable = "DISPATCHER__LOG__A\nB".to_owned();
    inputs.environment.insert(variable, String::new());
    assert_eq!(
        faults(&folder, &inputs),
        [
            "dispatcher.toml:1: unknown section [a\\nb]; remove it",
            "dispatcher.toml:3: unknown key log.x\\ny; remove it",
            "dispatcher.toml:4: unknown key log.\\u{1b}[2J; remove it",
            "environment variable DISPATCHER__LOG__A\\nB: unknown setting; remove it",
        ]
    );
}

#[test]
fn no_duration_is_so_long_that_sums_of_it_overflow() {
    let folder = Folder::new();
    let longest = "18446744073709551615s";
    let of = |length: &str| {
        format!(
            "[retry]\nschedule = [\"{length}\"]\n[delivery]\nconnect_timeout = \"{length}\"\n\
             timeout = \"{length}\"\ndrain_timeout = \"{length}\"\n\
             [housekeeping]\nkeep_delivered = \"{length}\"\nkeep_exhausted = \"{length}\"\n"
        )
    };
    let expected = |line: usize, name: &str| {
        format!(
            "dispatcher.toml:{line}: {name}: \"{longest}\" is longer than a hundred years; \
             write a duration below that"
        )
    };
    assert_eq!(
        faults(&folder, &folder.with_file(&of(longest))),
        [
            expected(2, "retry.schedule"),
            expected(4, "delivery.connect_timeout"),
            expected(5, "delivery.timeout"),
            expected(6, "delivery.drain_timeout"),
            expected(8, "housekeeping.keep_delivered"),
            expected(9, "housekeeping.keep_exhausted"),
        ]
    );
    assert!(Settings::load(&folder.with_file(&of("100y"))).is_ok());
}
