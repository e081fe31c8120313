//! What may stand in the audit chain. That nothing of it changes: `reconcile/tampering.rs`.

use super::{CLIENTS, Queue, Statement, plain};

/// A good first record, with `columns` set otherwise.
fn record(changes: &[(&str, &str)]) -> Statement {
    let zeros = format!("'{}'", "0".repeat(64));
    let digest = format!("'{}'", "ab".repeat(32));
    let mut columns = vec![
        ("day", "'2026-11-24'"),
        ("previous", zeros.as_str()),
        ("first_id", "1"),
        ("last_id", "9"),
        ("next_id", "10"),
        ("queued", "9"),
        ("acknowledged", "4"),
        ("exhausted", "2"),
        ("cancelled", "1"),
        ("pending", "1"),
        ("unknown", "1"),
        ("closed_at", "1"),
        ("rows_sha256", digest.as_str()),
        ("digest", digest.as_str()),
    ];
    for (name, value) in &mut columns {
        if let Some((_, changed)) = changes.iter().find(|(column, _)| column == name) {
            *value = changed;
        }
    }
    let (names, values): (Vec<&str>, Vec<&str>) = columns.into_iter().unzip();
    let (names, values) = (names.join(", "), values.join(", "));
    plain(&format!(
        "INSERT INTO reconciliation ({names}) VALUES ({values})"
    ))
}

#[test]
fn a_day_record_is_whole_and_of_a_day() {
    let upper = format!("'{}'", "AB".repeat(32));
    let table = [
        (record(&[("day", "'2027-02-30'")]), "day_is_a_day"),
        (record(&[("day", "'24.11.2026'")]), "day_is_a_day"),
        (record(&[("day", "'2026-11-24 '")]), "day_is_a_day"),
        (
            record(&[("digest", "'ab'")]),
            "digests_are_64_hexadecimal_digits",
        ),
        (
            record(&[("rows_sha256", &upper)]),
            "digests_are_64_hexadecimal_digits",
        ),
        (record(&[("queued", "8")]), "each_callback_is_counted_once"),
        (record(&[("unknown", "2")]), "each_callback_is_counted_once"),
        (record(&[("previous", &upper)]), "goes behind the newest"),
        (
            plain("INSERT INTO reconciliation_open VALUES ('2026-11-24', 1, 'acknowledged', 1)"),
            "state_is_known",
        ),
    ];
    for client in CLIENTS {
        let queue = Queue::of(client);
        queue.refuses(client, &table);
        queue.takes(client, &[record(&[])]);
    }
}
