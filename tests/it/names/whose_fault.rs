//! Whose fault a failure is: what is charged to the merchant, what is not, and what people see of that.

use super::*;

/// A router that is one hop away and knows no way on: it answers "net unreachable".
const ROUTER: &str = r#"
unshare --net sleep 3600 &
router=$!
until [ "$(readlink /proc/$router/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add near type veth peer name far netns $router
ip address add 10.99.0.1/24 dev near
ip link set near up
nsenter --net=/proc/$router/ns/net sh -ec '
  ip address add 10.99.0.2/24 dev far
  ip link set far up
  echo 1 > /proc/sys/net/ipv4/ip_forward'
ip route add default via 10.99.0.2
"#;

const IMPATIENT: &str = "[delivery]\nconnect_timeout = \"1s\"\ntimeout = \"2s\"\n";

fn url(host: &str) -> String {
    format!("http://{host}:8080/callback")
}

/// `outcome: detail` of each attempt of app 7 that is charged, or not, with their number.
fn attempts(world: &World, counted: bool) -> Vec<String> {
    let counted = i32::from(counted);
    let said = world.place.sql(&format!(
        "SELECT count(*) || ' ' || a.outcome || ': ' || a.detail FROM callback_attempt a
         JOIN callback_queue c ON c.id = a.callback_id
         WHERE c.app_id = '7' AND a.counted = {counted} GROUP BY a.outcome, a.detail ORDER BY a.detail"
    ));
    said.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_hosts_fail_at_is_charged() {
    let zone = json!({
        "shop.test": {"a": "127.0.0.10"},
        // This host has no IPv6, and nobody listens at the other address.
        "both.test": {"a": "127.0.0.12", "aaaa": "2600::1"},
        "far.test": {"a": "93.184.216.34"},
        "broken.test": {"code": 2},
    });
    let world = World::start_as("", ROUTER, "nameserver 127.0.0.53\n", &zone).await;
    let failing = ["both.test", "far.test", "broken.test"];
    world.enqueue("6", 0, shop(97));
    world.enqueue("7", 1000, failing.map(url));
    let given_up = "SELECT count(*) FROM callback_queue WHERE state = 'exhausted'";
    until_within(Duration::from_secs(60), "all are given up", async || {
        world.number(given_up) == 3
    })
    .await;
    assert_eq!(
        attempts(&world, true),
        [
            "4 connect: connection refused",
            "4 connect: network unreachable",
            "4 dns: the resolver could not find out (SERVFAIL)",
        ]
    );
    assert_eq!(attempts(&world, false), [""; 0]);
    world.all_delivered("6", Duration::from_secs(10)).await;
    assert_eq!(world.charged("6"), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_our_own_proxy_fails_at_is_not_charged_and_people_see_the_cause() {
    for (proxy, cause) in [
        ("http://127.0.0.20:3128", "egress.proxy: "),
        ("socks5://127.0.0.21:1080", "egress.proxy: "),
        ("http://127.0.0.22:3128", "egress.proxy: it does not answer"),
    ] {
        let settings = format!("proxy = \"{proxy}\"\n{IMPATIENT}");
        let zone = json!({"shop.test": {"a": "127.0.0.10"}});
        let world = World::start_as(&settings, "", "nameserver 127.0.0.53\n", &zone).await;
        let urls = ["http://shop.test/callback", "https://shop.test/callback"];
        world.enqueue("7", 0, urls.map(str::to_owned));
        let attempted = "SELECT count(DISTINCT callback_id) FROM callback_attempt";
        until_within(Duration::from_secs(30), "both are tried", async || {
            world.number(attempted) == 2
        })
        .await;
        assert_eq!(attempts(&world, true), [""; 0], "{proxy}");
        let stuck = world.place.sql("SELECT why FROM callback_stuck");
        assert_eq!(stuck.lines().count(), 2, "{proxy}: {stuck}");
        for why in stuck.lines() {
            assert!(why.contains(cause), "{proxy}: {why}");
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_silent_names_of_one_app_are_no_outage_of_our_own() {
    let zone = json!({"silent.test": {"silent": true}, "gone.test": {"a": "127.0.0.12"}});
    let world = World::start_as(IMPATIENT, "", "nameserver 127.0.0.53\n", &zone).await;
    let silent = (0..2000).map(|n| url(&format!("n{n}.silent.test")));
    world.enqueue("7", 0, silent);
    let timed_out =
        "SELECT count(*) FROM callback_attempt WHERE outcome = 'timeout' AND counted = 1";
    until_within(Duration::from_secs(60), "lookups time out", async || {
        world.number(timed_out) > 200
    })
    .await;
    world.enqueue("6", 10_000, [url("gone.test")]);
    until_within(Duration::from_secs(60), "it is given up", async || {
        world.number(
            "SELECT count(*) FROM callback_queue WHERE app_id = '6' AND state = 'exhausted'",
        ) == 1
    })
    .await;
    assert_eq!(world.charged("6"), 4);
    let excused = "SELECT count(*) FROM callback_attempt WHERE detail LIKE '%taken for our own%'";
    assert_eq!(world.number(excused), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_hosts_own_addresses_are_not_called() {
    let zone = json!({"own.test": {"a": "93.184.216.35"}});
    let address = "ip address add 93.184.216.35/24 dev lo\n";
    let world = World::start_as(IMPATIENT, address, "nameserver 127.0.0.53\n", &zone).await;
    world.enqueue("7", 0, ["own.test", "93.184.216.35", "127.0.0.12"].map(url));
    let given_up = "SELECT count(*) FROM callback_queue WHERE state = 'exhausted'";
    until_within(Duration::from_secs(60), "all are given up", async || {
        world.number(given_up) == 3
    })
    .await;
    let own = attempts(&world, true).into_iter();
    let own: Vec<_> = own.filter(|attempt| attempt.contains("blocked")).collect();
    let why = "is an address of ours; operator: it is this host's; add it to egress.allow_networks to allow it";
    assert_eq!(own, [format!("8 blocked: 93.184.216.35 {why}")]);
    world.stop().await;
}
