//! What operators may write into `operator_command`, and what nobody may change in it.

use serde_json::json;

use super::{CLIENTS, Client, FILE_CLIENTS, Queue, Row, Statement, plain};
use crate::support::table::rows;

const TAKEN: &str = "
action, order_number | 'resend', '1'
action, callback_id | 'cancel', 1
action, since | 'cancel', 1
action, app_id, origin, state, since, until, rate | 'resend', '6', 'https://m', 'exhausted', 1, 2, 100000
action, app_id | 'pause', '6'
action, origin | 'resume', 'https://m'
";

const REFUSED: &str = "
action, order_number | 'send', '1' | action_is_known
action | 'resend' | a_resend_or_cancel_has_a_selector
action | 'cancel' | a_resend_or_cancel_has_a_selector
action, order_number | 'resend', '' | no_selector_is_empty
action, state | 'resend', 'in_flight' | command_state_is_known
action, since, until | 'resend', 2, 2 | since_is_before_until
action, app_id, rate | 'resend', '6', 0 | rate_is_1_to_100000
action, command_id | 'resend', 1 | command_id_is_for_a_cancel
action, app_id, to_url | 'resend', '6', 'https://m' | to_url_is_for_the_resend_of_one_order
action, order_number, to_url | 'cancel', 'M1', 'https://m' | to_url_is_for_the_resend_of_one_order
action, order_number, to_url | 'resend', 'M1', 'ftp://m' | to_url_is_an_absolute_http_or_https_url
action, order_number, to_url | 'resend', 'M1', 'https:///' | to_url_is_an_absolute_http_or_https_url
action, order_number, to_url | 'resend', 'M1', 'https://m/ x' | to_url_is_an_absolute_http_or_https_url
action, app_id, dry_run | 'resend', '6', 2 | flags_are_0_or_1
action | 'pause' | a_pause_or_resume_has_one_origin_or_one_app
action, app_id, origin | 'pause', '6', 'https://m' | a_pause_or_resume_has_one_origin_or_one_app
action, app_id, state | 'pause', '6', 'pending' | a_pause_or_resume_has_one_origin_or_one_app
action, app_id, status | 'pause', '6', 'running' | a new row waits
";

const BY_NOBODY: &str = "
actor, reason | ' ', 'r' | actor_is_not_empty
actor, reason | 'support', '' | reason_is_not_empty
actor | 'support' | reason
";

fn insert(columns: &str, values: &str) -> Statement {
    let (columns, values) = (
        format!("{columns}, actor, reason"),
        format!("{values}, 'support', 'r'"),
    );
    plain(&format!(
        "INSERT INTO operator_command ({columns}) VALUES ({values})"
    ))
}

#[test]
fn a_command_needs_an_action_a_selector_an_actor_and_a_reason() {
    let taken: Vec<_> = rows(TAKEN)
        .into_iter()
        .map(|[columns, values]| insert(columns, values))
        .collect();
    let mut refused: Vec<_> = rows(REFUSED)
        .into_iter()
        .map(|[columns, values, rule]| (insert(columns, values), rule))
        .collect();
    refused.extend(rows(BY_NOBODY).into_iter().map(|[columns, values, rule]| {
        let sql = format!(
            "INSERT INTO operator_command (action, order_number, {columns}) VALUES ('resend', '1', {values})"
        );
        (plain(&sql), rule)
    }));
    for client in CLIENTS {
        let queue = Queue::of(client);
        queue.takes(client, &taken);
        queue.refuses(client, &refused);
        let count = queue.value("SELECT count(*) FROM operator_command");
        assert_eq!(count, taken.len());
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

const FORBIDDEN: &str = "
DELETE FROM operator_command WHERE id = 1 | is kept
DELETE FROM operator_command WHERE id = 2 | is kept
UPDATE operator_command SET answer = 'b' WHERE id = 1 | insert another one
UPDATE operator_command SET status = 'waiting', finished_at = NULL WHERE id = 1 | insert another one
UPDATE operator_command SET status = 'half done' WHERE id = 2 | status_is_known
INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 3, 'sent', 1) | what_is_known
INSERT INTO paused (scope, name, command_id, since) VALUES ('merchant', '6', 1, 1) | scope_is_origin_or_app
UPDATE operator_command SET status = 'done' WHERE id = 2 | finished_at_stands_when_answered
DELETE FROM operator_command_item | is kept
UPDATE operator_command_item SET what = 'awaited' WHERE callback_id = 1 | does not change
UPDATE operator_command_item SET why = 'b' WHERE callback_id = 2 | does not change
";

fn forbidden(table: &str) -> Vec<(Statement, &str)> {
    let rows = rows(table).into_iter();
    rows.map(|[sql, words]| (plain(sql), words)).collect()
}

#[test]
fn neither_a_request_nor_an_answer_nor_a_note_is_changed_or_deleted() {
    for client in CLIENTS {
        let queue = carried_out(client);
        queue.refuses(client, &forbidden(FORBIDDEN));
        let changed = REQUEST.map(|(column, value)| {
            let sql = format!("UPDATE operator_command SET {column} = {value} WHERE id = 2");
            (plain(&sql), "insert another one")
        });
        queue.refuses(client, &changed);
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
    let replacing = "
INSERT OR REPLACE INTO operator_command (id, action, order_number, actor, reason) VALUES (1, 'cancel', '1', 'm', 'r') | a new row waits
INSERT OR REPLACE INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 1, 'skipped', 1) | does not change
";
    for client in FILE_CLIENTS {
        carried_out(client).refuses(client, &forbidden(replacing));
    }
}

/// The commands and the days themselves are kept.
#[test]
fn items_and_notes_of_a_day_are_pruned_with_their_callback() {
    let (zeros, digest) = ("0".repeat(64), "ab".repeat(32));
    let day = format!(
        "INSERT INTO reconciliation VALUES ('2026-11-24', '{zeros}', 1, 2, 3, NULL, NULL, \
         0, 0, 0, 0, 0, 0, 1, '{digest}', '{digest}')"
    );
    for client in CLIENTS {
        let queue = carried_out(client);
        let statements = [
            "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (2, 1, 'awaited', 1)",
            "INSERT INTO reconciliation_open VALUES ('2026-11-24', 1, 'unknown', 0), ('2026-11-24', 2, 'unknown', 0)",
            day.as_str(),
            "UPDATE callback_queue SET state = 'delivered', next_attempt_at = NULL, finished_at = 1",
            "DELETE FROM callback_queue WHERE id = 1",
        ];
        queue.takes(client, &statements.map(plain));
        let items = "SELECT command_id, callback_id, what FROM operator_command_item ORDER BY 1, 2";
        assert_eq!(
            queue.rows(items),
            [
                vec![json!(1), json!(2), json!("cancelled")],
                vec![json!(2), json!(1), json!("awaited")],
            ],
            "{client:?}"
        );
        assert_eq!(
            queue.value("SELECT callback_id FROM reconciliation_open"),
            2
        );
        assert_eq!(queue.value("SELECT count(*) FROM operator_command"), 2);
    }
}

/// Command 1 is done and has a note, which is done, and one that was awaited; command 2 waits.
fn carried_out(client: Client) -> Queue {
    let queue = Queue::of(client);
    let callbacks = [1, 2].map(|id: i64| {
        let row = Row::payment().with("id", json!(id));
        row.with("newpay_order_no", json!(id.to_string())).insert()
    });
    queue.takes(client, &callbacks);
    let asked = insert("action, order_number", "'resend', '1'");
    queue.takes(client, &[asked.clone(), asked]);
    let carried_out = [
        "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 1, 'resent', 1)",
        "INSERT INTO operator_command_item (command_id, callback_id, what, at) VALUES (1, 2, 'awaited', 1)",
        "UPDATE operator_command SET status = 'running', started_at = 1, done = 1 WHERE id = 1",
        "UPDATE operator_command SET status = 'done', finished_at = 2, answer = 'a' WHERE id = 1",
        "UPDATE operator_command_item SET what = 'cancelled', at = 2 WHERE callback_id = 2",
    ];
    queue.takes(client, &carried_out.map(plain));
    queue
}
