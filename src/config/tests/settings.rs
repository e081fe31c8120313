//! `dispatcher.toml` and the environment.

use std::time::Duration;

use super::super::{Inputs, LogFormat, Settings, StoreUrl, log_level};
use super::{Folder, fixture};
use crate::domain::{Algorithm, Convention, Schedule};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_defaults_are_the_contract() {
    let folder = Folder::new();
    let settings = Settings::load(&folder.inputs()).expect("the defaults are in order");
    let directory = folder.directory.path();
    assert_eq!(settings.source, None);
    assert_eq!(
        settings.store.url,
        StoreUrl::Sqlite(directory.join("queue.db"))
    );
    let five_minutes = Schedule::new(vec![seconds(300); 3]);
    assert_eq!(settings.retry.schedule, five_minutes);
    let delivery = &settings.delivery;
    assert_eq!(delivery.max_in_flight, 512);
    assert_eq!(delivery.max_in_flight_per_merchant, 64);
    assert_eq!(delivery.max_in_flight_per_app, 65_536);
    assert_eq!(delivery.connect_timeout, seconds(3));
    assert_eq!(delivery.timeout, seconds(10));
    assert_eq!(delivery.max_response_bytes, 64 * 1024);
    assert_eq!(delivery.drain_timeout, seconds(30));
    assert_eq!(delivery.user_agent, None);
    assert!(!settings.egress.allow_http);
    assert!(settings.egress.allow_networks.is_empty());
    assert!(settings.egress.extra_roots.is_empty());
    assert_eq!(settings.egress.proxy, None);
    assert_eq!(settings.signing.algorithm, Algorithm::HmacSha256);
    assert_eq!(settings.signing.convention, Convention::default());
    assert_eq!(settings.signing.keys_file, directory.join("keys.toml"));
    assert!(settings.shield.enabled);
    assert_eq!(settings.housekeeping.keep_delivered, 90 * DAY);
    assert_eq!(settings.housekeeping.keep_exhausted, 365 * DAY);
    assert_eq!(settings.housekeeping.prune_cron, "0 30 3 * * *");
    let listen = "127.0.0.1:9464".parse().expect("an address");
    assert_eq!(settings.admin.listen, Some(listen));
    assert!(settings.admin.console_names.is_empty());
    assert_eq!(
        settings.log.level,
        log_level::parse("info").expect("a level")
    );
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.tracing.otlp_endpoint, None);
}

/// Whoever copies the defaults into a file of their own changes nothing by it.
#[test]
fn the_defaults_written_out_are_the_defaults() {
    let folder = Folder::new();
    let implied = Settings::load(&folder.with_file("")).expect("an empty file");
    let written = folder.with_file(include_str!("../../../dispatcher.toml"));
    let written = Settings::load(&written).expect("the defaults are in order");
    assert_eq!(written, implied);
}

/// Each setting at fault is noticed, so each is read, and from its own variable.
#[test]
fn variables_override_the_file() {
    let folder = Folder::new();
    let mut inputs = folder.with_file(
        "[delivery]\nmax_in_flight = 9\ntimeout = \"20s\"\n[retry]\nschedule = [\"1s\"]\n\
         [admin]\nlisten = \"127.0.0.1:1\"\n",
    );
    inputs.environment = folder
        .with_variables(&[
            ("DELIVERY__MAX_IN_FLIGHT", "8"),
            ("RETRY__SCHEDULE", "5m, 10m,1h 30m"),
            ("EGRESS__ALLOW_HTTP", "true"),
            ("EGRESS__ALLOW_NETWORKS", "10.1.2.3/8,::1"),
            ("EGRESS__DENY_NETWORKS", "93.184.216.0/24"),
            ("EGRESS__PROXY", "socks5://user:hunter2@proxy:1080"),
            ("DELIVERY__MAX_RESPONSE_BYTES", "1000"),
            ("ADMIN__LISTEN", ""),
            ("ADMIN__CONSOLE_NAMES", "ops.example, OPS"),
            ("LOG__LEVEL", "warn,callback_dispatcher::delivery=debug"),
            ("LOG__FORMAT", "journald"),
        ])
        .environment;
    let settings = Settings::load(&inputs).expect("all in order");
    assert_eq!(settings.source, inputs.file);
    assert_eq!(settings.delivery.max_in_flight, 8);
    assert_eq!(settings.delivery.timeout, seconds(20));
    assert_eq!(settings.delivery.max_response_bytes, 1000);
    let waits = vec![seconds(300), seconds(600), seconds(5400)];
    assert_eq!(settings.retry.schedule, Schedule::new(waits));
    assert!(settings.egress.allow_http);
    let networks: Vec<String> = settings
        .egress
        .allow_networks
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    let denied = ["93.184.216.0/24".parse().expect("a network")];
    assert_eq!(settings.egress.deny_networks, denied);
    assert_eq!(settings.admin.listen, None);
    assert_eq!(settings.admin.console_names, ["ops.example", "OPS"]);
    assert_eq!(settings.log.format, LogFormat::Journald);

    let proxy = settings.egress.proxy.as_ref().expect("set");
    assert_eq!(proxy.password(), Some("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    assert!(format!("{settings:?}").contains("socks5://proxy:1080"));
    assert!(!format!("{inputs:?}").contains("hunter2"), "{inputs:?}");

    let none = folder.with_variables(&[("RETRY__SCHEDULE", "")]);
    let settings = Settings::load(&none).expect("an empty list");
    assert_eq!(settings.retry.schedule.attempts_max(), 1);
}

#[test]
fn paths_are_relative_to_the_file_or_to_the_working_directory() {
    let folder = Folder::new();
    std::fs::copy(fixture("ca.pem"), folder.write("etc/ca.pem", "")).expect("writable");
    let file = folder.write(
        "etc/dispatcher.toml",
        "[store]\nurl = \"sqlite:q.db\"\n[egress]\nextra_ca_file = \"ca.pem\"\n",
    );
    let mut inputs = Inputs {
        file: Some(file),
        ..folder.inputs()
    };
    let settings = Settings::load(&inputs).expect("all in order");
    assert_eq!(settings.signing.keys_file, folder.path("etc/keys.toml"));
    assert_eq!(settings.egress.extra_roots.len(), 1);
    assert_eq!(settings.store.url, StoreUrl::Sqlite(folder.path("q.db")));

    let variables = [("SIGNING__KEYS_FILE", "k.toml")];
    inputs.environment = folder.with_variables(&variables).environment;
    let settings = Settings::load(&inputs).expect("all in order");
    assert_eq!(settings.signing.keys_file, folder.path("k.toml"));
}
