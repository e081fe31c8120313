//! A row that breaks a rule is refused at INSERT, and the error names the rule.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CLIENTS, Client, FILE_CLIENTS, Queue, Row};

const URL_FORM: &str = "callback_url_is_absolute_http_or_https";
const URL_CHARACTERS: &str = "callback_url_has_no_space_or_control_character";
const AMOUNT: &str = "amount_is_decimal_with_at_most_two_decimals";
const SETTLEMENT: &str = "settlement_status_of_a_payment_is_1_or_2_of_a_refund_null";

/// A bad row and the words that must be in the error.
type Case = (Row, String);

fn payment(column: &'static str, value: Value, rule: &str) -> Case {
    (Row::payment().with(column, value), rule.to_owned())
}

fn refund(column: &'static str, value: Value, rule: &str) -> Case {
    (Row::refund().with(column, value), rule.to_owned())
}

/// By each database, with the same words.
fn assert_refused(cases: &[Case]) {
    for client in CLIENTS {
        assert_refused_by(client, cases);
    }
}

fn assert_refused_by(client: Client, cases: &[Case]) {
    let queue = Queue::of(client);
    let table: Vec<_> = cases
        .iter()
        .map(|(row, rule)| match client {
            // It has no NUL in any text, and says so before it looks at rules.
            Client::Psql if has_nul(row) => (row.insert(), "null character not permitted"),
            _ => (row.insert(), rule.as_str()),
        })
        .collect();
    queue.refuses(client, &table);
    assert_eq!(queue.value("SELECT count(*) FROM callback_queue"), 0);
}

fn has_nul(row: &Row) -> bool {
    let texts = row.0.iter().filter_map(|(_, value)| value.as_str());
    texts.into_iter().any(|text| text.contains('\0'))
}

#[test]
fn every_word_is_one_of_its_list() {
    let mut cases = Vec::new();
    for bad in "|Payment|PAYMENT|transfer|payment |payment\0".split('|') {
        cases.push(payment("kind", json!(bad), "kind_is_payment_or_refund"));
    }
    for bad in ["", "lak", "LAK ", "EUR", "LAK\0"] {
        cases.push(payment("currency", json!(bad), "currency_is_LAK_or_USD"));
    }
    for bad in ["", "Success", "SUCCESS", "0", "1", "success\0"] {
        cases.push(payment(
            "result",
            json!(bad),
            "result_is_success_or_failure",
        ));
    }
    for bad in [0, 2, 3, 5, -1, i64::MAX] {
        cases.push(payment("pay_method", json!(bad), "pay_method_is_1_or_4"));
    }
    for bad in [0, 3, -1] {
        cases.push(payment("settlement_status", json!(bad), SETTLEMENT));
    }
    assert_refused(&cases);
}

#[test]
fn numbers_of_orders_are_not_empty() {
    let mut cases = vec![
        payment("app_id", json!(""), "app_id_is_not_empty"),
        payment("newpay_order_no", json!(""), "newpay_order_no_is_not_empty"),
        payment("order_no", json!(""), "order_no_is_not_empty"),
    ];
    for column in ["newpay_refund_order_no", "refund_order_no"] {
        let rule = format!("{column}_belongs_to_a_refund");
        // A CHECK that comes out as NULL would let these in.
        cases.push(refund(column, Value::Null, &rule));
        cases.push(refund(column, json!(""), &rule));
        cases.push(payment(column, json!("1"), &rule));
        cases.push(payment(column, json!(""), &rule));
    }
    assert_refused(&cases);
}

#[test]
fn texts_are_at_most_16_kib() {
    let payments = [
        "app_id",
        "newpay_order_no",
        "order_no",
        "subject",
        "extra",
        "trans_info",
    ];
    let refunds = ["newpay_refund_order_no", "refund_order_no"];
    // 5,462 letters, but 16,386 bytes.
    let long = json!("ສ".repeat(5_462));
    let rule = |column: &str| format!("{column}_is_at_most_16384_bytes");
    let mut cases: Vec<_> = (payments.iter())
        .map(|column| payment(column, long.clone(), &rule(column)))
        .collect();
    cases.extend(refunds.map(|column| refund(column, long.clone(), &rule(column))));
    let digits = json!("1".repeat(16_385));
    cases.push(payment("amount", digits, &rule("amount")));
    assert_refused(&cases);
    for client in CLIENTS {
        let queue = Queue::of(client);
        let longest = Row::payment().with("extra", json!("x".repeat(16_384)));
        queue.takes(client, &[longest.insert()]);
        assert_eq!(
            queue.value("SELECT length(extra) FROM callback_queue"),
            16_384
        );
    }
}

#[test]
fn payment_and_refund_have_their_own_columns() {
    let both = "a_refund_has_no_subject_or_extra";
    assert_refused(&[
        payment("settlement_status", Value::Null, SETTLEMENT),
        (
            Row::payment().without("settlement_status"),
            SETTLEMENT.to_owned(),
        ),
        refund("settlement_status", json!(1), SETTLEMENT),
        refund("settlement_status", json!(2), SETTLEMENT),
        refund("subject", json!("1"), both),
        refund("extra", json!("1"), both),
    ]);
}

#[test]
fn no_null_stands_for_a_value() {
    let required: Vec<&str> =
        "kind callback_url app_id pay_method amount currency newpay_order_no order_no result"
            .split(' ')
            .collect();
    let defaulted = "subject extra trans_info created_at state attempts".split(' ');
    for client in CLIENTS {
        let mut cases = Vec::new();
        for column in required.iter().copied() {
            let rule = client.null_in("callback_queue", column);
            cases.push((Row::payment().without(column), rule));
        }
        for column in required.iter().copied().chain(defaulted.clone()) {
            let rule = client.null_in("callback_queue", column);
            cases.push((Row::payment().with(column, Value::Null), rule.clone()));
            cases.push((Row::refund().with(column, Value::Null), rule));
        }
        assert_refused_by(client, &cases);
    }
}

const NUMBERS: [&str; 3] = ["pay_method", "settlement_status", "created_at"];

#[test]
fn types_are_kept() {
    let cannot = |from: &str, column: &str, to: &str| {
        format!("cannot store {from} value in {to} column callback_queue.{column}")
    };
    let mut cases = Vec::new();
    for column in NUMBERS {
        for (value, kind) in [(json!("one"), "TEXT"), (json!(1.5), "REAL")] {
            cases.push(payment(column, value, &cannot(kind, column, "INTEGER")));
        }
    }
    let texts = "kind callback_url app_id amount currency newpay_order_no order_no subject extra \
                 result trans_info";
    for column in texts.split(' ') {
        // The bytes of "1": a BLOB that looks like the text is still none.
        let blob = json!({"blob": "31"});
        cases.push(payment(column, blob, &cannot("BLOB", column, "TEXT")));
    }
    for client in FILE_CLIENTS {
        assert_refused_by(client, &cases);
    }
}

/// PostgreSQL refuses a text for a number in words of its own. It rounds a literal with a fraction,
/// and spells out bytes where a text is wanted, which no schema can forbid.
#[test]
fn types_are_kept_on_postgresql() {
    let rule = "invalid input syntax for type bigint: \"one\"";
    let cases = NUMBERS.map(|column| payment(column, json!("one"), rule));
    assert_refused_by(Client::Psql, &cases);
}

#[test]
fn an_amount_is_decimal_text() {
    let bad = [
        "", ".", "1.", ".5", "1.234", "1.2.3", "1..2", "-1", "+1", "1,00", "1 000", " 1", "1 ",
        "1\n", "1e3", "0x1", "NaN", "٣", "１", "1\0", "1\0.5", "1.5\0", "\u{0}1",
    ];
    let cases: Vec<_> = bad
        .into_iter()
        .map(|amount| payment("amount", json!(amount), AMOUNT))
        .collect();
    assert_refused(&cases);
}

#[test]
fn a_url_is_absolute_and_http() {
    let bad = r"| merchant.example/notify | //merchant.example/ | /notify | ftp://merchant.example/
        | file:///etc/passwd | https:merchant.example | https:/merchant.example | https:// | http://
        | https:///notify | https://?q=1 | https://#f | https://\merchant.example
        | https:\\merchant.example | https://:443/ | https://@merchant.example/
        | xhttps://merchant.example/ | httpss://merchant.example/";
    let mut cases: Vec<_> = bad
        .split('|')
        .map(|url| payment("callback_url", json!(url.trim()), URL_FORM))
        .collect();
    for character in ['\0', '\u{1}', '\t', '\n', '\r', '\u{1f}', ' ', '\u{7f}'] {
        for url in [
            format!("https://merchant.example/a{character}b"),
            format!("https://merchant.example/{character}"),
            format!("https://merch{character}ant.example/"),
        ] {
            cases.push(payment("callback_url", json!(url), URL_CHARACTERS));
        }
    }
    let long = format!("https://merchant.example/{}", "a".repeat(2048 + 1 - 25));
    assert_eq!(long.len(), 2049);
    let rule = "callback_url_is_at_most_2048_characters";
    cases.push(payment("callback_url", json!(long), rule));
    assert_refused(&cases);
}

#[test]
fn the_dispatchers_columns_fit_together() {
    let schedule = "next_attempt_at_stands_while_pending";
    let finished = "finished_at_stands_in_a_final_state";
    let lease = "a_lease_is_whole_and_of_a_pending_callback";
    let delivered = Row::payment()
        .with("state", json!("delivered"))
        .with("next_attempt_at", Value::Null)
        .with("finished_at", json!(1));
    let leased = delivered
        .clone()
        .with("leased_until", json!(2))
        .with("leased_at", json!(1))
        .with("lease_token", json!(7));
    assert_refused(&[
        payment("state", json!("in_flight"), "state_is_known"),
        payment("state", json!(""), "state_is_known"),
        payment("attempts", json!(-1), "attempts_is_not_negative"),
        payment("next_attempt_at", Value::Null, schedule),
        (
            delivered.clone().with("next_attempt_at", json!(1)),
            schedule.to_owned(),
        ),
        payment("finished_at", json!(1), finished),
        (
            delivered.with("finished_at", Value::Null),
            finished.to_owned(),
        ),
        payment("leased_until", json!(1), lease),
        payment("leased_at", json!(1), lease),
        payment("lease_token", json!(1), lease),
        (leased, lease.to_owned()),
        payment("id", json!(0), "id_is_positive"),
        payment("id", json!(-1), "id_is_positive"),
    ]);
}

#[test]
fn every_named_rule_has_a_case_here() {
    let here = include_str!("rules.rs");
    for rule in rules_of(super::SCHEMA) {
        // Those of callback_attempt are in guards.rs, those of commands in commands.rs.
        let covered = here.contains(rule)
            || rule.ends_with("order_no_belongs_to_a_refund")
            || include_str!("guards.rs").contains(rule)
            || include_str!("commands.rs").contains(rule)
            || include_str!("audit_chain.rs").contains(rule)
            || include_str!("marks.rs").contains(rule);
        assert!(covered, "no test for the constraint {rule}");
    }
}

/// The names of what a script says of its tables; those of PostgreSQL's alone are in `database.rs`.
fn rules_of(script: &str) -> BTreeSet<&str> {
    let lines = script.lines().map(str::trim);
    let rules = lines.filter_map(|line| line.strip_prefix("CONSTRAINT "));
    let names = rules.filter_map(|rule| rule.split(' ').next());
    names.map(|name| name.trim_matches('"')).collect()
}

#[test]
fn both_databases_have_the_same_rules() {
    let mut of_postgres = rules_of(super::POSTGRES_SCHEMA);
    assert!(of_postgres.remove("a_day_has_one_successor"));
    assert_eq!(of_postgres, rules_of(super::SCHEMA));
}
