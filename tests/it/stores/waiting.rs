//! Pending, paused and in-flight callbacks, as an operator sees them.

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::{
    CallbackRow, CommandId, Filter, NewestOfState, Pause, PauseScope, ShownState, Stats,
};

use super::Backend;
use crate::support::callback::{finished, insert, insert_rows};
use crate::support::store::{StoreKind, on_both};

on_both!(
    each_state_is_listed_in_an_order_of_its_own,
    lists_begin_with_the_newest,
    the_oldest_due_ignores_paused_callbacks,
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

fn ids(rows: &[CallbackRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id.0).collect()
}

fn newest(state: ShownState) -> NewestOfState {
    NewestOfState {
        state,
        app_id: None,
        outcome: None,
        limit: 10,
    }
}

async fn each_state_is_listed_in_an_order_of_its_own(kind: StoreKind) {
    let backend = Backend::new(kind);
    fill(&backend);
    let inspection = backend.inspection().await;
    for (state, expected) in [
        (ShownState::Pending, vec![2, 1, 4, 8, 3, 7]),
        (ShownState::InFlight, vec![6, 5]),
        (ShownState::Delivered, vec![10, 9]),
        (ShownState::Exhausted, vec![]),
    ] {
        let seen = inspection
            .newest_of_state(newest(state))
            .await
            .expect("seen");
        assert_eq!(ids(&seen), expected, "{state}");
        assert!(seen.iter().all(|row| row.state == state), "{seen:?}");
    }
    let of_an_app = NewestOfState {
        app_id: Some("7".to_owned()),
        limit: 1,
        ..newest(ShownState::Pending)
    };
    let seen = inspection.newest_of_state(of_an_app).await.expect("seen");
    assert_eq!(ids(&seen), [8]);
    let with_outcome = |outcome: &str| NewestOfState {
        outcome: Some(outcome.to_owned()),
        ..newest(ShownState::Delivered)
    };
    for (outcome, expected) in [
        ("acknowledged", vec![10, 9]),
        ("refused", vec![]),
        ("acknowledged\0", vec![]),
    ] {
        let seen = inspection.newest_of_state(with_outcome(outcome)).await;
        assert_eq!(ids(&seen.expect("seen")), expected, "{outcome:?}");
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
    let of_state = |state| Filter {
        state: Some(state),
        ..all.clone()
    };
    let of_app = |app: &str| Filter {
        app_id: Some(app.to_owned()),
        ..all.clone()
    };
    let since = Filter {
        since: Some(Timestamp::from_millis(9)),
        ..all.clone()
    };
    for (filter, expected) in [
        (of_state(ShownState::Pending), vec![8, 7, 4, 3, 2, 1]),
        (of_state(ShownState::InFlight), vec![6, 5]),
        (of_state(ShownState::Delivered), vec![10, 9]),
        (of_state(ShownState::Cancelled), vec![]),
        (of_app("7"), vec![8, 3]),
        (of_app("7\0"), vec![]),
        (of_app("' OR 1 = 1 --"), vec![]),
        (since, vec![10, 9]),
        (Filter { limit: 2, ..all }, vec![10, 9]),
    ] {
        let listed = inspection.list(filter.clone()).await.expect("listed");
        assert_eq!(ids(&listed), expected, "{filter:?}");
    }
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
