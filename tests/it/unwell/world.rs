//! A database on a server of its own, a merchant with a journal, and dispatchers as processes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::campaign::merchants::{Behaviour, Journal, Merchant};
use crate::support::callback::insert_rows;
use crate::support::place::Place;
use crate::support::postgres::Server;
use crate::support::process::Process;
use crate::support::waiting::{holds_within, until};

/// How long the merchant takes for its answer.
const ANSWER: Duration = Duration::from_millis(40);

const SETTINGS: &str = "[delivery]\nmax_in_flight_per_merchant = 16\n\
    [egress]\nallow_http = true\nallow_networks = [\"127.0.0.1\"]\n[admin]\nlisten = \"\"\n";

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
        let journal = Arc::<Journal>::default();
        let merchant = Merchant::start(Behaviour::Slow(ANSWER), Arc::clone(&journal)).await;
        let server = Server::own();
        let place = Place::of(server.create_database());
        place.write_settings(SETTINGS);
        Self {
            server,
            place,
            journal,
            merchant,
        }
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
        let url = self.place.store().url();
        let (address, database) = url.rsplit_once('/').expect("a URL has a database");
        let (host, _) = address.rsplit_once(':').expect("a URL has a port");
        let mut command = self.place.command(&["run"]);
        command.env(
            "DISPATCHER__STORE__URL",
            format!("{host}:{port}/{database}"),
        );
        Process::spawn(command).ready().await
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
