//! The planner is held to the indexes, whatever statistics say.

use rusqlite::Connection;
use tempfile::TempDir;

use super::{arrivals, claim, connection, record};
use crate::domain::{CallbackId, Kind, Timestamp};
use crate::store::command::{batch, scan};
use crate::store::reading::{DELIVERED_BETWEEN, FIRST_DELIVERED, list_statements, results_sql};
use crate::store::session::Dialect;
use crate::store::{Filter, Selectors, ShownState, StoredState, prune, uncount};

/// A queue in which a few rows were analysed, as an operator may do: to the planner every table
/// is as small as that.
fn analysed() -> (TempDir, Connection) {
    let folder = TempDir::new().expect("a temporary folder");
    let db = connection::open_or_create(&folder.path().join("queue.db")).expect("a queue");
    for n in 0..3 {
        db.execute(
            "INSERT INTO callback_queue (kind, callback_url, app_id, pay_method, amount, currency,
               newpay_order_no, order_no, result, settlement_status)
             VALUES ('payment', 'https://merchant.example/', '6', 1, '1', 'LAK', ?1, ?1, 'success', 1)",
            [n],
        )
        .expect("queued");
    }
    db.execute_batch("ANALYZE").expect("analysed");
    (folder, db)
}

fn plan(db: &Connection, sql: &str) -> String {
    let mut statement = db
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    let steps: Vec<String> = steps.collect::<Result<_, _>>().expect("a plan");
    steps.join("\n")
}

#[test]
fn nothing_on_a_callbacks_way_scans_the_table() {
    let (_folder, db) = analysed();
    let due = format!("SELECT id {}", claim::DUE);
    let restore_budget = Dialect::Sqlite.translate(uncount::RESTORE_BUDGET);
    let uncount = Dialect::Sqlite.translate(uncount::UNCOUNT);
    let between = Dialect::Sqlite.translate(DELIVERED_BETWEEN);
    let first = Dialect::Sqlite.translate(FIRST_DELIVERED);
    let outdated = Dialect::Sqlite.translate(prune::OUTDATED);
    let awaited = Dialect::Sqlite.translate(batch::AWAITED);
    let snapshots = Dialect::Sqlite.translate(batch::SNAPSHOTS);
    let acknowledged = Dialect::Sqlite.translate(batch::ACKNOWLEDGED);
    let [payments, refunds] = [Kind::Payment, Kind::Refund].map(results_sql);
    let payments = Dialect::Sqlite.translate(&payments);
    let refunds = Dialect::Sqlite.translate(&refunds);
    for (sql, by) in [
        (due.as_str(), "INDEX callback_due"),
        (claim::THEN_DUE, "INDEX callback_due"),
        (claim::LEASE, "INTEGER PRIMARY KEY"),
        (claim::RELEASE, "INTEGER PRIMARY KEY"),
        (record::MOVE_ON, "INTEGER PRIMARY KEY"),
        (record::LOG_INTERRUPTED, "INDEX callback_in_flight"),
        (record::RELEASE_INTERRUPTED, "INDEX callback_in_flight"),
        (&restore_budget, "INTEGER PRIMARY KEY"),
        (&uncount, "PRIMARY KEY (callback_id=? AND seq=?)"),
        (arrivals::ARRIVALS, "INTEGER PRIMARY KEY"),
        (
            arrivals::NEXT_ENDPOINT,
            "INDEX callback_due ((app_id,origin)>(?,?))",
        ),
        (arrivals::HAS_COMMANDS, "INDEX operator_command_open"),
        (&awaited, "INDEX operator_command_item_awaited"),
        (&snapshots, "SEARCH q USING INTEGER PRIMARY KEY"),
        (&acknowledged, "SEARCH a USING PRIMARY KEY (callback_id=?)"),
        (&outdated, "INDEX callback_finished"),
        (
            &between,
            "INDEX callback_finished (state=? AND finished_at>? AND finished_at<?)",
        ),
        (&first, "INDEX callback_finished (state=?"),
        (prune::REMOVE, "INTEGER PRIMARY KEY"),
        (
            &payments,
            "INDEX callback_one_per_payment (newpay_order_no=?)",
        ),
        (
            &refunds,
            "INDEX callback_one_per_refund (newpay_refund_order_no=?)",
        ),
    ] {
        let plan = plan(&db, sql);
        assert!(plan.contains(by), "{sql}\n{plan}");
        // The scan of an index that holds only what is in flight is as short as that.
        let scans = plan.lines().filter(|step| {
            step.contains("SCAN callback_queue") && !step.contains("callback_in_flight")
        });
        assert_eq!(scans.count(), 0, "{sql}\n{plan}");
    }
}

#[test]
fn a_search_goes_along_the_narrowest_index() {
    let (_folder, db) = analysed();
    let select = Selectors::default;
    for (selectors, by) in [
        (
            Selectors {
                callback_id: Some(CallbackId(1)),
                ..select()
            },
            "INTEGER PRIMARY KEY (rowid=?",
        ),
        (
            Selectors {
                order_number: Some("1".to_owned()),
                ..select()
            },
            "INDEX callback_one_per_payment",
        ),
        (
            Selectors {
                app_id: Some("6".to_owned()),
                ..select()
            },
            "INDEX callback_by_app",
        ),
        (
            Selectors {
                state: Some(StoredState::Exhausted),
                ..select()
            },
            "INDEX callback_finished",
        ),
        (
            Selectors {
                origin: Some("https://merchant.example".to_owned()),
                ..select()
            },
            "INTEGER PRIMARY KEY (rowid>?",
        ),
    ] {
        let (sql, _) = scan::candidates(&selectors);
        let plan = plan(&db, &Dialect::Sqlite.translate(&sql));
        assert!(plan.contains(by), "{selectors:?}\n{plan}");
    }
}

/// A page of a list must not cost by the depth or the age of the queue.
#[test]
fn a_list_goes_along_one_index_and_sorts_nothing() {
    let (_folder, db) = analysed();
    let filter = |state: Option<ShownState>, app: &str, origin: &str| Filter {
        state,
        app_id: Some(app.to_owned()).filter(|app| !app.is_empty()),
        origin: Some(origin.to_owned()).filter(|origin| !origin.is_empty()),
        limit: 50,
        ..Filter::default()
    };
    let since = |state| Filter {
        since: Some(Timestamp::from_millis(1)),
        ..filter(state, "", "")
    };
    let (pending, delivered) = (Some(ShownState::Pending), Some(ShownState::Delivered));
    let finished = "USING INDEX callback_finished (state=?";
    for (filter, by) in [
        (filter(pending, "", ""), "USING INDEX callback_due"),
        (
            filter(pending, "6", ""),
            "USING INDEX callback_due (app_id=?",
        ),
        (
            filter(pending, "6", "https://a.example"),
            "USING INDEX callback_due (app_id=? AND origin=?",
        ),
        (
            filter(Some(ShownState::InFlight), "6", ""),
            "USING INDEX callback_in_flight",
        ),
        (filter(delivered, "", ""), finished),
        (
            filter(delivered, "6", ""),
            "USING INDEX callback_by_app (app_id=?",
        ),
        (filter(Some(ShownState::Exhausted), "6", ""), finished),
        (filter(Some(ShownState::Cancelled), "", ""), finished),
        (since(None), "USING INDEX callback_by_created (created_at>?"),
        (
            since(delivered),
            "USING INDEX callback_by_created (created_at>?",
        ),
        (
            filter(None, "6", ""),
            "USING INDEX callback_by_app (app_id=?",
        ),
        (filter(None, "", ""), "SCAN callback_queue"),
    ] {
        for sql in list_statements(&filter) {
            let plan = plan(&db, &Dialect::Sqlite.translate(&sql));
            assert!(plan.contains(by), "{filter:?}\n{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{filter:?}\n{sql}\n{plan}");
        }
    }
}
