//! Several dispatchers of one queue, which only PostgreSQL has.

use std::future::pending;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use callback_dispatcher::clock::{Clock as _, Stopwatch, SystemClock};
use callback_dispatcher::delivery::DeliveryPolicy;
use callback_dispatcher::delivery::transport::{Post, PostReport};
use callback_dispatcher::domain::{Next, Outcome};
use callback_dispatcher::merchant::{Answer, Script};
use callback_dispatcher::store::postgres::FleetTiming;
use callback_dispatcher::store::{Recorded, ShownState};

use super::dispatcher::{Running, acknowledged, policy};
use super::{Daemon, Place, in_time, insert, payment, until};
use crate::support::attempt::{claim_of, record};
use crate::support::postgres::Server;
use crate::support::store::{Store, StoreKind};

const NOBODY: &str = "http://127.0.0.1:9/callback";

/// Takes its time, acknowledges everything, and counts the POSTs of all dispatchers that were under
/// way at once.
#[derive(Clone, Debug, Default)]
struct Watched {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Those of one dispatcher.
    own: Arc<AtomicUsize>,
}

#[async_trait]
impl Post for Watched {
    async fn post(&self, _: &str, _: Vec<u8>) -> PostReport {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.own.fetch_add(1, Ordering::SeqCst);
        let _ = tokio::time::timeout(Duration::from_millis(20), pending::<()>()).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        acknowledged()
    }
}

/// One of several dispatchers, and how many POSTs it has made.
struct Member {
    running: Running,
    posts: Arc<AtomicUsize>,
}

impl Member {
    async fn start(place: &Place, limit: usize, all: &Watched) -> Self {
        let post = Watched {
            own: Arc::default(),
            ..all.clone()
        };
        let posts = Arc::clone(&post.own);
        let limited = DeliveryPolicy {
            in_flight_per_origin_max: limit,
            in_flight_max: 32,
            ..policy(place, post)
        };
        let running = Running::start(place, Arc::new(SystemClock), limited).await;
        Self { running, posts }
    }

    async fn enqueue(&self, name: &str, count: usize) {
        let callbacks = (0..count).map(|n| payment(NOBODY, &format!("{name}-{n}")));
        let queue = &self.running.queue;
        let queued = queue.enqueue(callbacks.collect(), SystemClock.now());
        queued.await.expect("queued");
    }

    async fn until_of(&self, count: usize) {
        let what = format!("it is one of {count}");
        let queue = &self.running.queue;
        until(&what, async || queue.fleet_position().of == count).await;
    }
}

/// Two dispatchers work off a backlog; then one of them leaves. Returns how many POSTs there were
/// at once, of the two and of the one that has stayed.
async fn most_at_once(limit: usize) -> (usize, usize) {
    const BACKLOG: usize = 200;
    let place = Place::on(StoreKind::Postgres);
    let all = Watched::default();
    let mut one = Member::start(&place, limit, &all).await;
    let mut other = Member::start(&place, limit, &all).await;
    one.until_of(2).await;
    other.until_of(2).await;
    one.enqueue("together", BACKLOG).await;
    let mut finished = 0;
    until("the backlog is sent", async || {
        finished += one.running.finished_so_far() + other.running.finished_so_far();
        finished == BACKLOG
    })
    .await;
    let together = all.most.swap(0, Ordering::SeqCst);
    for posts in [&one.posts, &other.posts] {
        let share = posts.load(Ordering::SeqCst);
        assert!(share >= BACKLOG / 8, "one had {share} of {BACKLOG}");
    }
    other.running.stop().await;
    one.until_of(1).await;
    one.enqueue("alone", BACKLOG / 2).await;
    for _ in 0..BACKLOG / 2 {
        one.running.next().await;
    }
    one.running.stop().await;
    let sent = "SELECT count(*), count(DISTINCT callback_id) FROM callback_attempt";
    assert_eq!(place.sql(sent), "300|300", "nothing is sent twice");
    (together, all.most.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_the_work_and_the_limit_by_merchant() {
    assert_eq!(most_at_once(6).await, (6, 6));
}

/// A share is never less than one, or there would be a dispatcher that can't send what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_is_one_for_each_dispatcher() {
    let (together, alone) = most_at_once(1).await;
    assert!(together <= 2, "{together} at once");
    assert_eq!(alone, 1);
}

/// What was under way is recorded afterwards, and what comes afterwards is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_on_when_its_server_is_back() {
    let server = Server::own();
    let place = Place::of(server.create_database());
    let daemon = Daemon::start(&place, &[]).await;
    let script = Script::each(|post| match post.text("newpayOrderNo") {
        Some("under-way") => Answer::Slow(Duration::from_secs(3)),
        _ => Answer::Ack,
    });
    let merchant = daemon.merchant(&place, script).await;
    let url = merchant.url("/callback");
    daemon.queue(&url, "under-way").await;
    in_time("the POST", merchant.wait_for(1)).await;
    server.restart();
    place.sql(&insert(&url, "afterwards", &[("next_attempt_at", "1")]));
    let delivered = "SELECT count(*) FROM callback_queue WHERE state = 'delivered'";
    until("both are delivered", async || place.sql(delivered) == "2").await;
    assert_eq!(merchant.count(), 2);
    assert_eq!(daemon.outcomes("under-way").await, ["acknowledged"]);
    daemon.stop().await;
}

/// The other dispatcher takes over once it has itself been in touch with the server for as long as a lease stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_dispatcher_is_taken_over_and_changes_nothing_afterwards() {
    let place = Place::on(StoreKind::Postgres);
    let silent = FleetTiming {
        heartbeat: Duration::from_secs(3600),
        ..FleetTiming::default()
    };
    let first = place.store().open_with("the first", silent).await;
    let first = first.expect("opened");
    let merchant = place.merchant(Answer::Ack).await;
    let url = merchant.url("/callback");
    place.sql(&insert(&url, "order", &[("next_attempt_at", "1")]));
    let now = SystemClock.now();
    let origin = url.trim_end_matches("/callback");
    let mut claimed = claim_of(&*first, origin, 1, now).await;
    let claimed = claimed.pop().expect("it is due");
    let daemon = Daemon::start(&place, &[]).await;
    let since_start = Stopwatch::start();
    until("it is delivered", async || {
        daemon.callback("order").await.state == ShownState::Delivered
    })
    .await;
    let took = since_start.elapsed();
    assert!(took > Duration::from_secs(14), "taken over after {took:?}");
    let (outcome, next) = (Outcome::Acknowledged, Next::Delivered);
    let late = record(&*first, claimed, outcome, next, now).await;
    assert_eq!(late, Recorded::LeaseLost);
    let log = "SELECT seq, outcome, counted FROM callback_attempt ORDER BY seq";
    assert_eq!(place.sql(log), "1|interrupted|0\n2|acknowledged|1");
    let row = "SELECT state, attempts, attempt_seq, lease_token IS NULL FROM callback_queue";
    assert_eq!(place.sql(row), "delivered|1|2|t");
    assert_eq!(merchant.count(), 1);
    daemon.stop().await;
    first.close().await;
}

/// However long an attempt takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_a_dispatcher_that_lives_is_not_taken_over() {
    let place = Place::on(StoreKind::Postgres);
    let limits = [("DELIVERY__TIMEOUT", "60s")];
    let holder = Daemon::start(&place, &limits).await;
    let slow = Answer::Slow(Duration::from_secs(20));
    let merchant = holder.merchant(&place, slow).await;
    let url = merchant.url("/callback");
    holder.queue(&url, "slow").await;
    in_time("the POST", merchant.wait_for(1)).await;
    let other = Daemon::start(&place, &limits).await;
    holder.until_state("slow", ShownState::Delivered).await;
    assert_eq!(holder.outcomes("slow").await, ["acknowledged"]);
    assert_eq!(merchant.count(), 1);
    holder.stop().await;
    other.stop().await;
}

/// A session of the gateway in the middle of a transaction.
struct Transaction(Child);

impl Transaction {
    fn begin(place: &Place, sql: &str) -> Self {
        let Store::Postgres(database) = place.store() else {
            panic!("a database is needed");
        };
        let mut child = database
            .session()
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let stdin = child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "BEGIN; {sql} SELECT 'so far';").expect("psql reads");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("psql speaks");
        assert_eq!(line, "so far\n");
        Self(child)
    }

    fn commit(mut self) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "COMMIT;").expect("psql reads");
        let status = self.0.wait_with_output().expect("psql ends").status;
        assert!(status.success(), "psql failed, as it says above");
    }
}

/// The notice of a commit is what finds it: the next look at everything would be half a minute away.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_committed_late_under_a_lower_id_is_delivered() {
    let place = Place::on(StoreKind::Postgres);
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    let url = merchant.url("/callback");
    let row = |order| insert(&url, order, &[("next_attempt_at", "1")]);
    let late = Transaction::begin(&place, &row("late"));
    place.sql(&row("early"));
    daemon.until_state("early", ShownState::Delivered).await;
    late.commit();
    let since_commit = Stopwatch::start();
    daemon.until_state("late", ShownState::Delivered).await;
    let took = since_commit.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(daemon.callback("late").await.id < daemon.callback("early").await.id);
    daemon.stop().await;
}

/// As behind a pooler that passes no notices on: the newest id tells that there is something.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_notice_tells_of_is_found_by_polling() {
    let place = Place::on(StoreKind::Postgres);
    place.sql("ALTER TABLE callback_queue DISABLE TRIGGER callback_queue_notify");
    let daemon = Daemon::start(&place, &[]).await;
    let merchant = daemon.merchant(&place, Answer::Ack).await;
    let url = merchant.url("/callback");
    for order in ["first", "second"] {
        place.sql(&insert(&url, order, &[("next_attempt_at", "1")]));
        let since_commit = Stopwatch::start();
        daemon.until_state(order, ShownState::Delivered).await;
        let took = since_commit.elapsed();
        assert!(took < Duration::from_secs(5), "{order} took {took:?}");
    }
    daemon.stop().await;
}
