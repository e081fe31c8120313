//! The marks of a transfer. What a transfer does with them: `binary/transfer`.

use super::{CLIENTS, Client, Queue, plain};

const IN: &str =
    "INSERT INTO internal_transfer_in (transfer_id, from_name, marked_at) VALUES ('a', 'b', 1)";
const OUT: &str =
    "INSERT INTO internal_transfer_out (transfer_id, to_name, marked_at) VALUES ('a', 'b', 1)";
const ANSWERED: &str = "INSERT INTO operator_command (action, callback_id, actor, reason, status, finished_at) \
     VALUES ('cancel', 1, 'a', 'b', 'done', 1)";

#[test]
fn a_queue_has_one_mark_of_a_kind() {
    for client in CLIENTS {
        let rules = match client {
            Client::Shell | Client::Python => ["transfer_in_is_one_row", "transfer_out_is_one_row"],
            Client::Psql => ["internal_transfer_in_pkey", "internal_transfer_out_pkey"],
        };
        let queue = Queue::of(client);
        queue.takes(client, &[plain(IN), plain(OUT)]);
        queue.refuses(client, &[(plain(IN), rules[0]), (plain(OUT), rules[1])]);
    }
}

#[test]
fn a_command_that_is_answered_comes_with_a_transfer_alone() {
    for client in CLIENTS {
        let queue = Queue::of(client);
        let copying = plain("UPDATE internal_transfer_in SET copying = 1");
        let unmark = plain("DELETE FROM internal_transfer_in");
        let answered = || plain(ANSWERED);
        let statements = [
            plain(IN),
            answered(),
            copying,
            answered(),
            unmark,
            answered(),
        ];
        let answers = queue.ask(client, &statements);
        let refused: Vec<_> = (answers.iter().enumerate())
            .filter_map(|(at, answer)| Some((at, answer.as_ref().err()?.as_str())))
            .collect();
        let [(1, marked), (5, unmarked)] = refused[..] else {
            panic!("{client:?}: {refused:?}");
        };
        assert!(marked.contains("a new row waits"), "{marked}");
        assert!(unmarked.contains("a new row waits"), "{unmarked}");
    }
}
