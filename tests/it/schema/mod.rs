//! The tables as the gateway and the operator meet them: past our code, through the `sqlite3`
//! program and Python's `sqlite3`, each with the SQLite library of its own system.
//!
//! Both programs are part of what is tested; a test fails when one is missing. A whole table of
//! statements goes through one process each.

mod commands;
mod file;
mod guards;
mod ledger;
mod marks;
mod migration;
mod origin;
mod rows;
mod rules;
mod views;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = include_str!("../../../schema.sql");

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
type Answer = Result<Vec<Vec<Value>>, String>;

/// A statement and its parameters.
type Statement = (String, Vec<Value>);

/// Who speaks to the database.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// The `sqlite3` program, with literals.
    Shell,
    /// Python's module, with bound parameters.
    Python,
}

const CLIENTS: [Client; 2] = [Client::Shell, Client::Python];

/// A queue in a directory of its own.
struct Queue {
    directory: TempDir,
}

impl Queue {
    /// Made as an operator would: `sqlite3 queue.db < schema.sql`.
    fn new() -> Self {
        let queue = Self {
            directory: TempDir::new().expect("a temporary directory"),
        };
        let (_, complaints) = queue.shell(SCHEMA);
        assert_eq!(complaints, "", "schema.sql is refused");
        queue
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("queue.db")
    }

    /// Feeds `sql` to the `sqlite3` program; returns what it printed and what it complained.
    fn shell(&self, sql: &str) -> (String, String) {
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "-json"]).arg(self.path());
        feed(command, sql)
    }

    /// Every statement by itself, in one process; one answer each.
    fn ask(&self, client: Client, statements: &[Statement]) -> Vec<Answer> {
        match client {
            Client::Shell => self.ask_shell(statements),
            Client::Python => self.ask_python(statements),
        }
    }

    fn ask_python(&self, statements: &[Statement]) -> Vec<Answer> {
        let mut command = Command::new("python3");
        command.arg("-c").arg(PYTHON_GATEWAY).arg(self.path());
        let (answers, complaints) = feed(command, &json!(statements).to_string());
        assert_eq!(complaints, "", "the gateway in Python broke");
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
            let mut parameters = parameters.iter();
            let mut line = String::new();
            for part in sql.split_inclusive('?') {
                line.push_str(part.trim_end_matches('?'));
                if part.ends_with('?') {
                    line.push_str(&literal(parameters.next().expect("a parameter for each ?")));
                }
            }
            assert!(!line.contains('\n'), "one statement to a line: {line}");
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

    /// One statement without parameters that must succeed, through Python.
    fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let answer = self.ask_python(&[(sql.to_owned(), vec![])]).remove(0);
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one value that `sql` gives.
    fn value(&self, sql: &str) -> Value {
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

fn feed(mut command: Command, input: &str) -> (String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/check installs it"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // Apart from the reading below, so that neither side waits for the other's pipe.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    writer
        .join()
        .expect("the writer does not panic")
        .expect("the program reads all its input");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

/// A value in SQL. Control characters are spelled out: a line break would end the line, and the
/// program takes a NUL for the end of its input.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => {
            let pieces = text.chars().map(|character| match character {
                '\'' => "''".to_owned(),
                c if c.is_control() => format!("' || char({}) || '", u32::from(c)),
                c => c.to_string(),
            });
            format!("('{}')", pieces.collect::<String>())
        }
        Value::Object(blob) => format!("x'{}'", blob["blob"].as_str().expect("hex")),
        number => number.to_string(),
    }
}

/// A row on its way into `callback_queue`: columns and values, in order.
#[derive(Clone, Debug)]
struct Row(Vec<(&'static str, Value)>);

impl Row {
    /// The document's sample payment, with nothing that has a default.
    fn payment() -> Self {
        Self(vec![
            ("kind", json!("payment")),
            ("callback_url", json!("https://merchant.example/notify")),
            ("app_id", json!("6")),
            ("pay_method", json!(1)),
            ("amount", json!("123.00")),
            ("currency", json!("LAK")),
            ("newpay_order_no", json!("202209210000006950")),
            ("order_no", json!("202209067002502223")),
            ("result", json!("success")),
            ("settlement_status", json!(1)),
        ])
    }

    /// The document's sample refund.
    fn refund() -> Self {
        Self::payment()
            .with("kind", json!("refund"))
            .with("newpay_refund_order_no", json!("202209210000006951"))
            .with("refund_order_no", json!("202209067002502232"))
            .without("settlement_status")
    }

    fn with(self, column: &'static str, value: Value) -> Self {
        let mut row = self.without(column);
        row.0.push((column, value));
        row
    }

    fn without(mut self, column: &str) -> Self {
        self.0.retain(|(name, _)| *name != column);
        self
    }

    fn insert(&self) -> Statement {
        let (columns, values): (Vec<_>, Vec<_>) = self.0.iter().cloned().unzip();
        let marks = vec!["?"; columns.len()].join(", ");
        let columns = columns.join(", ");
        (
            format!("INSERT INTO callback_queue ({columns}) VALUES ({marks})"),
            values,
        )
    }
}

/// A statement without parameters.
fn plain(sql: &str) -> Statement {
    (sql.to_owned(), vec![])
}
