//! What operators may write into `operator_command`, and what nobody may change in it.

use serde_json::json;

use super::{CLIENTS, Client, FILE_CLIENTS, Queue, plain};

fn insert(columns: &str, values: &str) -> String {
    format!("INSERT INTO operator_command ({columns}) VALUES ({values})")
}

#[test]
fn a_command_needs_an_action_a_selector_an_actor_and_a_reason() {
    let good = [
        (
            "action, order_number, actor, reason",
            "'resend', '1', 'support', 'r'",
        ),
        (
            "action, callback_id, actor, reason",
            "'cancel', 1, 'support', 'r'",
        ),
        (
            "action, since, actor, reason",
            "'cancel', 1, 'support', 'r'",
        ),
        (
            "action, app_id, origin, state, since, until, rate, actor, reason",
            "'resend', '6', 'https://m', 'exhausted', 1, 2, 100000, 'support', 'r'",
        ),
        (
            "action, app_id, actor, reason",
            "'pause', '6', 'support', 'r'",
        ),
        (
            "action, origin, actor, reason",
            "'resume', 'https://m', 'support', 'r'",
        ),
    ];
    let bad = [
        (
            "action, order_number, actor, reason",
            "'send', '1', 'support', 'r'",
            "action_is_resend_cancel_pause_or_resume",
        ),
        (
            "action, actor, reason",
            "'resend', 'support', 'r'",
            "a_resend_or_cancel_has_a_selector",
        ),
        (
            "action, actor, reason",
            "'cancel', 'support', 'r'",
            "a_resend_or_cancel_has_a_selector",
        ),
        (
            "action, order_number, actor, reason",
            "'resend', '', 'support', 'r'",
            "no_selector_is_empty",
        ),
        (
            "action, order_number, actor, reason",
            "'resend', '1', ' ', 'r'",
            "actor_is_not_empty",
        ),
        (
            "action, order_number, actor, reason",
            "'resend', '1', 'support', ''",
            "reason_is_not_empty",
        ),
        (
            "action, order_number, actor",
            "'resend', '1', 'support'",
            "reason",
        ),
        (
            "action, state, actor, reason",
            "'resend', 'in_flight', 'support', 'r'",
            "command_state_is_known",
        ),
        (
            "action, since, until, actor, reason",
            "'resend', 2, 2, 'support', 'r'",
            "since_is_before_until",
        ),
        (
            "action, app_id, rate, actor, reason",
            "'resend', '6', 0, 'support', 'r'",
            "rate_is_1_to_100000",
        ),
        (
            "action, app_id, dry_run, actor, reason",
            "'resend', '6', 2, 'support', 'r'",
            "flags_are_0_or_1",
        ),
        (
            "action, actor, reason",
            "'pause', 'support', 'r'",
            "a_pause_or_resume_has_one_origin_or_one_app",
        ),
        (
            "action, app_id, origin, actor, reason",
            "'pause', '6', 'https://m', 'support', 'r'",
            "a_pause_or_resume_has_one_origin_or_one_app",
        ),
        (
            "action, app_id, state, actor, reason",
            "'pause', '6', 'pending', 'support', 'r'",
            "a_pause_or_resume_has_one_origin_or_one_app",
        ),
        (
            "action, app_id, status, actor, reason",
            "'pause', '6', 'running', 'support', 'r'",
            "a new row waits",
        ),
    ];
    for client in CLIENTS {
        let queue = Queue::of(client);
        let statements = good.map(|(columns, values)| plain(&insert(columns, values)));
        for ((_, values), answer) in good.iter().zip(queue.ask(client, &statements)) {
            answer.unwrap_or_else(|error| panic!("{client:?}: {values}: {error}"));
        }
        let statements = bad.map(|(columns, values, _)| plain(&insert(columns, values)));
        for ((_, values, rule), answer) in bad.iter().zip(queue.ask(client, &statements)) {
            let error = answer.expect_err(values);
            assert!(error.contains(rule), "{client:?}: {values}: {error}");
        }
        assert_eq!(
            queue.value("SELECT count(*) FROM operator_command"),
            good.len()
        );
    }
}

/// What whoever asks has written, with another value for each.
const REQUEST: [(&str, &str); 15] = [
    ("id", "9"),
    ("action", "'cancel'"),
    ("callback_id", "1"),
    ("order_number", "'2'"),
    ("app_id", "'6'"),
    ("origin", "'https://m'"),
    ("state", "'exhausted'"),
    ("since", "1"),
    ("until", "9"),
    ("include_acknowledged", "1"),
    ("dry_run", "1"),
    ("rate", "1"),
    ("actor", "'mallory'"),
    ("reason", "'other'"),
    ("created_at", "1"),
];

const FORBIDDEN: [(&str, &str); 11] = [
    ("DELETE FROM operator_command WHERE id = 1", "is kept"),
    ("DELETE FROM operator_command WHERE id = 2", "is kept"),
    (
        "UPDATE operator_command SET answer = 'b' WHERE id = 1",
        "insert another one",
    ),
    (
        "UPDATE operator_command SET status = 'waiting', finished_at = NULL WHERE id = 1",
        "insert another one",
    ),
    (
        "UPDATE operator_command SET status = 'half done' WHERE id = 2",
        "status_is_known",
    ),
    (
        "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 3, 'sent', 1)",
        "what_is_known",
    ),
    (
        "INSERT INTO paused (scope, name, command_id, since) VALUES ('merchant', '6', 1, 1)",
        "scope_is_origin_or_app",
    ),
    (
        "UPDATE operator_command SET status = 'done' WHERE id = 2",
        "finished_at_stands_when_answered",
    ),
    ("DELETE FROM operator_command_item", "is kept"),
    (
        "UPDATE operator_command_item SET what = 'awaited' WHERE callback_id = 1",
        "does not change",
    ),
    (
        "UPDATE operator_command_item SET why = 'b' WHERE callback_id = 2",
        "does not change",
    ),
];

#[test]
fn neither_a_request_nor_an_answer_nor_a_note_is_changed_or_deleted() {
    for client in CLIENTS {
        let queue = carried_out(client);
        assert_forbidden(&queue, client, &FORBIDDEN);
        let changed = REQUEST.map(|(column, value)| {
            format!("UPDATE operator_command SET {column} = {value} WHERE id = 2")
        });
        let changed = changed
            .each_ref()
            .map(|sql| (sql.as_str(), "insert another one"));
        assert_forbidden(&queue, client, &changed);
        assert_eq!(
            queue.rows("SELECT actor, status, answer FROM operator_command ORDER BY id"),
            [
                vec![json!("support"), json!("done"), json!("a")],
                vec![json!("support"), json!("waiting"), json!("")]
            ]
        );
    }
}

/// SQLite's alone: PostgreSQL has no INSERT OR REPLACE, and its primary keys refuse a second row.
#[test]
fn neither_a_request_nor_a_note_is_replaced() {
    for client in FILE_CLIENTS {
        let queue = carried_out(client);
        assert_forbidden(
            &queue,
            client,
            &[
                (
                    "INSERT OR REPLACE INTO operator_command (id, action, order_number, actor, reason) VALUES (1, 'cancel', '1', 'm', 'r')",
                    "a new row waits",
                ),
                (
                    "INSERT OR REPLACE INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 1, 'skipped', 1)",
                    "does not change",
                ),
            ],
        );
    }
}

fn assert_forbidden(queue: &Queue, client: Client, table: &[(&str, &str)]) {
    let statements: Vec<_> = table.iter().map(|(sql, _)| plain(sql)).collect();
    for ((sql, why), answer) in table.iter().zip(queue.ask(client, &statements)) {
        let error = answer.expect_err(sql);
        assert!(error.contains(why), "{client:?}: {sql}: {error}");
    }
}

/// Command 1 is done and has a note, which is done, and one that was awaited; command 2 waits.
fn carried_out(client: Client) -> Queue {
    let queue = Queue::of(client);
    let asked = insert(
        "action, order_number, actor, reason",
        "'resend', '1', 'support', 'r'",
    );
    let item = "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 1, 'resent', 1)";
    let awaited = "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 2, 'awaited', 1)";
    let allowed = [
        asked.as_str(),
        asked.as_str(),
        item,
        awaited,
        "UPDATE operator_command SET status = 'running', started_at = 1, done = 1 WHERE id = 1",
        "UPDATE operator_command SET status = 'done', finished_at = 2, answer = 'a' WHERE id = 1",
        "UPDATE operator_command_item SET what = 'cancelled', at = 2 WHERE callback_id = 2",
    ];
    for (sql, answer) in allowed.iter().zip(queue.ask(client, &allowed.map(plain))) {
        answer.unwrap_or_else(|error| panic!("{client:?}: {sql}: {error}"));
    }
    queue
}
