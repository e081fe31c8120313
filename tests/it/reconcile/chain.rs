//! The chain as it grows: what a day has, and that an auditor's own program agrees.

use std::time::Duration;

use callback_dispatcher::domain::{NO_PREVIOUS_DAY, Offset, Period};
use callback_dispatcher::reconciliation::report;

use super::{Archive, StoreKind, closing_time, days, on_both};

/// Whatever happens, and whatever happens later to what was left open: the auditor computes what
/// the database has, and every callback that is old enough is in the chain once.
async fn an_auditor_computes_the_same_whatever_happened(store: StoreKind) {
    for seed in 0..4 {
        let archive = Archive::on(store);
        let days = days(5);
        for day in &days {
            archive.live_through(*day, seed);
            archive.close(closing_time(*day)).await;
        }
        let audit = archive.audit();
        assert_eq!(audit.len(), 5, "seed {seed}");
        for record in audit {
            assert_eq!(record["is"], record["must_be"], "seed {seed}");
        }
        let found = archive.verify_at(closing_time(days[4])).await;
        assert_eq!((found.days, found.recomputed, found.faults), (5, 5, vec![]));
        // All of the closed days is in the chain; what is beyond tomorrow may be.
        let end = days[4].end().as_millis();
        let counts = format!(
            "SELECT count(*) FROM callback_queue WHERE created_at < {end}; \
             SELECT sum(queued) FROM reconciliation; SELECT count(*) FROM callback_queue;"
        );
        let counts = archive.sql(&counts).expect("readable");
        let counts = counts.lines().map(|line| line.parse().expect("a number"));
        let counts: Vec<u64> = counts.collect();
        assert!(
            counts.len() == 3 && counts.is_sorted(),
            "seed {seed}: {counts:?}"
        );
        // A time of next year does not make every closing begin at that callback.
        let held_up = "SELECT max(last_id - next_id) FROM reconciliation";
        let held_up: i64 = archive
            .sql(held_up)
            .expect("readable")
            .parse()
            .expect("a number");
        assert!(held_up < 60, "seed {seed}: {held_up}");
        let records = archive.audit_chain().await.days().await.expect("readable");
        let ids = records.iter().map(|record| record.last_id.0);
        assert!(ids.is_sorted(), "seed {seed}");
    }
}

async fn a_day_is_closed_once_an_hour_after_its_end(store: StoreKind) {
    let archive = Archive::on(store);
    let days = days(4);
    let early = closing_time(days[0]).before(Duration::from_millis(1));
    let first = archive.close(early).await;
    let closed: Vec<_> = first.iter().map(|record| record.day).collect();
    assert_eq!(
        closed,
        [days[0].previous()],
        "the chain begins with the day before"
    );
    assert_eq!(first[0].previous, NO_PREVIOUS_DAY);
    assert_eq!(archive.close(early).await, [], "it is closed already");
    // Three days without a daemon.
    let missed = archive.close(closing_time(days[2])).await;
    let closed: Vec<_> = missed.iter().map(|record| record.day).collect();
    assert_eq!(closed, days[..3]);
    assert_eq!(missed[0].previous, first[0].digest);
    assert_eq!(
        archive.close(closing_time(days[0])).await,
        [],
        "the clock went back"
    );
    assert_eq!(archive.faults().await, []);
}

/// A try that was cut off leaves notes of a day without a record; the next try begins again.
async fn a_closing_that_was_cut_off_is_done_again(store: StoreKind) {
    let archive = Archive::on(store);
    let day = days(1)[0];
    archive.live_through(day, 1);
    let leftover = format!("INSERT INTO reconciliation_open VALUES ('{day}', 1, 'pending', 7)");
    archive.sql(&leftover).expect("the day is open");
    archive.close(closing_time(day)).await;
    assert_eq!(
        archive.sql("SELECT count(*) FROM reconciliation_open WHERE seq = 7"),
        Ok("0".to_owned())
    );
    assert_eq!(archive.faults().await, []);
    assert_eq!(archive.audit()[0]["is"], archive.audit()[0]["must_be"]);
}

async fn rows_past_their_retention_are_checked_by_their_header(store: StoreKind) {
    let archive = Archive::four_days(store, 3).await;
    let old = "DELETE FROM callback_queue WHERE state <> 'pending' AND id <= 10";
    archive.sql(old).expect("finished rows may go");
    let later = closing_time(days(4)[3]).after(super::KEPT);
    let found = archive.verify_at(later).await;
    assert_eq!(found.faults, []);
    assert!(
        found.pruned > 0 && found.recomputed + found.pruned == 4,
        "{found:?}"
    );
    let too_early = archive.verify().await;
    assert!(
        !too_early.faults.is_empty(),
        "retention does not explain it yet"
    );
}

/// By time alone, whichever closed day has the callback, and none twice.
async fn a_report_counts_by_the_time_of_queueing(store: StoreKind) {
    for seed in 20..22 {
        let archive = Archive::four_days(store, seed).await;
        archive.live_through(days(5)[4], seed);
        let periods: Vec<_> = days(6)
            .into_iter()
            .flat_map(|day| {
                ["+00:00", "+07:00"].map(|text| (day, text.parse().expect("an offset")))
            })
            .map(|(day, offset): (_, Offset)| day.period(offset))
            .collect();
        let told =
            "id IN (SELECT callback_id FROM callback_attempt WHERE outcome = 'acknowledged')";
        let listed = match store {
            StoreKind::Sqlite => "group_concat(app_id || '=' || n)",
            StoreKind::Postgres => "string_agg(app_id || '=' || n, ',')",
        };
        let question = |period: &Period| {
            let within = format!(
                "FROM callback_queue WHERE created_at >= {} AND created_at < {}",
                period.start.as_millis(),
                period.end.as_millis()
            );
            format!(
                "SELECT count(*), count(*) FILTER (WHERE {told}), \
                   count(*) FILTER (WHERE state = 'exhausted' AND NOT {told}), \
                   count(*) FILTER (WHERE state = 'cancelled' AND NOT {told}), \
                   (SELECT {listed} FROM \
                     (SELECT app_id, count(*) AS n {within} GROUP BY app_id ORDER BY app_id) apps) {within};"
            )
        };
        let questions: String = periods.iter().map(question).collect();
        let counted = archive.sql(&questions).expect("readable");
        let mut ours = Vec::new();
        for period in periods {
            let report = report(&*archive.audit_chain().await, period, None)
                .await
                .expect("readable");
            let apps = report.apps.iter();
            let apps = apps.map(|app| format!("{}={}", app.app_id, app.counts.queued));
            let (apps, total) = (apps.collect::<Vec<_>>().join(","), report.total);
            let by_fate = [
                total.queued,
                total.acknowledged,
                total.exhausted,
                total.cancelled,
            ];
            let by_fate = by_fate.map(|count| count.to_string()).join("|");
            ours.push(format!("{by_fate}|{apps}"));
        }
        assert_eq!(counted, ours.join("\n"), "seed {seed}");
    }
}

on_both!(
    an_auditor_computes_the_same_whatever_happened,
    a_day_is_closed_once_an_hour_after_its_end,
    a_closing_that_was_cut_off_is_done_again,
    rows_past_their_retention_are_checked_by_their_header,
    a_report_counts_by_the_time_of_queueing,
);
