//! Names as they are: the program in a network namespace of its own, with name servers that are dead, slow or
//! silent, and merchants that move.
//!
//! `network.py` plays both. The namespace and its `resolv.conf` go with the shell that makes them.

mod whose_fault;

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::secrets::HMAC;
use crate::support::callback::{payment_line, with};
use crate::support::place::{Place, key};
use crate::support::process::{PROGRAM, Process, unmanaged};
use crate::support::waiting::until_within;

const SETTINGS: &str = r#"
[retry]
schedule = ["2s", "2s", "2s"]
[egress]
allow_http = true
allow_networks = ["127.0.0.0/8"]
[admin]
listen = ""
"#;

/// Makes the namespace what it is to be, and becomes the program.
const SCRIPT: &str = r#"
set -e
ip link set lo up
mount --bind resolv.conf /etc/resolv.conf
mount --bind hosts /etc/hosts
. ./router.sh
python3 -u network.py &
until grep -q stands network.said 2>/dev/null; do sleep 0.05; done
exec "$0" run
"#;

struct World {
    place: Place,
    process: Process,
}

impl World {
    /// `servers` are lines of `resolv.conf`; `zone` is what the name server at 127.0.0.53 knows.
    async fn start(servers: &str, zone: &Value) -> Self {
        Self::start_as("", "", servers, zone).await
    }

    /// The same with more settings, which begin in the section `egress`, and beside what `router` sets up.
    async fn start_as(settings: &str, router: &str, servers: &str, zone: &Value) -> Self {
        let place = Place::new();
        place.write_settings(&SETTINGS.replace("[admin]", &format!("{settings}[admin]")));
        place.write("router.sh", router);
        place.write_keys(&(key("6", HMAC) + &key("7", HMAC)));
        place.write("resolv.conf", servers);
        place.write("hosts", "127.0.0.10 listed.test\n");
        place.write("network.py", include_str!("network.py"));
        place.write("merchants.json", "{}");
        place.write("requests.log", "");
        place.write("zone.json", &zone.to_string());
        let script = SCRIPT.replace("network.py &", "network.py > network.said &");
        let mut command = Command::new("unshare");
        // A user namespace, so that it takes no root to be root of the network.
        command.args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
        ]);
        command.args(["--kill-child", "--mount-proc", "sh", "-c", &script, PROGRAM]);
        let process = Process::spawn(unmanaged(command, place.folder(), &[]));
        let process = process.ready().await;
        Self { place, process }
    }

    /// Replaces what is read for each question. Moved into its place, so that nobody reads half of it.
    fn change(&self, name: &str, to: &Value) {
        self.place.write("next.json", &to.to_string());
        fs::rename(self.place.path("next.json"), self.place.path(name)).expect("the same folder");
    }

    /// Queues callbacks of `app` to these URLs, numbered from `from`.
    fn enqueue(&self, app: &str, from: usize, urls: impl IntoIterator<Item = String>) {
        let lines = urls
            .into_iter()
            .enumerate()
            .map(|(index, url)| with(payment_line(&url, from + index), "appId", json!(app)));
        self.place.enqueue(&lines.collect::<Vec<_>>());
    }

    fn number(&self, sql: &str) -> i64 {
        let said = self.place.sql(sql);
        said.trim().parse().unwrap_or_else(|_| panic!("{said:?}"))
    }

    async fn all_delivered(&self, app: &str, within: Duration) {
        let open = format!(
            "SELECT count(*) FROM callback_queue WHERE app_id = '{app}' AND state <> 'delivered'"
        );
        until_within(within, "all are delivered", async || {
            self.number(&open) == 0
        })
        .await;
    }

    /// The attempts of `app` that are charged to a merchant and are no acknowledgement.
    fn charged(&self, app: &str) -> i64 {
        self.number(&format!(
            "SELECT count(*) FROM callback_attempt a JOIN callback_queue c ON c.id = a.callback_id
             WHERE c.app_id = '{app}' AND a.counted = 1 AND a.outcome <> 'acknowledged'"
        ))
    }

    /// When each request came (in seconds), to which merchant, and its answer's status.
    fn requests(&self) -> Vec<(f64, String, String)> {
        let log = fs::read_to_string(self.place.path("requests.log")).expect("readable");
        let requests = log.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("four words a line");
            (word().parse().expect("a time"), word(), word())
        });
        requests.collect()
    }

    async fn stop(self) {
        drop(self.process);
    }
}

fn shop(count: usize) -> Vec<String> {
    vec!["http://shop.test:8080/callback".to_owned(); count]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_name_server_that_is_dead_costs_nothing() {
    let zone = json!({"shop.test": {"a": "127.0.0.10"}});
    let servers = "nameserver 127.0.0.54\nnameserver 127.0.0.53\n";
    let world = World::start(servers, &zone).await;
    world.enqueue("6", 0, shop(20));
    world.all_delivered("6", Duration::from_secs(10)).await;
    assert_eq!(world.charged("6"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_takes_four_seconds_is_waited_for() {
    let zone = json!({"shop.test": {"a": "127.0.0.10", "delay": 4}});
    let world = World::start("nameserver 127.0.0.53\n", &zone).await;
    world.enqueue("6", 0, shop(20));
    world.all_delivered("6", Duration::from_secs(20)).await;
    assert_eq!(world.charged("6"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aaaa_that_is_dropped_does_not_hold_a_name_up() {
    let zone = json!({"shop.test": {"a": "127.0.0.10", "drops_aaaa": true}});
    let world = World::start("nameserver 127.0.0.53\n", &zone).await;
    world.enqueue("6", 0, shop(20));
    world.all_delivered("6", Duration::from_secs(5)).await;
    assert_eq!(world.charged("6"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_file_is_minded_and_search_domains_are_not() {
    // The host of the search domain would acknowledge whatever it gets.
    let zone = json!({"shop.test.office.test": {"a": "127.0.0.11"}});
    let servers = "nameserver 127.0.0.53\nsearch office.test\n";
    let world = World::start(servers, &zone).await;
    world.enqueue("6", 0, ["http://listed.test:8080/callback".to_owned()]);
    world.enqueue("7", 1, shop(1));
    world.all_delivered("6", Duration::from_secs(10)).await;
    until_within(Duration::from_secs(20), "it is given up", async || {
        world.number("SELECT count(*) FROM callback_queue WHERE state = 'exhausted'") == 1
    })
    .await;
    let details = world.place.sql("SELECT DISTINCT outcome || ': ' || detail FROM callback_attempt WHERE outcome <> 'acknowledged'");
    assert_eq!(details.trim(), "dns: the name does not exist");
    world.stop().await;
}

/// The lag of each callback of app 6 that was delivered, in milliseconds.
fn lags(world: &World) -> Vec<i64> {
    let rows = world.place.sql(
        "SELECT a.started_at + a.duration_ms - c.created_at FROM callback_attempt a
         JOIN callback_queue c ON c.id = a.callback_id
         WHERE c.app_id = '6' AND a.outcome = 'acknowledged' ORDER BY 1",
    );
    rows.lines()
        .map(|lag| lag.parse().expect("a number"))
        .collect()
}

/// 200 callbacks, ten at a time, and their 99th percentile.
async fn steady_load(world: &World, from: usize) -> i64 {
    let before = lags(world).len();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    for tens in 0..20 {
        tick.tick().await;
        world.enqueue("6", from + 10 * tens, shop(10));
    }
    world.all_delivered("6", Duration::from_secs(30)).await;
    let mut lags = lags(world);
    assert_eq!(lags.len(), before + 200);
    lags.sort_unstable();
    lags[lags.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn names_under_a_silent_domain_do_not_delay_other_merchants() {
    let zone = json!({"shop.test": {"a": "127.0.0.10", "ttl": 5}, "silent.test": {"silent": true}});
    let alone = World::start("nameserver 127.0.0.53\n", &zone).await;
    let lag_alone = steady_load(&alone, 0).await;
    alone.stop().await;
    let world = World::start("nameserver 127.0.0.53\n", &zone).await;
    let silent = (0..1500).map(|n| format!("http://n{n}.silent.test:8080/callback"));
    world.enqueue("7", 10_000, silent);
    let given_up = "SELECT count(*) FROM callback_attempt WHERE outcome = 'timeout'";
    until_within(Duration::from_secs(30), "lookups time out", async || {
        world.number(given_up) > 50
    })
    .await;
    let lag = steady_load(&world, 0).await;
    assert_eq!(world.charged("6"), 0);
    println!("p99 lag beside 1,500 silent names {lag} ms, without them {lag_alone} ms");
    // Below a second it may be the machine that is measured.
    assert!(
        lag <= (lag_alone * 3 / 2).max(1000),
        "{lag} ms after {lag_alone} ms"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchants_move_is_noticed_within_a_minute_and_at_once_after_a_503() {
    let at = |address: &str| json!({"shop.test": {"a": address, "ttl": 5}});
    let world = World::start("nameserver 127.0.0.53\n", &at("127.0.0.10")).await;
    let mut sent = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    // The old server goes on: a kept connection must not last for ever.
    world.enqueue("6", sent, shop(1));
    world.all_delivered("6", Duration::from_secs(10)).await;
    world.change("zone.json", &at("127.0.0.11"));
    let has_moved = |since: f64| {
        let mut requests = world.requests().into_iter().rev();
        requests
            .next()
            .is_some_and(|(at, address, _)| address == "127.0.0.11" && at > since)
    };
    let begun = world.requests()[0].0;
    while !has_moved(begun) {
        tick.tick().await;
        sent += 1;
        world.enqueue("6", sent, shop(1));
    }
    let moved = world.requests().last().expect("one").0 - begun;
    println!("a move was noticed after {moved:.1} s, the old server still answering");
    assert!(moved < 60.0, "{moved}");
    world.all_delivered("6", Duration::from_secs(10)).await;
    assert_eq!(world.charged("6"), 0);

    // Back again, some time after which the server that was left refuses.
    world.change("zone.json", &at("127.0.0.10"));
    let mut waited = 0;
    while waited < 60 {
        tick.tick().await;
        (waited, sent) = (waited + 1, sent + 1);
        world.enqueue("6", sent, shop(1));
    }
    world.change("merchants.json", &json!({"127.0.0.11": 503}));
    for _ in 0..30 {
        tick.tick().await;
        sent += 1;
        world.enqueue("6", sent, shop(1));
    }
    world.all_delivered("6", Duration::from_secs(20)).await;
    let refused = world.requests();
    let refused = refused.iter().filter(|(_, _, status)| status == "503");
    let refused = refused.count();
    println!("{refused} refused with 503 after a move");
    assert!(refused <= 3, "{refused}");
    world.stop().await;
}
