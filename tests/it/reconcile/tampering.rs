//! What is done to the record afterwards is refused, or found and named by its day.

use callback_dispatcher::domain::Day;
use callback_dispatcher::reconciliation::ChainFault;

use super::{Archive, StoreKind, closing_time, days, millis, on_both};

const SEED: u32 = 7;

/// A callback of the second day that was acknowledged when it was closed.
const ACKNOWLEDGED: &str = "(SELECT q.id FROM callback_queue q, reconciliation r \
    WHERE r.day = '2026-11-22' AND q.id BETWEEN r.first_id AND r.last_id \
      AND q.created_at >= SECOND_DAY \
      AND q.created_at < THIRD_DAY AND q.state = 'delivered' \
      AND q.id NOT IN (SELECT callback_id FROM reconciliation_open WHERE day = r.day) LIMIT 1)";

/// One that was not, and had an attempt.
const LEFT_OPEN: &str =
    "(SELECT min(callback_id) FROM reconciliation_open WHERE day = '2026-11-22' AND seq > 0)";

struct Forgery {
    sql: String,
    /// Whether the triggers let nobody do it.
    is_refused: bool,
    day: Day,
    fault: ChainFault,
}

fn forgeries() -> Vec<Forgery> {
    let days = days(3);
    let on = |day: usize, fault, is_refused, sql: &str| Forgery {
        sql: sql
            .replace("ACKNOWLEDGED", ACKNOWLEDGED)
            .replace("LEFT_OPEN", LEFT_OPEN)
            .replace("FIRST_DAY", &millis("2026-11-21", 0).to_string())
            .replace("SECOND_DAY", &millis("2026-11-22", 0).to_string())
            .replace("THIRD_DAY", &millis("2026-11-23", 0).to_string()),
        is_refused,
        day: days[day - 1],
        fault,
    };
    vec![
        on(
            2,
            ChainFault::Altered,
            true,
            "UPDATE callback_queue SET amount = '999' WHERE id = ACKNOWLEDGED",
        ),
        on(
            2,
            ChainFault::Altered,
            true,
            "UPDATE callback_queue SET trans_info = trans_info || '!' WHERE id = LEFT_OPEN",
        ),
        on(
            2,
            ChainFault::Altered,
            true,
            "UPDATE callback_attempt SET sign = 'forged' WHERE callback_id = ACKNOWLEDGED",
        ),
        on(
            2,
            ChainFault::Altered,
            false,
            "DELETE FROM callback_attempt WHERE callback_id = ACKNOWLEDGED",
        ),
        on(
            2,
            ChainFault::Altered,
            true,
            "UPDATE reconciliation_open SET seq = seq + 100 \
             WHERE day = '2026-11-22' AND callback_id = LEFT_OPEN",
        ),
        on(
            2,
            ChainFault::Altered,
            true,
            "DELETE FROM reconciliation_open \
             WHERE day = '2026-11-22' AND callback_id = LEFT_OPEN",
        ),
        on(
            2,
            ChainFault::Missing { callbacks: 1 },
            false,
            "DELETE FROM callback_queue WHERE id = ACKNOWLEDGED",
        ),
        on(
            1,
            ChainFault::Added { callbacks: 1 },
            false,
            "INSERT INTO callback_queue (id, kind, callback_url, app_id, pay_method, amount, \
               currency, newpay_order_no, order_no, result, settlement_status, created_at) \
             VALUES (-1, 'payment', 'https://merchant.example/', '6', 1, '1', 'LAK', 'forged', \
               'forged', 'success', 1, FIRST_DAY)",
        ),
        on(
            2,
            ChainFault::Header,
            true,
            "UPDATE reconciliation SET acknowledged = acknowledged + 1, queued = queued + 1 \
             WHERE day = '2026-11-22'",
        ),
        on(
            2,
            ChainFault::Broken,
            true,
            "UPDATE reconciliation SET previous = digest WHERE day = '2026-11-22'",
        ),
        on(
            3,
            ChainFault::Broken,
            true,
            "DELETE FROM reconciliation WHERE day = '2026-11-22'",
        ),
    ]
}

async fn each_forgery_is_found_on_its_day(store: StoreKind) {
    let guarded = Archive::four_days(store, SEED).await;
    assert_eq!(guarded.faults().await, []);
    let forgeries = forgeries();
    for forgery in forgeries.iter().filter(|forgery| forgery.is_refused) {
        guarded.sql(&forgery.sql).expect_err(&forgery.sql);
    }
    assert_eq!(guarded.faults().await, [], "all of it was refused");
    guarded.disarm();
    for Forgery {
        sql, day, fault, ..
    } in forgeries
    {
        let archive = guarded.copy();
        archive.sql(&sql).expect("nothing is in the way");
        let found = archive.faults().await;
        let first = found.first().unwrap_or_else(|| panic!("unnoticed: {sql}"));
        assert_eq!((first.day, first.fault), (day, fault), "{sql}");
    }
}

/// Neither a day between others nor one that goes on from elsewhere can be put in.
async fn a_day_goes_after_the_newest_only(store: StoreKind) {
    let archive = Archive::four_days(store, SEED).await;
    // What SQLite alone has must not get around it.
    let insert_into = match store {
        StoreKind::Sqlite => "INSERT OR REPLACE INTO",
        StoreKind::Postgres => "INSERT INTO",
    };
    for changed in [
        "'2026-11-22', digest",
        "'2026-11-30', rows_sha256",
        "'2027-02-30', digest",
    ] {
        let insert = format!(
            "{insert_into} reconciliation \
             SELECT {changed}, first_id, last_id, next_id, created_from, created_to, queued, acknowledged, \
               exhausted, cancelled, pending, unknown, closed_at, rows_sha256, digest \
             FROM reconciliation ORDER BY day DESC LIMIT 1"
        );
        archive.sql(&insert).expect_err(changed);
    }
    let late = format!("{insert_into} reconciliation_open VALUES ('2026-11-22', 1, 'pending', 0)");
    archive.sql(&late).expect_err("the day is closed");
    assert_eq!(archive.faults().await, []);
}

/// The log says where the attempts went, and the day holds the URL that the gateway wrote.
async fn a_resend_to_another_url_leaves_the_chain_whole(store: StoreKind) {
    let archive = Archive::four_days(store, SEED).await;
    let resend = "INSERT INTO operator_command (action, callback_id, to_url, include_acknowledged, actor, reason) \
                  SELECT 'resend', callback, 'https://new.example/', 1, 'noy', 'r' FROM (SELECT CALLBACK AS callback) c";
    let [acknowledged, open] = [ACKNOWLEDGED, LEFT_OPEN].map(|callback| {
        let callback = (callback.replace("SECOND_DAY", &millis("2026-11-22", 0).to_string()))
            .replace("THIRD_DAY", &millis("2026-11-23", 0).to_string());
        resend.replace("CALLBACK", &callback)
    });
    archive.sql(&acknowledged).expect("asked for");
    archive.sql(&open).expect("asked for");
    let queue = archive.store.open("this test").await.expect("free");
    let now = closing_time(days(4)[3]);
    queue
        .carry_out(now, &|_| Ok(()))
        .await
        .expect("carried out");
    queue.close().await;
    let attempts = "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome, counted, to_url) \
                    SELECT id, attempt_seq + 1, 1, 1, 'acknowledged', 1, to_url FROM callback_queue \
                    WHERE to_url IS NOT NULL";
    archive.sql(attempts).expect("logged");
    let elsewhere = "SELECT count(*) FROM callback_attempt WHERE to_url = 'https://new.example/'";
    assert_eq!(archive.sql(elsewhere), Ok("2".to_owned()));
    assert_eq!(archive.faults().await, []);
}

on_both!(
    a_resend_to_another_url_leaves_the_chain_whole,
    each_forgery_is_found_on_its_day,
    a_day_goes_after_the_newest_only,
);
