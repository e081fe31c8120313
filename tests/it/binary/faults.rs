//! What is wrong with the surroundings, and how each command says so: `check` all of it at once.

use super::{Place, SETTINGS, Said, StoreKind, assert_has, key, on_both, payment, refund};

fn check_is_content_with_what_is_good(store: StoreKind) {
    let place = Place::on(store);
    let said = place.ask(&["check"]).done();
    let queue = place.queue_name();
    assert_has(&said, &["dispatcher.toml", "keys.toml", "app 6", &queue]);
    assert!(!said.contains("fault"), "{said}");
}

#[test]
fn check_reports_every_fault_at_once() {
    let place = Place::bare();
    place.change_settings("[admin]", "[log]\nlevle = \"info\"\n[admin]");
    place.change_settings("[delivery]", "[delivery]\ntimeout = \"ten\"");
    place.set_mode("keys.toml", 0o644);
    let said = place.ask(&["check"]);
    assert_eq!(said.code, Some(78), "{said:?}");
    assert_has(
        &said.out,
        &[
            "log.levle",
            "log.level",
            "delivery.timeout",
            "ten",
            "chmod 600",
        ],
    );
}

#[test]
fn check_finds_a_missing_database_besides_bad_keys() {
    let place = Place::bare();
    place.set_mode("keys.toml", 0o644);
    let said = place.ask(&["check"]);
    assert_eq!(said.code, Some(78), "{said:?}");
    assert_has(
        &said.out,
        &[
            "keys.toml",
            "chmod 600",
            "queue.db",
            "callback-dispatcher init",
        ],
    );
    assert!(!place.path("queue.db").exists(), "check creates nothing");
}

#[test]
fn check_looks_at_the_database_although_the_settings_are_broken() {
    let place = Place::bare();
    place.change_settings("[admin]", "[log]\nlevle = \"info\"\n[admin]");
    let said = place.ask(&["check"]);
    assert_eq!(said.code, Some(78), "{said:?}");
    assert_has(&said.out, &["log.levle", "queue.db"]);
}

fn a_missing_database_is_named_with_its_remedy(store: StoreKind) {
    let place = Place::bare_on(store);
    let line = payment("http://127.0.0.1:9/", 1).to_string();
    for arguments in [&["enqueue"][..], &["show", "1"], &["list"], &["stats"]] {
        let said = place.feed(arguments, &line);
        said.failed(
            78,
            &[&place.queue_name(), "does not exist", "working directory"],
        );
        // Obeyed in a wrong directory, that would make an empty queue.
        assert!(!said.err.contains("init"), "{said:?}");
        assert!(!place.path("queue.db").exists(), "{arguments:?}");
    }
}

#[test]
fn run_refuses_unusable_settings_keys_and_databases() {
    let place = Place::bare();
    place.change_settings("[admin]", "[log]\nlevle = \"info\"\n[admin]");
    let words = ["dispatcher.toml:", "log.levle", "did you mean log.level"];
    place.ask(&["run"]).failed(78, &words);
    assert!(!place.path("queue.db").exists(), "nothing was begun");

    place.write("dispatcher.toml", SETTINGS);
    place.set_mode("keys.toml", 0o640);
    place.ask(&["run"]).failed(78, &["keys.toml", "chmod 600"]);
    place.set_mode("keys.toml", 0o600);

    place.write("queue.db", "this is text, and no database");
    let said = place.ask(&["run"]);
    said.failed(78, &["queue.db"]);
    let text = std::fs::read_to_string(place.path("queue.db")).expect("still there");
    assert!(text.contains("no database"), "it was not overwritten");
    place
        .ask(&["--config", "elsewhere.toml", "run"])
        .failed(78, &["elsewhere.toml"]);
}

#[test]
fn a_database_of_another_program_or_a_newer_version_is_left_alone() {
    let place = Place::bare();
    place.rows("CREATE TABLE recipes (name TEXT)");
    for command in ["run", "init", "stats"] {
        place.ask(&[command]).failed(78, &["queue.db", "store.url"]);
    }
    let place = Place::new();
    place.rows("PRAGMA user_version = 99");
    for command in ["run", "init", "stats"] {
        place
            .ask(&[command])
            .failed(78, &["schema version 99", "newer"]);
    }
}

#[test]
fn wrong_usage_is_2() {
    let place = Place::new();
    for (arguments, word) in [
        (&["lsit"][..], "lsit"),
        (&["show"], "ORDER"),
        (
            &["list", "--state", "lost"],
            "pending, in_flight, delivered",
        ),
        (
            &["resend", "--state", "lost", "--reason", "r"],
            "pending, delivered",
        ),
        (
            &["list", "--outcome", "timout"],
            "http_status, timeout, dns",
        ),
        (&["list", "--since", "2026-13-01"], "a date like 2026-11-01"),
        (&["show", " "], "it is empty"),
        (&["pause", "--app", "6", "--reason", " "], "--reason"),
        (&["pause", "--app", "", "--reason", "r"], "--app"),
        (&["list", "--since", "soon"], "2026-11-01T00:00:00Z"),
        (&["list", "--limit=-1"], "--limit"),
        (&["mock-merchant", "--answer", "maybe"], "use ack, refuse"),
        (&["run", "--fast"], "--fast"),
    ] {
        place.ask(arguments).failed(2, &[word]);
    }
    assert!(place.ask(&["--help"]).done().contains("mock-merchant"));
    assert!(
        place
            .ask(&["--version"])
            .done()
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

fn a_result_that_is_queued_already_is_named(store: StoreKind) {
    let place = Place::on(store);
    let line = |number| payment("http://127.0.0.1:9/", number).to_string();
    place.feed(&["enqueue"], &line(1)).done();
    let said = place.feed(&["enqueue"], &format!("{}\n{}", line(2), line(1)));
    said.failed(
        1,
        &["line 2: the result of N1 is queued already: callback 1, pending, since 20"],
    );
    let said = place.feed(&["enqueue"], &format!("{}\n\n{}", line(2), line(2)));
    said.failed(1, &["line 3: the result of N2 is in line 1 already"]);
}

fn numbers_that_begin_as_the_one_asked_for_are_named(store: StoreKind) {
    let place = Place::on(store);
    place.enqueue(&[
        payment("http://127.0.0.1:9/", 12_345),
        refund("http://127.0.0.1:9/", 12_346),
    ]);
    for (asked, found) in [
        (
            "M1234",
            &["payment callback 1: M12345, N12345", "refund callback 2"][..],
        ),
        (" N12345", &["callback 1"]),
        ("NR123", &["callback 2"]),
    ] {
        place
            .ask(&["show", &asked[..asked.len() - 1]])
            .failed(1, found);
    }
    place.ask(&["show", " M12345"]).done();
    let said = place.ask(&["show", "M12"]);
    said.failed(1, &["no callback with id"]);
    assert!(!said.err.contains("begins so"), "a short one: {said:?}");
}

#[test]
fn a_variable_with_single_underscores_is_warned_of() {
    let place = Place::new();
    let mut command = place.command(&["check"]);
    command.env("DISPATCHER_RETRY_SCHEDULE", "1s");
    let said = Said::by(command, "");
    let words = "warning: DISPATCHER_RETRY_SCHEDULE is no setting and is not read; is \
                 DISPATCHER__RETRY__SCHEDULE meant?";
    assert!(said.err.contains(words), "{said:?}");
    said.done();
}

#[test]
fn check_tells_what_is_odd_and_no_fault() {
    let place = Place::new();
    place.write_keys(&format!("\u{feff}{}", key("6", "secret ")));
    place.rows("PRAGMA user_version = 5");
    let said = place.ask(&["check"]).done();
    assert_has(
        &said,
        &[
            "beware key 6/of-6: its secret begins or ends with white space",
            "schema version 5",
            "or start the daemon",
        ],
    );
}

#[test]
fn books_with_semicolons_are_named_as_such() {
    let place = Place::new();
    place.write(
        "books.csv",
        "kind;newpay_order_no;app_id;amount;currency;result\n",
    );
    let arguments = [
        "reconcile",
        "--day",
        "2026-11-01",
        "--payments",
        "books.csv",
    ];
    place.ask(&arguments).failed(1, &["separated by ';'"]);
}

on_both!(
    plain:
    a_result_that_is_queued_already_is_named,
    numbers_that_begin_as_the_one_asked_for_are_named,
    check_is_content_with_what_is_good,
    a_missing_database_is_named_with_its_remedy,
);
