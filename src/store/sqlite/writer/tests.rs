use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::*;
use crate::store::Unobserved;
use crate::store::sqlite::connection::open_or_create;

/// A few milliseconds of work at most.
const LONG: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)
                    SELECT max(i) FROM n";

/// So long that a write that is asked for meanwhile meets the lock.
const LONGER: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000)
                      SELECT max(i) FROM n";

fn run(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).expect("it runs")
}

/// Works for a while; returns for how long, and since when it is done.
fn works_long(db: &Connection, (): &()) -> Result<(Duration, Stopwatch), StoreError> {
    let watch = Stopwatch::start();
    run(db, LONG);
    Ok((watch.elapsed(), Stopwatch::start()))
}

#[tokio::test]
async fn beside_another_writer_the_lock_is_left_alone_after_each_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let connection = open_or_create(&path).expect("a new queue");
    let rival = Connection::open(&path).expect("another connection");
    let writer =
        Writer::start(path, connection, Arc::new(Unobserved), Arc::default()).expect("it starts");
    let (holds, is_held) = mpsc::channel();
    let rival = std::thread::spawn(move || {
        rival.execute_batch("BEGIN IMMEDIATE").expect("it is free");
        holds.send(()).expect("the test waits for this");
        run(&rival, LONGER);
        rival.execute_batch("COMMIT").expect("nothing was written");
    });
    is_held.recv().expect("it takes the lock");

    let ((), first) = writer.write((), works_long).await;
    let (held, done) = first.expect("it waits for the lock");
    let (_, second) = writer.write(done, |_, done| Ok(done.elapsed())).await;

    let rest = second.expect("nobody holds the lock");
    let least = (held * 2).min(Duration::from_millis(10));
    assert!(rest >= least, "{rest:?} after {held:?}");
    rival.join().expect("it ends");
    writer.close().await;
}

#[tokio::test]
async fn a_request_that_is_sent_while_the_store_closes_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let connection = open_or_create(&path).expect("a new queue");
    let writer = Writer::start(path, connection, Arc::new(Unobserved), Arc::default());
    let writer = Arc::new(writer.expect("it starts"));
    let place = writer.requests.reserve().await.expect("it runs");
    let closing = Arc::clone(&writer);
    let closing = tokio::spawn(async move { closing.close().await });
    while !writer.requests.is_closed() {
        tokio::task::yield_now().await;
    }
    let (reply, answer) = oneshot::channel();
    place.send(Request::Read(Box::new(Call {
        payload: (),
        work: |_, ()| Ok(()),
        result: None,
        reply,
    })));
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
    let ((), result) = answer.expect("in time").expect("not dropped");
    assert_eq!(result, Err(StoreError::Closed));
    closing.await.expect("no panic");
}

/// Tells a test what the writer tells, in order.
#[derive(Debug)]
struct Told(Mutex<mpsc::Sender<&'static str>>);

impl Told {
    fn tell(&self, what: &'static str) {
        let teller = self.0.lock().expect("no test panics under it");
        teller.send(what).expect("the test listens");
    }
}

impl crate::store::CommitObserver for Told {
    fn wanted(&self) {
        self.tell("wanted");
    }

    fn began(&self) {
        self.tell("began");
    }

    fn failed(&self, is_refused: bool) {
        self.tell(if is_refused { "refused" } else { "failed" });
    }

    fn committed(&self, _duration: Duration, _writes: usize) {
        self.tell("committed");
    }
}

#[tokio::test]
async fn a_transaction_is_told_from_its_begin_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("queue.db");
    let connection = open_or_create(&path).expect("a new queue");
    let (teller, told) = mpsc::channel();
    let observer = Arc::new(Told(Mutex::new(teller)));
    let writer = Writer::start(path, connection, observer, Arc::default()).expect("it starts");
    let (_, done) = writer.write((), works_long).await;
    done.expect("committed");
    let refuse = |_: &Connection, (): &()| Err::<(), _>(StoreError::Refused("no".to_owned()));
    let (_, refused) = writer.write((), refuse).await;
    refused.expect_err("refused");
    let said: Vec<&str> = told.try_iter().collect();
    assert_eq!(
        said,
        ["wanted", "began", "committed", "wanted", "began", "refused"]
    );
}
