//! Pending, paused and in-flight callbacks, as an operator sees them.

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::{
    CommandId, Filter, Inspection, Pause, PauseScope, ShownState, Stats,
};

use super::Backend;
use crate::support::callback::{finished, insert, insert_rows};
use crate::support::store::{StoreKind, on_both};

on_both!(
    each_state_is_listed_in_an_order_of_its_own,
    lists_begin_with_the_newest,
    three_of_one_app_are_found_among_thousands_of_another,
    the_oldest_due_ignores_paused_callbacks,
    a_queue_that_has_moved_says_where_to,
);

/// Both at the same moment.
const DELIVERED: &str = "state = 'delivered', next_attempt_at = NULL, finished_at = 60,
  last_outcome = 'acknowledged'";

/// Id, app, host, and what becomes of it. The ids are not in the order of anything else.
const ROWS: [(i64, &str, &str, &str); 10] = [
    (1, "6", "one", "next_attempt_at = 50"),
    (2, "6", "one", "next_attempt_at = 40"),
    (3, "7", "one", "next_attempt_at = 10"),
    (4, "6", "two", "next_attempt_at = 5"),
    (
        5,
        "6",
        "one",
        "leased_until = 2, leased_at = 0, lease_token = 7",
    ),
    (
        6,
        "6",
        "one",
        "leased_until = 1, leased_at = 0, lease_token = 7",
    ),
    (7, "8", "one", "next_attempt_at = 9"),
    (8, "7", "one", "next_attempt_at = 8"),
    (9, "6", "one", DELIVERED),
    (10, "6", "one", DELIVERED),
];

fn fill(backend: &Backend) {
    for (id, app, host, changes) in ROWS {
        let (url, id) = (format!("https://{host}.example/cb"), id.to_string());
        let app = format!("'{app}'");
        let row = [
            ("id", &*id),
            ("app_id", &app),
            ("created_at", &id),
            ("next_attempt_at", &id),
        ];
        backend.sql(&insert(&url, &format!("np-{id}"), &row));
        backend.sql(&format!(
            "UPDATE callback_queue SET {changes} WHERE id = {id}"
        ));
    }
    backend.sql(
        "INSERT INTO operator_command (id, action, origin, actor, reason)
           VALUES (1, 'pause', 'https://two.example', 'operator', 'their request');
         INSERT INTO paused (scope, name, command_id, since)
           VALUES ('origin', 'https://two.example', 1, 5), ('app', '7', 99, 6)",
    );
}

fn in_state(state: ShownState) -> Filter {
    Filter {
        state: Some(state),
        limit: 100,
        ..Filter::default()
    }
}

async fn each_state_is_listed_in_an_order_of_its_own(kind: StoreKind) {
    let backend = Backend::new(kind);
    fill(&backend);
    let inspection = backend.inspection().await;
    let of = |state, app: &str| Filter {
        app_id: Some(app.to_owned()),
        ..in_state(state)
    };
    let of_endpoint = |app: Option<&str>, origin: &str| Filter {
        app_id: app.map(str::to_owned),
        origin: Some(origin.to_owned()),
        ..in_state(ShownState::Pending)
    };
    let delivered_as = |outcome: &str| Filter {
        outcome: Some(outcome.to_owned()),
        ..in_state(ShownState::Delivered)
    };
    for (filter, expected) in [
        (in_state(ShownState::Pending), vec![2, 1, 4, 8, 3, 7]),
        (in_state(ShownState::InFlight), vec![6, 5]),
        (in_state(ShownState::Delivered), vec![10, 9]),
        (in_state(ShownState::Exhausted), vec![]),
        (of(ShownState::Pending, "7"), vec![8, 3]),
        (of(ShownState::Pending, "6"), vec![2, 1, 4]),
        (of(ShownState::InFlight, "6"), vec![6, 5]),
        (of(ShownState::Delivered, "6"), vec![10, 9]),
        (of(ShownState::Delivered, "7"), vec![]),
        (
            of_endpoint(Some("6"), "HTTPS://One.example:443/x"),
            vec![2, 1],
        ),
        (
            of_endpoint(None, "https://one.example"),
            vec![2, 1, 8, 3, 7],
        ),
        (delivered_as("acknowledged"), vec![10, 9]),
        (delivered_as("refused"), vec![]),
        (delivered_as("acknowledged\0"), vec![]),
    ] {
        let mut ids = Vec::new();
        // By pages of one and of two, and all at once.
        for limit in [1, 2, 100] {
            ids = all_ids(
                &*inspection,
                &Filter {
                    limit,
                    ..filter.clone()
                },
            )
            .await;
            assert_eq!(ids, expected, "{limit} at a time: {filter:?}");
        }
        assert_eq!(ids.len(), expected.len());
    }
}

/// Page after page.
async fn all_ids(inspection: &dyn Inspection, filter: &Filter) -> Vec<i64> {
    let mut filter = filter.clone();
    let mut ids = Vec::new();
    loop {
        let page = inspection.list(filter.clone()).await.expect("listed");
        assert!(page.rows.len() <= filter.limit);
        ids.extend(page.rows.iter().map(|row| row.callback.id.0));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return ids,
        }
    }
}

async fn lists_begin_with_the_newest(kind: StoreKind) {
    let backend = Backend::new(kind);
    fill(&backend);
    let inspection = backend.inspection().await;
    let all = Filter {
        limit: 100,
        ..Filter::default()
    };
    let of_app = |app: &str| Filter {
        app_id: Some(app.to_owned()),
        ..all.clone()
    };
    let moment = |millis| Some(Timestamp::from_millis(millis));
    let since = Filter {
        since: moment(9),
        ..all.clone()
    };
    let between = Filter {
        since: moment(2),
        until: moment(5),
        ..all.clone()
    };
    for (filter, expected) in [
        (all.clone(), (1..=10).rev().collect()),
        (of_app("7"), vec![8, 3]),
        (of_app("7\0"), vec![]),
        (of_app("' OR 1 = 1 --"), vec![]),
        (since, vec![10, 9]),
        (between, vec![4, 3, 2]),
    ] {
        for limit in [1, 3, 100] {
            let ids = all_ids(
                &*inspection,
                &Filter {
                    limit,
                    ..filter.clone()
                },
            )
            .await;
            assert_eq!(ids, expected, "{limit} at a time: {filter:?}");
        }
    }
}

/// A rare match among many others is found, however many are in front of it.
async fn three_of_one_app_are_found_among_thousands_of_another(kind: StoreKind) {
    let backend = Backend::new(kind);
    for (rows, app, url, finished_at) in [
        (3, "'8'", "https://one.example/", "5"),
        (21_000, "'9'", "https://two.example/", "60"),
    ] {
        let number = format!("{app} || '-' || n");
        let mut changes = finished("'exhausted'", finished_at).to_vec();
        changes.extend([
            ("app_id", app),
            ("attempt_seq", "1"),
            ("newpay_order_no", &number),
        ]);
        backend.sql(&insert_rows(rows, url, &changes));
    }
    backend.sql(
        "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted,
           http_status, detail, remote_addr)
         SELECT id, 1, 1, 1, 'http_status', 1, CASE app_id WHEN '8' THEN 502 ELSE 503 END,
           CASE app_id WHEN '8' THEN 'Bad Gateway, 100% down' ELSE 'Maintenance' END, '192.0.2.1:443'
         FROM callback_queue",
    );
    let inspection = backend.inspection().await;
    let exhausted = in_state(ShownState::Exhausted);
    let rare = [
        Filter {
            app_id: Some("8".to_owned()),
            ..exhausted.clone()
        },
        Filter {
            origin: Some("https://one.example/cb".to_owned()),
            ..exhausted.clone()
        },
        Filter {
            http_status: Some(502),
            ..exhausted.clone()
        },
        Filter {
            detail: Some("bad gateway, 100%".to_owned()),
            ..exhausted.clone()
        },
        Filter {
            detail: Some("100%".to_owned()),
            limit: 100,
            ..Filter::default()
        },
    ];
    for filter in rare {
        let page = inspection.list(filter.clone()).await.expect("listed");
        let apps: Vec<&str> = page.rows.iter().map(|row| &*row.callback.app_id).collect();
        assert_eq!(apps, ["8", "8", "8"], "{filter:?}");
        assert_eq!(page.next, None, "{filter:?}");
        let listed = &page.rows[0];
        assert_eq!(listed.last_http_status, Some(502));
        assert_eq!(
            listed.last_detail.as_deref(),
            Some("Bad Gateway, 100% down")
        );
        assert_eq!(listed.last_remote_addr.as_deref(), Some("192.0.2.1:443"));
    }
    let all = Filter {
        limit: 9000,
        ..exhausted
    };
    let mut ids = all_ids(&*inspection, &all).await;
    assert_eq!(ids.len(), 21_003);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 21_003, "each once");
}

async fn the_oldest_due_ignores_paused_callbacks(kind: StoreKind) {
    let backend = Backend::new(kind);
    fill(&backend);
    let inspection = backend.inspection().await;
    let pause = |scope, name: &str, since, command, by: [&str; 2]| Pause {
        scope,
        name: name.to_owned(),
        since: Timestamp::from_millis(since),
        command_id: CommandId(command),
        actor: by[0].to_owned(),
        reason: by[1].to_owned(),
    };
    let two = "https://two.example";
    let expected = Stats {
        depth: vec![
            (ShownState::Pending, 6),
            (ShownState::InFlight, 2),
            (ShownState::Delivered, 2),
            (ShownState::Exhausted, 0),
            (ShownState::Cancelled, 0),
        ],
        oldest_due: Some(Timestamp::from_millis(9)),
        paused: vec![
            // Its command is not there: it is told of nevertheless.
            pause(PauseScope::App, "7", 6, 99, ["", ""]),
            pause(PauseScope::Origin, two, 5, 1, ["operator", "their request"]),
        ],
    };
    assert_eq!(inspection.stats().await, Ok(expected));
    backend.sql("DELETE FROM paused WHERE scope = 'origin'");
    let stats = inspection.stats().await.expect("counted");
    assert_eq!(stats.oldest_due, Some(Timestamp::from_millis(5)));
}

async fn a_queue_that_has_moved_says_where_to(kind: StoreKind) {
    let backend = Backend::new(kind);
    let inspection = backend.inspection().await;
    assert_eq!(inspection.displaced().await, Ok(None));
    backend.sql(
        "INSERT INTO internal_transfer_out (transfer_id, to_name, marked_at, verified_at)
         VALUES ('t', 'postgres://there/queue', 1, 2)",
    );
    let displaced = inspection.displaced().await.expect("read");
    let displaced = displaced.expect("it has moved");
    assert!(
        displaced.contains("has moved to postgres://there/queue"),
        "{displaced}"
    );
}

/// The planner works out for itself that a day's callbacks are few.
#[tokio::test(flavor = "multi_thread")]
async fn the_planner_expects_few_callbacks_that_finished_within_a_day() {
    let backend = Backend::postgres();
    backend.sql(&insert_rows(
        20_000,
        "https://one.example/",
        &finished("'delivered'", "n"),
    ));
    backend.sql("ANALYZE callback_queue");
    let plan = backend.sql("EXPLAIN (COSTS OFF) SELECT * FROM merchant_health");
    // Row by row, and not by a bitmap: that is for many rows, and for more still it is the table.
    let is_for_few = plan.contains("Index Scan using callback_finished on");
    assert!(is_for_few, "{plan}");
}
