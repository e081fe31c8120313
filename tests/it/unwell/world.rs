//! A database on a server of its own, a merchant with a journal, and dispatchers as processes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::{Clock as _, SystemClock};
use callback_dispatcher::domain::Timestamp;
use tokio_postgres::NoTls;

use crate::campaign::merchants::{Behaviour, Journal, Merchant};
use crate::support::callback::insert_rows;
use crate::support::place::Place;
use crate::support::postgres::Server;
use crate::support::process::Process;
use crate::support::waiting::{holds_within, until};

/// Attempts at the same moment, of all dispatchers together.
pub(super) const IN_FLIGHT_MAX: usize = 16;

/// How long the merchant takes for its answer.
const ANSWER: Duration = Duration::from_millis(40);

/// See the module.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) place: Place,
    pub(super) journal: Arc<Journal>,
    merchant: Merchant,
}

impl World {
    /// With an empty queue.
    pub(super) async fn new() -> Self {
        Self::with(Behaviour::Slow(ANSWER), "").await
    }

    /// The same with a merchant that refuses, and one retry after a time.
    pub(super) async fn refusing(retry: &str) -> Self {
        let schedule = format!("[retry]\nschedule = [\"{retry}\"]\n");
        Self::with(Behaviour::Refusing, &schedule).await
    }

    async fn with(behaviour: Behaviour, settings: &str) -> Self {
        let journal = Arc::<Journal>::default();
        let merchant = Merchant::start(behaviour, Arc::clone(&journal)).await;
        let server = Server::own();
        let place = Place::of(server.create_database());
        place.write_settings(&format!(
            "{settings}[delivery]\nmax_in_flight_per_merchant = {IN_FLIGHT_MAX}\n\
             [egress]\nallow_http = true\nallow_networks = [\"127.0.0.1\"]\n[admin]\nlisten = \"\"\n"
        ));
        Self {
            server,
            place,
            journal,
            merchant,
        }
    }

    /// Another session.
    pub(super) async fn rival(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.place.store().url(), NoTls).await;
        let (rival, connection) = connected.expect("the server runs");
        tokio::spawn(connection);
        rival
    }

    /// This host's time.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// Queues `rows` callbacks.
    pub(super) fn queue(&self, rows: usize) {
        self.place.sql(&insert_rows(rows, &self.merchant.url, &[]));
    }

    /// A dispatcher, which dispatches when this returns.
    pub(super) async fn dispatcher(&self) -> Process {
        self.place.run().ready().await
    }

    /// The same through a proxy at `port`.
    pub(super) async fn dispatcher_by(&self, port: u16) -> Process {
        self.dispatcher_at(&self.url_by(&format!("127.0.0.1:{port}")))
            .await
    }

    /// The same with another `store.url`.
    pub(super) async fn dispatcher_at(&self, url: &str) -> Process {
        let mut command = self.place.command(&["run"]);
        command.env("DISPATCHER__STORE__URL", url);
        Process::spawn(command).ready().await
    }

    /// The database's URL by other hosts.
    pub(super) fn url_by(&self, hosts: &str) -> String {
        let url = self.place.store().url();
        let (address, database) = url.rsplit_once('/').expect("a URL has a database");
        let (user, _) = address.rsplit_once('@').expect("a URL has a user");
        format!("{user}@{hosts}/{database}")
    }

    /// Returns when the merchant has got this many POSTs.
    pub(super) async fn until_posts(&self, posts: usize) {
        let what = format!("{posts} POSTs");
        until(&what, async || self.journal.count() >= posts).await;
    }

    /// Whether every callback is delivered within this time.
    pub(super) async fn all_delivered_within(&self, patience: Duration) -> bool {
        let left = "SELECT count(*) FROM callback_queue WHERE state <> 'delivered'";
        holds_within(patience, async || self.place.sql(left) == "0").await
    }

    /// What `check` says, which finds a fault.
    #[track_caller]
    pub(super) fn check_fails(&self) -> String {
        let said = self.place.ask(&["check"]);
        assert_eq!(said.code, Some(78), "{said:?}");
        said.out
    }

    /// POSTs of a callback after the first.
    pub(super) fn doubled(&self) -> usize {
        let posts = self.journal.posts();
        let mut of: HashMap<&str, usize> = HashMap::new();
        for post in &*posts {
            *of.entry(&post.number).or_default() += 1;
        }
        posts.len() - of.len()
    }
}
