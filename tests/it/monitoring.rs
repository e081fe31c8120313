//! What Prometheus and Grafana are given in `packaging/monitoring/`: names that `/metrics` has,
//! alerts that lead somewhere, a dashboard that fits together, and the probes' textfile.
//!
//! `scripts/check-monitoring` has the rules tested by Prometheus's own tool besides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::telemetry::Metrics;
use serde_json::Value;
use tempfile::TempDir;

const PREFIX: &str = "callback_dispatcher_";

/// Put on by Prometheus itself, or chosen by a person who looks.
const LABELS_OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

fn kit(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("packaging/monitoring").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(kit(name)).expect("part of the repository")
}

/// Every series of an exposition: its name, and each label with the values that it has.
type Exposed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn exposed(exposition: &str) -> Exposed {
    let mut exposed = Exposed::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let known = exposed.entry(name.to_owned()).or_default();
        for (label, _, value) in matchers(labels) {
            known.entry(label).or_default().insert(value);
        }
    }
    exposed
}

/// `a="b",c!="d"}…` as label, operator and value each.
fn matchers(text: &str) -> Vec<(String, String, String)> {
    let end = text.find('}').expect("braces close");
    let one = |matcher: &str| {
        let (head, value) = matcher.split_once('"').expect("a value in quotes");
        let label = head.trim_end_matches(['=', '!', '~']);
        let value = value.trim_end_matches('"').to_owned();
        (label.to_owned(), head[label.len()..].to_owned(), value)
    };
    let matchers = text[..end].split(',').filter(|matcher| !matcher.is_empty());
    matchers.map(one).collect()
}

/// Everything that can be asked for: the daemon's metrics and the probes'.
fn everything() -> Exposed {
    let mut everything = exposed(&Metrics::new("3.53.0").encode(Timestamp::from_millis(0)));
    everything.extend(exposed(
        &Probes::new().run("6 https://merchant.example/").done(),
    ));
    everything
}

/// Faults of the names and labels in one PromQL expression or any other text.
fn faults_of_names(text: &str, known: &Exposed) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, _) in text.match_indices(PREFIX) {
        let rest = &text[at..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let Some(labels) = known.get(name) else {
            faults.push(format!("{name} is not exposed"));
            continue;
        };
        let Some(selector) = rest.strip_prefix('{') else {
            continue;
        };
        for (label, operator, value) in matchers(selector) {
            if LABELS_OF_PROMETHEUS.contains(&label.as_str()) {
                continue;
            }
            match labels.get(&label) {
                None => faults.push(format!("{name} has no label {label}")),
                Some(values) => {
                    // An alternative of a regular expression has to be there, too.
                    let alternatives = value.split('|').filter(|_| !operator.is_empty());
                    let unknown = alternatives.filter(|one| !values.contains(*one));
                    faults.extend(unknown.map(|one| format!("{name}: {label} is never {one:?}")));
                }
            }
        }
    }
    faults
}

#[test]
fn every_name_and_label_in_the_kit_is_exposed() {
    let known = everything();
    for name in ["alerts.yml", "grafana-dashboard.json", "prometheus.yml"] {
        let text = text(name).replace("\\\"", "\"");
        assert_eq!(
            faults_of_names(&text, &known),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_name_or_label_that_is_not_exposed_is_found() {
    let known = everything();
    for (text, fault) in [
        ("callback_dispatcher_oldest_seconds > 1", "not exposed"),
        (
            "rate(callback_dispatcher_attempts_total{result=\"refused\"}[5m])",
            "no label result",
        ),
        (
            "callback_dispatcher_attempts_total{outcome=~\"refused|forgotten\"}",
            "outcome is never \"forgotten\"",
        ),
    ] {
        let faults = faults_of_names(text, &known);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].contains(fault), "{faults:?}");
    }
}

/// The rules: each alert with its lines.
fn alerts() -> Vec<(String, String)> {
    let text = text("alerts.yml");
    let rules = text.split("      - alert: ").skip(1);
    rules
        .map(|rule| {
            let (name, rule) = rule.split_once('\n').expect("a rule has lines");
            (name.to_owned(), rule.to_owned())
        })
        .collect()
}

#[test]
fn every_alert_says_how_urgent_it_is_and_what_to_do() {
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    for (name, rule) in &alerts {
        assert!(name.starts_with("CallbackDispatcher"), "{name}");
        let has = |line: &str| rule.lines().any(|found| found.trim() == line);
        assert!(
            has("severity: critical") || has("severity: warning"),
            "{name} has no severity"
        );
        let runbook = format!(
            "runbook_url: file:///usr/share/doc/callback-dispatcher/docs/operations.md#alert-{}",
            name.to_lowercase()
        );
        assert!(has(&runbook), "{name}: expected {runbook}");
        for annotation in ["summary: ", "description: "] {
            assert!(rule.contains(annotation), "{name} has no {annotation}");
        }
    }
}

/// What inhibits, and what is inhibited: `CallbackDispatcherA`, or `CallbackDispatcher(A|B)`.
#[test]
fn every_alert_that_is_kept_quiet_exists() {
    let names: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    let rules = text("alertmanager.yml");
    let mut known = 0;
    for after in rules.split("CallbackDispatcher").skip(1) {
        let alternatives = match after.strip_prefix('(') {
            Some(group) => group.split_once(')').expect("the group ends").0,
            None => after
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default(),
        };
        for name in alternatives.split('|').filter(|name| !name.is_empty()) {
            let name = format!("CallbackDispatcher{name}");
            assert!(names.contains(&name), "{name}");
            known += 1;
        }
    }
    assert!(known > 10, "{known}");
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests = text("alerts.test.yml");
    let expectations: Vec<(&str, bool)> = tests
        .split("alertname: ")
        .skip(1)
        .map(|after| {
            let mut lines = after.lines().map(str::trim);
            let name = lines.next().expect("a name");
            let fires = match lines.next() {
                Some("exp_alerts: []") => false,
                Some("exp_alerts:") => true,
                other => panic!("{name}: expected exp_alerts, found {other:?}"),
            };
            (name, fires)
        })
        .collect();
    for (name, _) in alerts() {
        for fires in [true, false] {
            assert!(
                expectations.contains(&(name.as_str(), fires)),
                "no test of {name} with firing {fires}"
            );
        }
    }
}

/// Every dispatcher of a fleet measures the whole queue.
#[test]
fn nothing_sums_over_a_fleet_what_each_dispatcher_measures_of_the_whole_queue() {
    for name in ["alerts.yml", "grafana-dashboard.json"] {
        let text = text(name);
        for gauge in ["queue_callbacks", "oldest_due_seconds", "paused"] {
            for (at, _) in text.match_indices(&format!("{PREFIX}{gauge}")) {
                let before = text[..at].trim_end_matches('(').trim_end();
                let sums = before.ends_with("sum") || before.ends_with("sum by (state)");
                assert!(!sums, "{name} sums {gauge}");
            }
        }
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&text("grafana-dashboard.json")).expect("JSON")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_panels_have_a_place_each() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(number(&panel["id"])), "{title}: id is taken");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| number(&panel["gridPos"][name]));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is out of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel");
        }
        if panel["type"] != "row" {
            assert!(panel["description"].is_string(), "{title} explains nothing");
            assert!(!list(panel, "/targets").is_empty(), "{title} asks nothing");
        }
    }
}

#[test]
fn the_dashboard_uses_the_variables_that_it_has() {
    let dashboard = dashboard();
    let mut variables: BTreeSet<&str> = list(&dashboard, "/templating/list")
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    // Grafana's own.
    variables.extend(["__rate_interval", "__interval"]);
    let text = dashboard.to_string();
    for (at, _) in text.match_indices('$') {
        let name = text[at + 1..].trim_start_matches('{');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &name[..end.expect("a quote ends it at the latest")];
        assert!(variables.contains(name), "no variable ${name}");
    }
    for panel in list(&dashboard, "/panels") {
        for target in list(panel, "/targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
    }
}

/// A folder with a stand-in for the program, and what `probe-textfile` makes of it.
struct Probes {
    folder: TempDir,
}

impl Probes {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let program = folder.path().join("callback-dispatcher");
        // As `probe --json` prints it: acknowledged, refused, and without a certificate.
        let script = r#"#!/bin/sh
            [ "$1" = probe ] && [ "$3" = --app ] && [ "$5" = --json ] || exit 2
            case $2 in
              https://refuses*) echo '{"certificate_expires_at": "2026-12-24T00:00:00Z"}'; exit 1 ;;
              http://*) echo '{"certificate_expires_at": null}'; exit 1 ;;
              *) printf '{\n  "app": "%s",\n  "certificate_expires_at": "2027-01-01T00:00:00.000Z"\n}\n' "$4" ;;
            esac
        "#;
        fs::write(&program, script).expect("writable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
        Self { folder }
    }

    fn run(&self, probes: &str) -> Probed {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("probes"), probes).expect("writable");
        let output = Command::new(kit("probe-textfile"))
            .args([path("probes"), path("probe.prom")])
            .env("CALLBACK_DISPATCHER", path("callback-dispatcher"))
            .output()
            .expect("a shell");
        let written = fs::read_to_string(path("probe.prom")).ok();
        Probed { output, written }
    }
}

struct Probed {
    output: Output,
    written: Option<String>,
}

impl Probed {
    #[track_caller]
    fn done(self) -> String {
        assert!(self.output.status.success(), "{:?}", self.output);
        self.written.expect("it is written")
    }
}

#[test]
fn probes_become_metrics() {
    let probes = "# app  url\n\n6  https://merchant.example/newpay/callback?a=b\n\
                  shop\"x  https://refuses.example:8443/callback\n7 http://plain.example/";
    let written = Probes::new().run(probes).done();
    let samples: Vec<&str> = written
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("timestamp"))
        .collect();
    assert_eq!(
        samples,
        [
            r#"callback_dispatcher_probe_success{app="6",url_host="merchant.example"} 1"#,
            r#"callback_dispatcher_probe_success{app="shop\"x",url_host="refuses.example:8443"} 0"#,
            r#"callback_dispatcher_probe_success{app="7",url_host="plain.example"} 0"#,
            r#"callback_dispatcher_probe_certificate_expires_seconds{app="6",url_host="merchant.example"} 1798761600"#,
            r#"callback_dispatcher_probe_certificate_expires_seconds{app="shop\"x",url_host="refuses.example:8443"} 1798070400"#,
        ]
    );
    let probed = written
        .lines()
        .filter(|line| line.starts_with("callback_dispatcher_probe_timestamp_seconds{"));
    assert_eq!(probed.count(), 3);
}

#[test]
fn a_line_that_is_no_probe_is_named_and_nothing_is_written() {
    for (probes, line) in [("6\n", 1), ("# x\n6 https://a.example/ more\n", 2)] {
        let Probed { output, written } = Probes::new().run(probes);
        assert_eq!(output.status.code(), Some(1), "{probes}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains(&format!("line {line}")), "{complaint}");
        assert_eq!(written, None);
    }
}
