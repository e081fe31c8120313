//! The egress policy, name resolution and the proxy, over real sockets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scripted::{ACK, Found, Merchant, ScriptedLookup, Step, answer, send};
use super::*;
use crate::domain::Reach;

fn found(addresses: &[&str]) -> Found {
    let parse = |address: &&str| address.parse::<IpAddr>().expect("an address");
    Found::Addresses(addresses.iter().map(parse).collect())
}

#[tokio::test]
async fn a_forbidden_url_is_never_called() {
    let merchant = Merchant::acks(1).await;
    let transport = resolving(strict(), []);
    let report = transport.post(&merchant.url(), Vec::new()).await;
    assert_blocked(&report, "127.0.0.1 is loopback (127.0.0.0/8)");
    let port = merchant.address.port();
    for host in ["2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"] {
        let report = transport
            .post(&format!("http://{host}:{port}/"), Vec::new())
            .await;
        assert_blocked(&report, "loopback");
    }
    assert_blocked(&transport.post("nonsense", Vec::new()).await, "not valid");
    assert_eq!(merchant.connections(), 0);
}

#[tokio::test]
async fn a_forbidden_address_beside_an_allowed_one_is_not_dialled() {
    for answer in [
        &["127.0.0.1", "10.0.0.1"],
        &["169.254.169.254", "127.0.0.1"],
        &["fe80::1", "127.0.0.1"],
        &["fd00::1", "127.0.0.1"],
    ] {
        let merchant = Merchant::acks(1).await;
        let transport = resolving(settings(), [found(answer)]);
        let report = transport
            .post(&merchant.named_url("http"), Vec::new())
            .await;
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    }
}

#[tokio::test]
async fn a_name_with_forbidden_addresses_only_is_never_called() {
    let transport = resolving(settings(), [found(&["10.0.0.1", "fe80::1"])]);
    let report = transport.post("http://merchant.test/", Vec::new()).await;
    assert_blocked(&report, "10.0.0.1 is private");
    assert_blocked(&report, "add it to egress.allow_networks");
}

#[tokio::test]
async fn rebinding_is_seen() {
    let merchant = Merchant::plain(vec![vec![Step::Request, send(answer(200, "no"))]]).await;
    let transport = resolving(settings(), [found(&["127.0.0.1"]), found(&["192.168.0.1"])]);
    let url = merchant.named_url("http");
    let report = transport.post(&url, Vec::new()).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, "no"));
    assert!(report.phases.dns.is_some());
    // It was no acknowledgement, so the name is looked up again.
    let report = transport.post(&url, Vec::new()).await;
    assert_blocked(&report, "192.168.0.1 is private (192.168.0.0/16)");
}

#[tokio::test]
async fn the_dialled_address_is_checked_before_anything_is_sent() {
    let merchant = Merchant::acks(1).await;
    let lax = Arc::new(settings().policy);
    let lookup = ScriptedLookup::new([found(&["127.0.0.1"])]);
    let transport = Transport::with_policies(settings(), lookup, lax, Arc::default());
    let transport = transport.expect("good settings");
    let report = transport
        .post(&merchant.named_url("http"), Vec::new())
        .await;
    assert_blocked(&report, "127.0.0.1 is loopback");
    assert!(merchant.requests().is_empty());
}

#[tokio::test]
async fn only_a_resolver_out_of_reach_is_this_hosts_fault() {
    let url = "http://merchant.test/";
    let table = [
        (LookupFailure::NoSuchName, Cause::Remote),
        (LookupFailure::NoAddress, Cause::Remote),
        (LookupFailure::ServerFailure, Cause::Remote),
        (LookupFailure::NoAnswer, Cause::Remote),
        (LookupFailure::Local, Cause::Local),
    ];
    for (failure, cause) in table {
        let report = resolving(settings(), [Found::Fails(failure, "as it was told")])
            .post(url, Vec::new())
            .await;
        assert_fault(&report, Phase::Dns, cause, "as it was told");
    }
    let report = resolving(settings(), [found(&[])])
        .post(url, Vec::new())
        .await;
    assert_fault(
        &report,
        Phase::Dns,
        Cause::Remote,
        "the name has no address",
    );
}

#[tokio::test]
async fn a_hanging_resolver_has_the_whole_deadline() {
    let settings = TransportSettings {
        connect_timeout: Duration::from_millis(50),
        timeout: Duration::from_millis(150),
        ..settings()
    };
    let transport = resolving(settings, [Found::Hangs]);
    let report = transport.post("http://merchant.test/", Vec::new()).await;
    let detail = "no answer within 150ms while resolving the name";
    assert_fault(&report, Phase::Dns, Cause::Deadline, detail);
}

#[tokio::test]
async fn localhost_is_refused_by_the_systems_resolver_too() {
    let transport = Transport::new(strict()).expect("good settings");
    let report = transport.post("http://localhost:1/", Vec::new()).await;
    assert_blocked(&report, "is loopback");
}

fn behind(proxy: &str, policy: Policy) -> TransportSettings {
    TransportSettings {
        proxy: Some(proxy.parse().expect("a URL")),
        policy,
        ..settings()
    }
}

#[tokio::test]
async fn a_proxy_resolves_the_names_and_may_be_private() {
    let proxy = Merchant::acks(1).await;
    let port = proxy.address.port();
    // The only lookup is that of the proxy's own name.
    let settings = behind(&format!("http://u:p@proxy.test:{port}/"), strict().policy);
    assert!(!format!("{settings:?}").contains("u:p"));
    let transport = resolving(settings, [found(&["127.0.0.1"])]);
    let report = transport
        .post("http://merchant.test/callback", Vec::new())
        .await;
    assert_eq!(report.exchange, answered(proxy.address, 200, ACK));
    let request = &proxy.requests()[0];
    assert!(request.starts_with("POST http://merchant.test/callback HTTP/1.1\r\n"));
    assert!(request.contains("Proxy-Authorization: Basic dTpw\r\n"));
    let report = transport.post("http://10.0.0.1/callback", Vec::new()).await;
    assert_blocked(&report, "10.0.0.1 is private");
    let report = transport.post("http://proxy.test:22/", Vec::new()).await;
    assert_blocked(&report, "egress.proxy itself");
}

#[tokio::test]
async fn a_proxy_tunnels_tls() {
    let proxy = Merchant::plain(vec![vec![Step::Request]]).await;
    let settings = behind(&format!("http://{}", proxy.address), Policy::default());
    let report = resolving(settings, [])
        .post("https://merchant.test/", Vec::new())
        .await;
    assert!(proxy.requests()[0].starts_with("CONNECT merchant.test:443 HTTP/1.1\r\n"));
    assert_fault(&report, Phase::Connect, Cause::Remote, "");
}

/// A 407 is the proxy's word about our credentials, and no merchant's answer.
#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_our_own_fault() {
    for (url, phase) in [
        ("http://merchant.test/", Phase::Head),
        ("https://merchant.test/", Phase::Connect),
    ] {
        let refusal =
            send("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
        let proxy = Merchant::plain(vec![vec![Step::Request, refusal]]).await;
        let settings = behind(&format!("http://{}", proxy.address), Policy::default());
        let settings = TransportSettings {
            policy: Policy {
                allow_http: true,
                ..settings.policy.clone()
            },
            ..settings
        };
        let report = resolving(settings, []).post(url, Vec::new()).await;
        assert_fault(&report, phase, Cause::Local, "egress.proxy: ");
        assert_eq!(fault_of(&report).status, None);
        assert_ne!(report.exchange.reach(), Reach::Reached);
    }
}

/// A proxy that takes connections and says nothing to anyone is our own fault; one that does not answer for a
/// merchant, but answers for itself, is not.
#[tokio::test]
async fn the_silence_of_a_proxy_is_our_own_fault_if_it_is_silent_to_all() {
    let silent = || vec![Step::Request, Step::Hang];
    let http = [silent(), vec![Step::Request, send(answer(400, "no host"))]];
    let greeting = || vec![send([5, 0]), Step::Hang];
    let socks = [greeting(), greeting()];
    for (scheme, url, phase, for_itself) in [
        ("http", "http://merchant.test/", Phase::Head, &http),
        ("http", "https://merchant.test/", Phase::Connect, &http),
        ("socks5h", "https://merchant.test/", Phase::Connect, &socks),
    ] {
        for (scripts, cause, detail) in [
            (
                &[silent(), silent()],
                Cause::Local,
                "egress.proxy: it does not answer",
            ),
            (for_itself, Cause::Deadline, "no answer within 700ms"),
        ] {
            let proxy = Merchant::plain(scripts.to_vec()).await;
            let settings = TransportSettings {
                timeout: SHORT,
                ..behind(&format!("{scheme}://{}", proxy.address), strict().policy)
            };
            let report = resolving(settings, []).post(url, Vec::new()).await;
            assert_fault(&report, phase, cause, detail);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_is_our_own_fault() {
    let settings = behind("http://127.0.0.1:1", Policy::default());
    let report = resolving(settings, [])
        .post("https://merchant.test/", Vec::new())
        .await;
    assert_fault(
        &report,
        Phase::Connect,
        Cause::Local,
        "egress.proxy: connection refused",
    );
    let unresolved = Found::Fails(LookupFailure::NoSuchName, "the name does not exist");
    let settings = behind("http://proxy.test:1", Policy::default());
    let report = resolving(settings, [unresolved])
        .post("https://merchant.test/", Vec::new())
        .await;
    assert_fault(&report, Phase::Dns, Cause::Local, "egress.proxy: ");
}
