//! `reconcile --payments` and `--sql`, as the real program.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use super::{Archive, StoreKind, millis, on_both};
use crate::support::process::{PROGRAM, command};
use crate::support::sqlite::sqlite3;
use crate::support::table::rows;

const HEADER: &str = "kind,newpay_order_no,newpay_refund_order_no,app_id,amount,currency,result";

/// Three payments and a refund of 2026-11-24, of which the last was queued in the evening of Laos
/// but the next day's.
fn archive(store: StoreKind) -> Archive {
    let archive = Archive::on(store);
    let row = |number: u32, app: &str, amount: &str, minute: i64| {
        let created_at = millis("2026-11-24", 0) + minute * 60_000;
        format!(
            "('payment', 'https://merchant.example/', '{app}', 1, '{amount}', 'LAK', 'N{number}', 'M{number}', \
             NULL, NULL, 'success', 1, {created_at})"
        )
    };
    let refund = format!(
        "('refund', 'https://merchant.example/', '6', 1, '1.50', 'USD', 'N1', 'M1', 'NR1', 'MR1', \
         'failure', NULL, {})",
        millis("2026-11-24", 12)
    );
    let rows = [
        row(1, "6", "123.00", 0),
        row(2, "7", "5.10", 16 * 60 + 59),
        row(3, "6", "7", 23 * 60 + 59),
        refund,
    ];
    let rows = rows.join(", ");
    let insert = format!(
        "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency, \
           newpay_order_no, order_no, newpay_refund_order_no, refund_order_no, result, \
           settlement_status, created_at) VALUES {rows}"
    );
    archive.sql(&insert).expect("good rows");
    archive
}

/// `reconcile --day 2026-11-24` with these arguments.
fn reconcile(archive: &Archive, arguments: &[&str]) -> Output {
    command(
        PROGRAM,
        archive.folder.path(),
        &["reconcile", "--day", "2026-11-24"],
    )
    .args(arguments)
    .env("DISPATCHER__STORE__URL", archive.store.url())
    .output()
    .expect("the program runs")
}

fn with_csv(archive: &Archive, lines: &[&str], arguments: &[&str]) -> Output {
    let path = archive.folder.path().join("payments.csv");
    fs::write(path, lines.join("\n")).expect("writable");
    reconcile(
        archive,
        &[&["--payments", "payments.csv"], arguments].concat(),
    )
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The differences, and the exit code.
fn differences(output: &Output) -> (Vec<Value>, Option<i32>) {
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    let differences = answer["differences"].as_array().expect("an array");
    (differences.clone(), output.status.code())
}

const ALL: [&str; 5] = [
    HEADER,
    "payment,N1,,6,123,LAK,success",
    "payment,N2,,7,5.1,LAK,success",
    "payment,N3,,6,7.00,LAK,success",
    "refund,N1,NR1,6,1.5,USD,failure",
];

fn books_that_agree_are_exit_0(store: StoreKind) {
    let archive = archive(store);
    let found = differences(&with_csv(&archive, &ALL, &["--json"]));
    assert_eq!(found, (vec![], Some(0)));
    let said = with_csv(&archive, &ALL, &[]);
    let words = text(&said.stdout);
    assert!(
        words.contains("4 payments: 4 match, 0 never queued, 0 differ; 0 queued"),
        "{words}"
    );
}

fn each_difference_is_named_and_is_exit_1(store: StoreKind) {
    let archive = archive(store);
    let books = [
        HEADER,
        "payment,N1,,8,123.01,USD,failure",
        "payment,N4,,6,1,LAK,success",
        "payment,N3,,6,7,LAK,success",
        "payment,NR1,,6,1.5,USD,failure",
    ];
    let (found, code) = differences(&with_csv(&archive, &books, &["--json"]));
    assert_eq!(code, Some(1));
    let field = |name: &str, queued: &str, payments: &str| json!({"field": name, "queued": queued, "payments": payments});
    assert_eq!(
        found,
        [
            json!({"difference": "differs", "kind": "payment", "number": "N1", "place": "line 2", "callback_id": 1,
                "fields": [field("app_id", "6", "8"), field("amount", "123.00", "123.01"),
                    field("currency", "LAK", "USD"), field("result", "success", "failure")]}),
            json!({"difference": "not_queued", "kind": "payment", "number": "N4", "app_id": "6", "place": "line 3"}),
            // A payment's number is not a refund's.
            json!({"difference": "not_queued", "kind": "payment", "number": "NR1", "app_id": "6", "place": "line 5"}),
            json!({"difference": "not_in_payments", "kind": "payment", "number": "N2", "app_id": "7", "callback_id": 2}),
            json!({"difference": "not_in_payments", "kind": "refund", "number": "NR1", "app_id": "6", "callback_id": 4}),
        ]
    );
    let said = with_csv(&archive, &books, &[]);
    let words = text(&said.stdout);
    for word in [
        "line 3: payment N4 of app 6 was never queued",
        "line 2: payment N1, callback 1: app_id 6 is queued, the payments say 8; amount 123.00",
        "callback 4: refund NR1 of app 6 is not in the payments",
    ] {
        assert!(words.contains(word), "no {word:?} in {words}");
    }
    assert_eq!(said.status.code(), Some(1));
}

/// The books of a day of Laos: what was queued at 23:59 UTC is the next day's there, yet it is
/// found, as the whole queue is looked at.
fn a_day_has_the_hours_of_its_offset_and_an_app(store: StoreKind) {
    let archive = archive(store);
    let without_third = [ALL[0], ALL[1], ALL[2], ALL[4]];
    let (found, code) = differences(&with_csv(&archive, &without_third, &["--json"]));
    assert_eq!(
        (found.len(), code),
        (1, Some(1)),
        "the third is of that day in UTC"
    );
    for books in [&without_third[..], &ALL] {
        let said = with_csv(&archive, books, &["--json", "--offset", "+07:00"]);
        assert_eq!(differences(&said), (vec![], Some(0)));
    }
    let only_seven = [ALL[0], ALL[2], "payment,N9,,6,1,LAK,success"];
    let said = with_csv(&archive, &only_seven, &["--json", "--app", "7"]);
    assert_eq!(differences(&said), (vec![], Some(0)));
    let counted: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(counted["total"]["queued"], 1, "{counted}");
}

fn columns_come_in_any_order_and_refunds_need_theirs(store: StoreKind) {
    let archive = archive(store);
    let other_order = [
        "\u{feff}result,currency,amount,note,app_id,newpay_order_no,kind",
        "success,LAK, 123.00 ,\"a, b\",6,N1,payment",
        "success,LAK,5.10,,7,N2,payment",
        "success,LAK,7,,6,N3,payment",
    ];
    let (found, _) = differences(&with_csv(&archive, &other_order, &["--json"]));
    assert_eq!(found.len(), 1, "the refund alone is missing");
    let said = with_csv(
        &archive,
        &[other_order[0], "success,LAK,1,,6,N1,refund"],
        &[],
    );
    assert!(
        text(&said.stderr).contains("line 2, column newpay_refund_order_no"),
        "{said:?}"
    );
}

fn books_at_fault_name_line_and_column(store: StoreKind) {
    let archive = archive(store);
    let table = rows(
        "kind,app_id | payments.csv; no column newpay_order_no
         kind,newpay_order_no,app_id,amount,amount,currency,result | more than one column amount
         HEADER/order,N1,,6,1,LAK,success | line 2, column kind; payment or refund
         HEADER/payment,,,6,1,LAK,success | line 2, column newpay_order_no; empty
         HEADER/refund,N1,,6,1,LAK,success | line 2, column newpay_refund_order_no
         HEADER/payment,N1,,,1,LAK,success | line 2, column app_id
         HEADER/FIRST/payment,N2,,6,1.234,LAK,success | line 3, column amount; 1.234
         HEADER/payment,N1,,6,1,THB,success | line 2, column currency; LAK or USD
         HEADER/payment,N1,,6,1,LAK,0 | line 2, column result; success or failure
         HEADER/payment,N1,,6,1,000,LAK,success | line 2; 8 fields instead of 7
         HEADER/FIRST/FIRST | payment N1 is at line 2 and again at line 3",
    );
    for [lines, words] in table {
        let lines = lines.replace("HEADER", HEADER).replace("FIRST", ALL[1]);
        let lines: Vec<&str> = lines.split('/').collect();
        let said = with_csv(&archive, &lines, &[]);
        assert_eq!(said.status.code(), Some(1), "{lines:?}");
        for word in words.split("; ") {
            assert!(text(&said.stderr).contains(word), "no {word:?}: {said:?}");
        }
    }
    let path = archive.folder.path().join("payments.csv");
    fs::write(
        &path,
        [HEADER.as_bytes(), b"\npayment,N\xff,,6,1,LAK,success"].concat(),
    )
    .expect("writable");
    let said = reconcile(&archive, &["--payments", "payments.csv"]);
    assert!(
        text(&said.stderr).contains("line 2: field 2 is not UTF-8"),
        "{said:?}"
    );
    let said = reconcile(&archive, &["--payments", "nowhere.csv"]);
    assert!(text(&said.stderr).contains("nowhere.csv"), "{said:?}");
}

fn a_query_reads_the_gateways_own_database(store: StoreKind) {
    let archive = archive(store);
    let gateway = archive.folder.path().join("gateway.db");
    let tables = "CREATE TABLE payment (id, app, amount REAL, currency, ok); \
         INSERT INTO payment VALUES ('N1', 6, 123, 'LAK', 1), ('N2', 7, 5.1, 'LAK', 1), ('N3', 6, 7.0, 'LAK', 1); \
         CREATE TABLE refund (id, payment, app, amount TEXT, currency); \
         INSERT INTO refund VALUES ('NR1', 'N1', '6', '1.50', 'USD')";
    sqlite3(&gateway, tables);
    let sql = |condition: &str| {
        format!(
            "SELECT 'payment' AS kind, id AS newpay_order_no, NULL AS newpay_refund_order_no, app AS app_id, \
               amount, currency, iif(ok, 'success', 'failure') AS result FROM payment {condition} \
             UNION ALL SELECT 'refund', payment, id, app, amount, currency, 'failure' FROM refund"
        )
    };
    let ask = |sql: &str| {
        reconcile(
            &archive,
            &["--json", "--sql-database", "gateway.db", "--sql", sql],
        )
    };
    assert_eq!(differences(&ask(&sql(""))), (vec![], Some(0)));
    let (found, code) = differences(&ask(&sql("WHERE id <> 'N2'")));
    assert_eq!((found[0]["number"].as_str(), code), (Some("N2"), Some(1)));
    let table = rows(
        "DELETE FROM payment RETURNING id | --sql: it gives no rows, or writes
         SELECT 1; SELECT 2 | --sql
         SELECT absent FROM payment | no such column
         SELECT id AS kind FROM payment | no column newpay_order_no
         SELECT 'payment' AS kind, id AS newpay_order_no, app AS app_id, amount * 0.001 AS amount, \
           currency, 'success' AS result FROM payment | row 1, column amount",
    );
    for [sql, words] in table {
        let said = ask(sql);
        assert_eq!(said.status.code(), Some(1), "{sql}");
        assert!(text(&said.stderr).contains(words), "no {words:?}: {said:?}");
    }
    let left = sqlite3(&gateway, "SELECT count(*) FROM payment");
    assert_eq!(left, "3", "nothing was written");
}

fn wrong_usage_is_exit_2(store: StoreKind) {
    let archive = archive(store);
    for arguments in [
        &["--sql", "SELECT 1"][..],
        &["--verify"],
        &["--payments", "a", "--sql", "b", "--sql-database", "c"],
        &["--offset", "Laos"],
        &["--lines", "--json"],
    ] {
        let said = reconcile(&archive, arguments);
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {said:?}");
    }
}

on_both!(
    plain:
    books_that_agree_are_exit_0,
    each_difference_is_named_and_is_exit_1,
    a_day_has_the_hours_of_its_offset_and_an_app,
    columns_come_in_any_order_and_refunds_need_theirs,
    books_at_fault_name_line_and_column,
    a_query_reads_the_gateways_own_database,
    wrong_usage_is_exit_2,
);
