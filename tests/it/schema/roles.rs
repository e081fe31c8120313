//! Rights on PostgreSQL: with the grants at the end of the schema, a gateway and an operator can do
//! what they have to, and no more. SQLite has no roles.

use callback_dispatcher::domain::Timestamp;
use callback_dispatcher::store::postgres::{self, PostgresCommands};
use callback_dispatcher::store::{Action, Commands as _, NewCommand, Selectors};

use super::POSTGRES_SCHEMA;
use crate::support::callback::insert;
use crate::support::postgres::{Database, Server};

/// A gateway's INSERT, with `changes`.
fn row(changes: &[(&str, &str)]) -> String {
    insert("https://a.example/", "1", changes).replace(';', " ON CONFLICT DO NOTHING")
}

const COMMAND: &str =
    "INSERT INTO operator_command (action, app_id, actor, reason) VALUES ('pause', '6', 'a', 'r')";

/// The examples at the end of the script, as they stand there.
fn grants() -> String {
    let examples = POSTGRES_SCHEMA
        .split("\n-- Rights.")
        .nth(1)
        .expect("a part on rights");
    let lines = examples
        .lines()
        .map(|line| line.trim_start_matches("--").trim());
    let grants = lines.skip_while(|line| !line.starts_with("GRANT"));
    grants.collect::<Vec<_>>().join(" ")
}

/// A queue of the role `dispatcher`, which may do nothing else, with the given rights to it. Roles are
/// the server's: each test has one.
fn queue_with(grants: &str) -> (Server, Database) {
    let server = Server::own();
    let database = server.create_database();
    let roles = "CREATE ROLE dispatcher LOGIN; CREATE ROLE gateway LOGIN; CREATE ROLE operator LOGIN; \
                 CREATE SCHEMA queue AUTHORIZATION dispatcher; GRANT USAGE ON SCHEMA queue TO gateway, operator; \
                 ALTER ROLE ALL SET search_path = queue";
    for sql in roles
        .split("; ")
        .chain(["REVOKE ALL ON SCHEMA public FROM PUBLIC"])
    {
        database.psql(sql).expect("the superuser may");
    }
    let made = database.psql_as("dispatcher", POSTGRES_SCHEMA);
    assert_eq!(made, Ok(vec![]), "no superuser is needed");
    let granted = database.psql_as("dispatcher", grants);
    assert_eq!(granted, Ok(vec![]));
    (server, database)
}

fn assert_denied(database: &Database, role: &str, table: &[&str]) {
    for sql in table {
        let error = database.psql_as(role, sql).expect_err(sql);
        assert!(
            error.contains("permission denied"),
            "{role}: {sql}: {error}"
        );
    }
}

#[test]
fn a_gateway_inserts_and_no_more() {
    let (_server, database) = queue_with(&grants());
    for _ in 0..2 {
        assert_eq!(database.psql_as("gateway", &row(&[])), Ok(vec![]));
    }
    assert_eq!(
        database.value("SELECT origin || ' ' || state FROM queue.callback_queue"),
        "https://a.example pending"
    );
    assert_denied(
        &database,
        "gateway",
        &[
            "SELECT 1 FROM callback_queue",
            "SELECT 1 FROM callback_status",
            "UPDATE callback_queue SET state = 'cancelled'",
            "DELETE FROM callback_queue",
            "TRUNCATE callback_queue",
            COMMAND,
            "SELECT 1 FROM callback_attempt",
            "CREATE TABLE queue.t ()",
            // It does not choose ids, states or times.
            &row(&[("id", "1")]),
            &row(&[("state", "'pending'")]),
            &row(&[("created_at", "1")]),
        ],
    );
}

#[test]
fn an_operator_reads_and_asks_and_no_more() {
    let (_server, database) = queue_with(&grants());
    database.psql_as("gateway", &row(&[])).expect("a row");
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'queue'";
    let tables = database.psql(tables).expect("names");
    assert_eq!(tables.len(), 17, "{tables:?}");
    for table in tables {
        let read = format!("SELECT count(*) FROM {}", table[0]);
        database.psql_as("operator", &read).expect("it may read");
    }
    assert_eq!(database.psql_as("operator", COMMAND), Ok(vec![]));
    assert_denied(
        &database,
        "operator",
        &[
            &row(&[]),
            "UPDATE operator_command SET reason = 'other'",
            "DELETE FROM operator_command",
            "INSERT INTO operator_command (action, app_id, actor, reason, status) VALUES \
             ('pause', '6', 'a', 'r', 'done')",
            "INSERT INTO paused VALUES ('app', '6', 1, 1)",
            "UPDATE callback_queue SET state = 'cancelled'",
        ],
    );
}

/// As the command line asks, by the operator's role.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_ask_for_every_command() {
    let (_server, database) = queue_with(&grants());
    let url = postgres::Database::parse(&database.url_as("operator")).expect("a good URL");
    let commands = PostgresCommands::open(&url).await.expect("opened");
    let app = Selectors {
        app_id: Some("6".to_owned()),
        ..Selectors::default()
    };
    for action in [
        Action::Resend,
        Action::Cancel,
        Action::Pause,
        Action::Resume,
    ] {
        let command = NewCommand {
            action,
            selectors: app.clone(),
            include_acknowledged: false,
            dry_run: false,
            rate: None,
            to_url: None,
            actor: "a".to_owned(),
            reason: "r".to_owned(),
        };
        let asked = commands.submit(command, Timestamp::from_millis(1)).await;
        asked.unwrap_or_else(|error| panic!("{action:?}: {error}"));
    }
}

/// Whoever grants whole tables instead: the triggers need nothing else either.
#[test]
fn the_right_to_insert_into_a_table_is_enough() {
    let (_server, database) = queue_with(
        "GRANT INSERT ON callback_queue TO gateway; GRANT INSERT ON operator_command TO operator",
    );
    assert_eq!(database.psql_as("gateway", &row(&[])), Ok(vec![]));
    assert_eq!(database.psql_as("operator", COMMAND), Ok(vec![]));
}
