//! Inspection and the audit chain: the same rows give the same answers on both databases.

use callback_dispatcher::domain::{CallbackId, Day, Kind, ResultKey, Timestamp};
use callback_dispatcher::reconciliation::close_days;
use callback_dispatcher::store::{Filter, ShownState};

use super::Backend;
use crate::support::callback::insert;
use crate::support::store::StoreKind;

/// 2026-11-20T00:00:00Z
pub(super) const MIDNIGHT: i64 = 1_795_132_800_000;

/// One of each state, two origins, two apps; most with attempts.
pub(super) fn fill(backend: &Backend) {
    let at = |minutes: i64| MIDNIGHT + 60_000 * minutes;
    let rows = [
        ("a", "6", "one", "pending", 0, "NULL", 0),
        ("b", "6", "one", "delivered", 2, "'acknowledged'", 2),
        ("c", "7", "two", "exhausted", 4, "'timeout'", 4),
        ("d", "7", "two", "cancelled", 1, "'refused'", 1),
        ("e", "6", "two", "pending", 1, "'interrupted'", 1),
        ("f", "7", "one", "delivered", 1, "'acknowledged'", 1),
    ];
    for (n, (order, app, host, state, attempts, last, seq)) in rows.into_iter().enumerate() {
        let n = i64::try_from(n).expect("few");
        let created = at(n);
        let (next, finished) = match state {
            "pending" => ((created + 1000).to_string(), "NULL".to_owned()),
            _ => ("NULL".to_owned(), (created + 2000).to_string()),
        };
        let changes = [
            ("app_id", &*format!("'{app}'")),
            ("currency", "'USD'"),
            ("order_no", &format!("'o-{order}'")),
            ("subject", "'ກາເຟ'"),
            ("settlement_status", "2"),
            ("created_at", &created.to_string()),
            ("state", &format!("'{state}'")),
            ("attempts", &attempts.to_string()),
            ("next_attempt_at", &next),
            ("last_outcome", last),
            ("attempt_seq", &seq.to_string()),
            ("finished_at", &finished),
        ];
        let url = format!("https://{host}.example/cb");
        backend.sql(&insert(&url, &format!("np-{order}"), &changes));
        for attempt in 1..=seq {
            let outcome = if attempt == seq { last } else { "'refused'" };
            let id = n + 1;
            backend.sql(&format!(
                "INSERT INTO callback_attempt (callback_id, seq, started_at, duration_ms, outcome,
                   counted, http_status, detail, sent_timestamp, sign, key_id, body_sha256)
                 VALUES ({id}, {attempt}, {created} + {attempt}, 5, {outcome}, 1, 200, 'why',
                   {created}, 's{attempt}', 'k', 'd{attempt}')"
            ));
        }
    }
    let refund = [
        ("kind", "'refund'"),
        ("app_id", "'7'"),
        ("pay_method", "4"),
        ("order_no", "'o-a'"),
        ("newpay_refund_order_no", "'nr-1'"),
        ("refund_order_no", "'r-1'"),
        ("result", "'failure'"),
        ("settlement_status", "NULL"),
        ("created_at", "1795132900000"),
        ("next_attempt_at", "1795132900000"),
    ];
    backend.sql(&insert("https://two.example/cb", "np-a", &refund));
}

/// A queue on each database.
fn both() -> [Backend; 2] {
    [StoreKind::Sqlite, StoreKind::Postgres].map(Backend::new)
}

/// What each backend answers, as text; they must be the same.
fn alike(answers: &[String]) {
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].len() > 10, "{}", answers[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_give_the_same_answers() {
    let mut answers = Vec::new();
    for backend in both() {
        fill(&backend);
        let inspection = backend.inspection().await;
        let mut said = String::new();
        for order in ["1", "o-a", "np-a", "r-1", "nr-1", "o-x", "-7", "a\0b"] {
            let found = inspection.find(order).await.expect("found");
            said += &format!("find {order:?}: {found:#?}\n");
        }
        let filters = [
            Filter::default(),
            Filter {
                state: Some(ShownState::Pending),
                ..Filter::default()
            },
            Filter {
                state: Some(ShownState::Delivered),
                app_id: Some("6".to_owned()),
                ..Filter::default()
            },
            Filter {
                since: Some(Timestamp::from_millis(MIDNIGHT + 180_000)),
                outcome: Some("acknowledged".to_owned()),
                ..Filter::default()
            },
        ];
        for filter in filters {
            let page = inspection.list(Filter { limit: 3, ..filter }).await;
            said += &format!("list {:#?}\n", page.expect("listed"));
        }
        for state in ShownState::ALL {
            for app_id in [None, Some("7".to_owned())] {
                let filter = Filter {
                    state: Some(state),
                    app_id,
                    limit: 10,
                    ..Filter::default()
                };
                let page = inspection.list(filter).await.expect("listed");
                said += &format!("{state} {page:#?}\n");
            }
        }
        for id in 1..=8 {
            let row = inspection.callback(CallbackId(id)).await.expect("read");
            let attempts = inspection.attempts(CallbackId(id)).await.expect("read");
            said += &format!("{row:?} {attempts:#?}\n");
        }
        said += &format!("{:#?}\n", inspection.stats().await.expect("counted"));
        said += &format!("{:#?}\n", inspection.merchants().await.expect("counted"));
        answers.push(said);
    }
    alike(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_give_a_day_the_same_digest() {
    let mut answers = Vec::new();
    for backend in both() {
        fill(&backend);
        let (queue, chain) = (backend.queue().await, backend.audit_chain().await);
        let now = Timestamp::from_millis(MIDNIGHT + 2 * 86_400_000 + 7_200_000);
        close_days(chain.as_ref(), queue.as_ref(), now)
            .await
            .expect("closed");
        let records = chain.days().await.expect("read");
        assert!(
            records.iter().any(|record| record.counts.queued == 7),
            "{records:#?}"
        );
        let day = Day::of(Timestamp::from_millis(MIDNIGHT));
        let mut said = format!("{records:#?} {:?}", chain.newest_day().await);
        for as_of in [None, Some(day)] {
            let page = callback_dispatcher::store::AuditPage {
                after: CallbackId(1),
                to: chain.newest().await.expect("read"),
                as_of,
                limit: 4,
            };
            said += &format!("{:#?}", chain.page(page).await.expect("read"));
        }
        let key = |kind, number: &str| ResultKey {
            kind,
            number: number.to_owned(),
        };
        let keys = vec![
            key(Kind::Refund, "nr-1"),
            key(Kind::Payment, "np-x"),
            key(Kind::Payment, "np-c"),
            key(Kind::Payment, "nr-1"),
            key(Kind::Payment, "np-c"),
        ];
        let results = chain.results(keys).await.expect("read");
        let is_there: Vec<bool> = results.iter().map(Option::is_some).collect();
        assert_eq!(is_there, [true, false, true, false, true]);
        said += &format!("{results:?}");
        let open = "SELECT day, callback_id, state, seq FROM reconciliation_open ORDER BY 1, 2";
        said += &backend.sql(open);
        answers.push(said);
        queue.close().await;
    }
    alike(&answers);
}
