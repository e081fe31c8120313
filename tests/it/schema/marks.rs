//! The marks of a transfer, and what is refused while they stand. What a transfer does with them:
//! `binary/transfer`.

use super::{CLIENTS, Queue, Row, plain};

const ARRIVING: &str = "INSERT INTO queue_arriving (source, from_name, at) VALUES ('a', 'b', 1)";
const MOVED: &str = "INSERT INTO queue_moved (source, to_name, at) VALUES ('a', 'b', 1)";
const COMMAND: &str = "INSERT INTO operator_command (action, callback_id, actor, reason) VALUES ('cancel', 1, 'a', 'b')";
const ANSWERED: &str = "INSERT INTO operator_command (action, callback_id, actor, reason, status, finished_at) \
     VALUES ('cancel', 1, 'a', 'b', 'done', 1)";

#[test]
fn a_queue_has_one_mark_of_a_kind() {
    let table = [
        (ARRIVING, "queue_arriving.one"),
        (MOVED, "queue_moved.one"),
        (
            "INSERT INTO queue_arriving (one, source, from_name, at) VALUES (2, 'a', 'b', 1)",
            "a_queue_arrives_once",
        ),
        (
            "INSERT INTO queue_moved (one, source, to_name, at) VALUES (2, 'a', 'b', 1)",
            "a_queue_moves_once",
        ),
    ];
    let queue = Queue::new();
    for answer in queue.ask(CLIENTS[0], &[plain(ARRIVING), plain(MOVED)]) {
        answer.expect("the first one");
    }
    for (sql, rule) in table {
        let error = queue.ask(CLIENTS[0], &[plain(sql)]).remove(0);
        let error = error.expect_err(sql);
        assert!(error.contains(rule), "{sql}: {error}");
    }
}

#[test]
fn an_unfinished_copy_takes_rows_of_its_transfer_alone() {
    let not_finished = "a transfer into this queue is not finished";
    for client in CLIENTS {
        let queue = Queue::new();
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
