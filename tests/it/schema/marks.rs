//! The marks of a transfer, and what is refused while they stand. What a transfer does with them:
//! `binary/transfer`.

use super::{CLIENTS, Client, FILE_CLIENTS, Queue, Row, plain};

const ARRIVING: &str = "INSERT INTO queue_arriving (source, from_name, at) VALUES ('a', 'b', 1)";
const MOVED: &str = "INSERT INTO queue_moved (source, to_name, at) VALUES ('a', 'b', 1)";
const COMMAND: &str = "INSERT INTO operator_command (action, callback_id, actor, reason) VALUES ('cancel', 1, 'a', 'b')";
const ANSWERED: &str = "INSERT INTO operator_command (action, callback_id, actor, reason, status, finished_at) \
     VALUES ('cancel', 1, 'a', 'b', 'done', 1)";

#[test]
fn a_queue_has_one_mark_of_a_kind() {
    for client in CLIENTS {
        let (arriving, moved) = match client {
            Client::Shell | Client::Python => ("queue_arriving.one", "queue_moved.one"),
            Client::Psql => ("queue_arriving_one_key", "queue_moved_one_key"),
        };
        let table = [
            (ARRIVING, arriving),
            (MOVED, moved),
            (
                "INSERT INTO queue_arriving (one, source, from_name, at) VALUES (2, 'a', 'b', 1)",
                "a_queue_arrives_once",
            ),
            (
                "INSERT INTO queue_moved (one, source, to_name, at) VALUES (2, 'a', 'b', 1)",
                "a_queue_moves_once",
            ),
        ];
        let queue = Queue::of(client);
        for answer in queue.ask(client, &[plain(ARRIVING), plain(MOVED)]) {
            answer.expect("the first one");
        }
        let statements = table.map(|(sql, _)| plain(sql));
        for ((sql, rule), answer) in table.iter().zip(queue.ask(client, &statements)) {
            let error = answer.expect_err(sql);
            assert!(error.contains(rule), "{client:?}: {sql}: {error}");
        }
    }
}

/// SQLite's alone: on PostgreSQL `transfer` makes the triggers that refuse the rest.
#[test]
fn an_unfinished_copy_takes_rows_of_its_transfer_alone() {
    let not_finished = "a transfer into this queue is not finished";
    for client in FILE_CLIENTS {
        let queue = Queue::file();
        let answers = queue.ask(
            client,
            &[
                plain(ARRIVING),
                Row::payment().insert(),
                plain(COMMAND),
                plain("UPDATE queue_arriving SET copying = 1"),
                Row::payment().insert(),
                plain(COMMAND),
                plain(ANSWERED),
                plain("DELETE FROM queue_arriving"),
                Row::refund().insert(),
                plain(ANSWERED),
            ],
        );
        let refused: Vec<_> = answers
            .iter()
            .enumerate()
            .filter_map(|(at, answer)| Some((at, answer.as_ref().err()?.as_str())))
            .collect();
        let [(1, row), (2, command), (9, answered)] = refused[..] else {
            panic!("{client:?}: {refused:?}");
        };
        assert!(row.contains(not_finished), "{row}");
        assert!(command.contains(not_finished), "{command}");
        assert!(answered.contains("a new row waits"), "{answered}");
    }
}
