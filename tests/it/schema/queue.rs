//! A queue on each database, and who speaks to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{POSTGRES_SCHEMA, SCHEMA};
use crate::support::postgres::{Database, Server, feed};
use crate::support::sqlite::python;

/// Reads `[[sql, [parameter, ...]], ...]`, commits each statement by itself, and prints
/// `[{"rows": [...], "changes": n} or {"error": "..."}, ...]`. A parameter `{"blob": hex}` is bytes.
const PYTHON_GATEWAY: &str = r#"
import json, sqlite3, sys
queue = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
def bind(value):
    return bytes.fromhex(value["blob"]) if isinstance(value, dict) else value
answers = []
for sql, parameters in json.load(sys.stdin):
    try:
        cursor = queue.execute(sql, [bind(value) for value in parameters])
        answers.append({"rows": cursor.fetchall(), "changes": cursor.rowcount})
    except sqlite3.Error as error:
        answers.append({"error": str(error)})
json.dump(answers, sys.stdout)
"#;

/// Rows that a statement gave, or the database's complaint.
pub(super) type Answer = Result<Vec<Vec<Value>>, String>;

/// A statement and its parameters.
pub(super) type Statement = (String, Vec<Value>);

/// Who speaks to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The `sqlite3` program, with literals.
    Shell,
    /// Python's module, with bound parameters.
    Python,
    /// The `psql` program, with literals: the queue is on PostgreSQL.
    Psql,
}

pub(super) const CLIENTS: [Client; 3] = [Client::Shell, Client::Python, Client::Psql];

/// One for each database.
pub(super) const DATABASES: [Client; 2] = [Client::Python, Client::Psql];

/// Those of the SQLite file.
pub(super) const FILE_CLIENTS: [Client; 2] = [Client::Shell, Client::Python];

impl Client {
    /// How its database complains of NULL in a column of `table`.
    pub(super) fn null_in(self, table: &str, column: &str) -> String {
        match self {
            Self::Shell | Self::Python => format!("NOT NULL constraint failed: {table}.{column}"),
            Self::Psql => format!(
                "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
            ),
        }
    }
}

/// A queue of its own.
pub(super) enum Queue {
    /// In a directory.
    File(TempDir),
    /// On this process's server.
    Database(Database),
}

impl Queue {
    /// One that `client` can speak to.
    pub(super) fn of(client: Client) -> Self {
        match client {
            Client::Shell | Client::Python => Self::file(),
            Client::Psql => Self::database(),
        }
    }

    /// Made as an operator would: `sqlite3 queue.db < schema.sql`.
    pub(super) fn file() -> Self {
        Self::file_of(SCHEMA)
    }

    /// A file with another schema.
    pub(super) fn file_of(schema: &str) -> Self {
        let queue = Self::File(TempDir::new().expect("a temporary directory"));
        let (_, complaints) = queue.shell(schema);
        assert_eq!(complaints, "", "the schema is refused");
        queue
    }

    /// `psql -f schema.postgres.sql`.
    fn database() -> Self {
        let database = Server::shared().create_database();
        assert_eq!(database.complaints(POSTGRES_SCHEMA), "");
        Self::Database(database)
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::File(directory) => directory.path(),
            Self::Database(database) => panic!("{database:?} is no file"),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder().join("queue.db")
    }

    /// Feeds `sql` to the `sqlite3` program; returns what it printed and what it complained.
    pub(super) fn shell(&self, sql: &str) -> (String, String) {
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "-json"]).arg(self.path());
        let said = feed(command, sql);
        (said.printed, said.complaints)
    }

    /// Every statement by itself, in one process; one answer each.
    pub(super) fn ask(&self, client: Client, statements: &[Statement]) -> Vec<Answer> {
        match client {
            Client::Shell => self.ask_shell(statements),
            Client::Python => self.ask_python(statements),
            Client::Psql => self.ask_psql(statements),
        }
    }

    fn ask_python(&self, statements: &[Statement]) -> Vec<Answer> {
        let input = json!(statements).to_string();
        let answers = python(PYTHON_GATEWAY, &self.path(), &[], &input);
        let answers: Vec<Value> = serde_json::from_str(&answers).expect("JSON from Python");
        let answers = answers.into_iter().map(|answer| match &answer["error"] {
            Value::String(error) => Err(error.clone()),
            _ => Ok(serde_json::from_value(answer["rows"].clone()).expect("rows")),
        });
        answers.collect()
    }

    /// One statement to a line, so that a complaint's line number says whose it is; the rows are
    /// fenced by lines that no row looks like.
    fn ask_shell(&self, statements: &[Statement]) -> Vec<Answer> {
        let mut script = String::new();
        for (sql, parameters) in statements {
            let line = spelled_out(sql, parameters, Client::Shell);
            script.push_str(&format!("{line};\n.print next\n"));
        }
        let (printed, complaints) = self.shell(&script);
        let mut fenced = printed.split("next\n");
        let answers = (0..statements.len()).map(|position| {
            let rows = fenced.next().expect("a fence for each statement");
            let here = format!("near line {}:", 2 * position + 1);
            let complaint = complaints.lines().find(|line| line.contains(&here));
            complaint.map_or_else(|| Ok(rows_of(rows)), |text| Err(text.to_owned()))
        });
        answers.collect()
    }

    /// The same. A query is wrapped, so that each row comes as one array.
    fn ask_psql(&self, statements: &[Statement]) -> Vec<Answer> {
        let Self::Database(database) = self else {
            panic!("psql does not read files");
        };
        let mut script = String::new();
        for (sql, parameters) in statements {
            let mut line = spelled_out(sql, parameters, Client::Psql);
            if line.starts_with("SELECT ") || line.starts_with("WITH ") {
                line = format!(
                    "SELECT (SELECT json_agg(value ORDER BY place) FROM json_each(to_json(line)) \
                     WITH ORDINALITY AS column_of(name, value, place)) FROM ({line}) line"
                );
            }
            script.push_str(&format!("{line};\n\\echo next\n"));
        }
        // A detail would show the whole row, which may have the words of any rule in it.
        let (printed, complaints) = database.script(&["-v", "VERBOSITY=terse"], &script);
        let mut fenced = printed.split("next\n");
        let answers = (0..statements.len()).map(|position| {
            let rows = fenced.next().expect("a fence for each statement");
            let here = format!("psql:<stdin>:{}: ERROR:", 2 * position + 1);
            let complaint = complaints.lines().find(|line| line.starts_with(&here));
            let row = |line: &str| serde_json::from_str(line).expect("JSON from psql");
            complaint.map_or_else(
                || Ok(rows.lines().map(row).collect()),
                |text| Err(text.to_owned()),
            )
        });
        answers.collect()
    }

    /// Each statement must succeed.
    #[track_caller]
    pub(super) fn takes(&self, client: Client, statements: &[Statement]) {
        for (statement, answer) in statements.iter().zip(self.ask(client, statements)) {
            answer.unwrap_or_else(|error| panic!("{client:?}: {statement:?}: {error}"));
        }
    }

    /// Each statement must fail with these words.
    #[track_caller]
    pub(super) fn refuses(&self, client: Client, table: &[(Statement, impl AsRef<str>)]) {
        let statements: Vec<Statement> = table.iter().map(|(sql, _)| sql.clone()).collect();
        for ((statement, words), answer) in table.iter().zip(self.ask(client, &statements)) {
            let (words, Err(error)) = (words.as_ref(), answer) else {
                panic!("{client:?}: taken: {statement:?}");
            };
            assert!(
                error.contains(words),
                "{client:?}: {error}, not {words}: {statement:?}"
            );
        }
    }

    /// One statement without parameters that must succeed, through Python or `psql`.
    pub(super) fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let client = match self {
            Self::File(_) => Client::Python,
            Self::Database(_) => Client::Psql,
        };
        let answer = self.ask(client, &[(sql.to_owned(), vec![])]).remove(0);
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one value that `sql` gives.
    pub(super) fn value(&self, sql: &str) -> Value {
        let rows = self.rows(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }
}

/// What `-json` prints for one statement, its names left out.
fn rows_of(printed: &str) -> Vec<Vec<Value>> {
    if printed.trim().is_empty() {
        return Vec::new();
    }
    // An object would be sorted by name: the columns' order only matters to the tests that ask
    // for one column.
    let rows: Vec<serde_json::Map<String, Value>> =
        serde_json::from_str(printed).expect("JSON rows from sqlite3");
    rows.into_iter()
        .map(|row| row.into_iter().map(|(_, value)| value).collect())
        .collect()
}

/// The statement with its parameters in it, on one line.
fn spelled_out(sql: &str, parameters: &[Value], client: Client) -> String {
    let mut parameters = parameters.iter();
    let mut line = String::new();
    for part in sql.split_inclusive('?') {
        line.push_str(part.trim_end_matches('?'));
        if part.ends_with('?') {
            let parameter = parameters.next().expect("a parameter for each ?");
            line.push_str(&literal(parameter, client));
        }
    }
    assert!(!line.contains('\n'), "one statement to a line: {line}");
    line
}

/// A value in SQL. Control characters are spelled out: a line break would end the line, and the
/// program takes a NUL for the end of its input.
fn literal(value: &Value, client: Client) -> String {
    let (spelled, end_of_blob) = match client {
        Client::Psql => ("chr", "::bytea"),
        Client::Shell | Client::Python => ("char", ""),
    };
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => {
            let pieces = text.chars().map(|character| match character {
                '\'' => "''".to_owned(),
                c if c.is_control() => format!("' || {spelled}({}) || '", u32::from(c)),
                c => c.to_string(),
            });
            format!("('{}')", pieces.collect::<String>())
        }
        Value::Object(blob) => {
            let begin = if client == Client::Psql { "'\\x" } else { "x'" };
            format!(
                "{begin}{}'{end_of_blob}",
                blob["blob"].as_str().expect("hex")
            )
        }
        number => number.to_string(),
    }
}
