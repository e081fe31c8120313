//! A row that the gateway commits is sent at once, though nobody tells the daemon.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Stopwatch, SystemClock};
use callback_dispatcher::domain::CallbackId;
use callback_dispatcher::merchant::Answer;
use callback_dispatcher::service::Service;

use crate::support::store::Store;

use super::{Place, StoreKind, in_time, insert, on_both};

/// The gateway: one connection, one INSERT, one commit.
const GATEWAY: &str = "
import sqlite3, sys
queue = sqlite3.connect(sys.argv[1], timeout=10)
queue.execute(sys.argv[2])
queue.commit()
";

fn gateway(place: &Place, sql: &str) -> Child {
    match place.store() {
        Store::Sqlite(path) => {
            let mut command = Command::new("python3");
            command.args(["-c", GATEWAY]).arg(path).arg(sql);
            command.spawn().expect("python3")
        }
        Store::Postgres(database) => {
            let mut command = database.session();
            command.args(["-c", sql]);
            command.spawn().expect("psql")
        }
    }
}

fn finish(mut gateway: Child) {
    let status = gateway.wait().expect("its end");
    assert!(status.success(), "the gateway failed, as it says above");
}

async fn a_row_from_another_process_arrives_within_a_second(store: StoreKind) {
    let place = Place::on(store);
    let merchant = place.merchant_at(Answer::Ack, Arc::new(SystemClock)).await;
    let service = Service::start(place.configuration(&[]), Arc::new(SystemClock)).await;
    let service = service.expect("started");
    // The first wakes a daemon that has just started, the others one that is idle.
    for n in 1..=3 {
        let row = insert(&merchant.url("/callback"), &format!("order-{n}"), &[]);
        finish(gateway(&place, &row));
        let since_commit = Stopwatch::start();
        in_time("the POST", merchant.wait_for(n)).await;
        let took = since_commit.elapsed();
        assert!(took < Duration::from_secs(1), "callback {n} took {took:?}");
    }
    // Twenty commits in a row, each by itself.
    let rows: Vec<String> = (4..24)
        .map(|n| insert(&merchant.url("/callback"), &format!("order-{n}"), &[]))
        .collect();
    place.sql(&rows.concat());
    let since_commit = Stopwatch::start();
    in_time("twenty POSTs", merchant.wait_for(23)).await;
    let took = since_commit.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "twenty callbacks took {took:?}"
    );
    assert!(
        merchant
            .received()
            .iter()
            .all(|post| post.sign_holds == Some(true))
    );
    assert_eq!(service.stop().await, Ok(0));
    assert_eq!(merchant.count(), 23);
}

/// SQLite writes a commit to its log first and shows it to others when the disk has it: a look at
/// the first sign of a commit comes too early.
async fn a_notification_comes_when_the_row_can_be_seen(store: StoreKind) {
    let place = Place::on(store);
    let queue = place.open("this test").await.expect("opened");
    for newest in 0..10 {
        let row = insert("http://127.0.0.1:9/", &format!("order-{newest}"), &[]);
        // No poll here: only notifications lead to a look.
        let seen = async {
            loop {
                queue.changed().await;
                let arrivals = queue.arrivals(CallbackId(newest), 5).await;
                if arrivals.expect("readable").newest.is_some() {
                    return;
                }
            }
        };
        let gateway = gateway(&place, &row);
        in_time("a notification that shows the row", seen).await;
        finish(gateway);
    }
    queue.close().await;
}

on_both!(
    a_row_from_another_process_arrives_within_a_second,
    a_notification_comes_when_the_row_can_be_seen,
);
