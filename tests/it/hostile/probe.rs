//! `probe` against servers that misbehave: what it sees of each, and what it says to fix.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use callback_dispatcher::clock::Clock as _;
use callback_dispatcher::domain::Timestamp;
use rcgen::date_time_ymd;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;

use super::certificates::{Authority, Identity, params};
use super::server::{Act, Server, ack, send};
use super::{Place, SystemClock};

/// `delivery.connect_timeout` and `delivery.timeout` for the servers that hang.
const LIMIT: &str = "1s";

/// The program, in the place of a daemon that trusts `authority`.
fn probe(place: &Place, authority: &Path, arguments: &[&str]) -> Output {
    let authority = authority.to_str().expect("a plain path");
    place
        .command(&[&["probe"], arguments].concat())
        .env("DISPATCHER__EGRESS__EXTRA_CA_FILE", authority)
        .env("DISPATCHER__DELIVERY__CONNECT_TIMEOUT", LIMIT)
        .env("DISPATCHER__DELIVERY__TIMEOUT", LIMIT)
        .output()
        .expect("the program runs")
}

/// What is to be seen of a server.
struct Case {
    name: &'static str,
    url: String,
    /// Kept until the probe is over.
    server: Option<Server>,
    outcome: &'static str,
    /// What stands at these places of the JSON.
    sees: Vec<(&'static str, Value)>,
    /// Words of the advice.
    advice: &'static str,
}

impl Case {
    fn of(name: &'static str, outcome: &'static str, advice: &'static str) -> Self {
        Self {
            name,
            url: String::new(),
            server: None,
            outcome,
            sees: Vec::new(),
            advice,
        }
    }

    fn at(self, server: Server, scheme: &str) -> Self {
        Self {
            url: server.url(scheme),
            server: Some(server),
            ..self
        }
    }

    /// Over TLS, and acknowledging whatever comes.
    async fn tls(
        name: &'static str,
        config: Arc<ServerConfig>,
        outcome: &'static str,
        advice: &'static str,
    ) -> Self {
        let server = Server::tls(config, vec![Act::Request, ack()]).await;
        Self::of(name, outcome, advice).at(server, "https")
    }

    async fn serving(self, acts: impl Into<Vec<Act>>) -> Self {
        self.at(Server::plain(acts.into()).await, "http")
    }

    /// Where the URL says https, a server without TLS.
    async fn mistaken(self, acts: impl Into<Vec<Act>>) -> Self {
        self.at(Server::plain(acts.into()).await, "https")
    }

    fn sees(mut self, place: &'static str, value: impl Into<Value>) -> Self {
        self.sees.push((place, value.into()));
        self
    }

    /// What is wrong with what the program said.
    fn faults(&self, output: &Output) -> Vec<String> {
        let Ok(found) = serde_json::from_slice::<Value>(&output.stdout) else {
            return vec![format!("no JSON: {output:?}")];
        };
        let mut faults = Vec::new();
        let is_acknowledged = self.outcome == "acknowledged";
        if output.status.code() != Some(i32::from(!is_acknowledged)) {
            faults.push(format!("ended with {}", output.status));
        }
        let expected = [
            ("/outcome", Value::from(self.outcome)),
            ("/acknowledged", Value::from(is_acknowledged)),
        ];
        for (place, value) in expected.iter().chain(&self.sees) {
            if found.pointer(place) != Some(value) {
                faults.push(format!("{place} is not {value}"));
            }
        }
        let advice = [&found["to_fix"], &found["worth_knowing"]].map(ToString::to_string);
        let is_silent = found["to_fix"] == Value::Array(Vec::new());
        if !advice.concat().contains(self.advice) || is_silent != is_acknowledged {
            faults.push("the advice is another".to_owned());
        }
        if let Some(server) = &self.server
            && server.requests().len() > 1
        {
            faults.push("it asked twice".to_owned());
        }
        if !faults.is_empty() {
            faults.push(found.to_string());
        }
        faults
    }
}

async fn over_tls(authority: &Authority) -> Vec<Case> {
    let good = authority.identity();
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = params("127.0.0.1");
        change(&mut params);
        authority.identity_with(&params).server()
    };
    let now = Duration::from_millis(SystemClock.now().as_millis().unsigned_abs());
    let soon = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(10 * 86_400);
    let ends_soon = with(&|params| params.not_after = soon);
    let expired = with(&|params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = with(&|params| params.not_before = date_time_ymd(2999, 1, 1));
    let other = authority.identity_with(&params("shop.example")).server();
    let stranger = Authority::new("A Stranger").identity().server();
    let self_signed = Identity::self_signed().server();
    let tls12 = good.server_of(&[&rustls::version::TLS12]);
    let tls13 = good.server_of(&[&rustls::version::TLS13]);
    let trusted = |case: Case| case.sees("/tls/trusted", true);
    let distrusted = |case: Case| {
        case.sees("/tls/trusted", false)
            .sees("/tls/version", "1.3")
            .sees("/http_status", Value::Null)
    };
    vec![
        trusted(Case::tls("TLS 1.2", tls12, "acknowledged", "").await)
            .sees("/tls/version", "1.2")
            .sees("/tls/certificates/0/names/0", "127.0.0.1")
            .sees("/tls/certificates/0/issuer", "CN=The Authority")
            .sees("/addresses/0/allowed", true)
            .sees("/http_status", 200),
        trusted(Case::tls("TLS 1.3", tls13, "acknowledged", "").await).sees("/tls/version", "1.3"),
        trusted(Case::tls("ends soon", ends_soon, "acknowledged", "in 9 days").await)
            .sees("/certificate_days_left", 9),
        distrusted(Case::tls("expired", expired, "tls", "has expired on 2020-01-01").await)
            .sees("/certificate_expires_at", "2020-01-01T00:00:00.000Z"),
        distrusted(Case::tls("not yet valid", early, "tls", "2999-01-01").await),
        distrusted(Case::tls("wrong name", other, "tls", "shop.example").await)
            .sees("/tls/certificates/0/names/0", "shop.example"),
        distrusted(Case::tls("of a stranger", stranger, "tls", "full chain").await)
            .sees("/tls/certificates/0/issuer", "CN=A Stranger"),
        distrusted(Case::tls("self-signed", self_signed, "tls", "signed by itself").await),
        Case::tls("HTTP/2 only", good.server_of_http2(), "tls", "HTTP/1.1").await,
    ]
}

async fn over_tcp() -> Vec<Case> {
    let head = |head: &str| [Act::Request, send(format!("HTTP/1.1 {head}\r\n\r\n"))];
    let bound = TcpListener::bind(("127.0.0.1", 0)).await;
    let closed = bound.expect("a port").local_addr().expect("it is bound");
    let moved = head("301 Moved\r\nLocation: https://shop.example/\r\nContent-Length: 0");
    let fail = head("200 OK\r\nContent-Length: 22\r\n\r\n{\"transResult\":\"FAIL\"}");
    let nginx = head("502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 0");
    let of = Case::of;
    vec![
        of("http", "acknowledged", "Use https")
            .serving([Act::Request, ack()])
            .await,
        of("moved", "http_status", "redirects to https://shop.example/")
            .sees("/headers/location", "https://shop.example/")
            .sees("/http_status", 301)
            .serving(moved)
            .await,
        of("refuses", "refused", "exactly so")
            .sees("/answer", "{\"transResult\":\"FAIL\"}")
            .serving(fail)
            .await,
        of("an error page", "http_status", "proxy")
            .sees("/headers/server", "nginx")
            .serving(nginx)
            .await,
        of("hangs", "timeout", "at once")
            .serving([Act::Request, Act::Hang])
            .await,
        of("closes", "protocol", "broke before")
            .serving([Act::Request])
            .await,
        of("hangs in TLS", "timeout", "looks into TLS")
            .mistaken([Act::Hang])
            .await,
        of("no TLS", "tls", "does not speak TLS")
            .sees("/tls", Value::Null)
            .mistaken([Act::Glance, ack()])
            .await,
        Case {
            url: format!("http://{closed}/callback"),
            ..of("nobody there", "connect", "connection refused")
        }
        .sees("/phases_ms/connect", Value::Null),
        Case {
            url: "https://10.0.0.1/callback".to_owned(),
            ..of("inward", "blocked", "not public")
        }
        .sees("/addresses/0/address", "10.0.0.1")
        .sees("/addresses/0/allowed", false),
        Case {
            url: "ftp://shop.example/".to_owned(),
            ..of("no web address", "blocked", "not one that is called")
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_sees_what_is_wrong() {
    let (place, authority) = (Place::new(), Authority::new("The Authority"));
    let mut cases = over_tls(&authority).await;
    cases.extend(over_tcp().await);
    let mut wrong = Vec::new();
    for case in &cases {
        let arguments = [case.url.as_str(), "--app", "6", "--json"];
        let run = || probe(&place, &authority.file(), &arguments);
        // The servers go on in the runtime's other threads.
        let output = tokio::task::block_in_place(run);
        let faults = case.faults(&output);
        if !faults.is_empty() {
            wrong.push(format!("{}: {}", case.name, faults.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let nothing = place.sql("SELECT count(*) FROM callback_queue");
    assert_eq!(nothing, "0", "a probe goes past the queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_in_words() {
    let (place, authority) = (Place::new(), Authority::new("The Authority"));
    let good = authority.identity().server();
    let case = Case::tls("good", good, "acknowledged", "").await;
    let ask = |arguments: &[&str]| {
        let run = || probe(&place, &authority.file(), arguments);
        let output = tokio::task::block_in_place(run);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let before = SystemClock.now();
    let (code, out, err) = ask(&[&case.url, "--app", "6"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for words in [
        "test payment     TEST-",
        "app 6, key of-6",
        "appId=6&currency=LAK&extra=&newpayOrderNo=TEST-",
        "may be called",
        "TLS              1.3, TLS13_AES",
        "issued by        CN=The Authority",
        "trusted          yes",
        "status           200",
        "acknowledged: callbacks to this URL are delivered",
    ] {
        assert!(out.contains(words), "{words:?} is not in\n{out}");
    }
    assert!(!out.contains("newpay-demo-secret"));
    // What the merchant got is marked as what it is.
    let request = case.server.expect("it is there").requests().remove(0);
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["transStatus"], 1);
    assert_eq!(body["orderAmt"], "0.00");
    let order = body["orderNo"].as_str().expect("text");
    let number: i64 = order
        .strip_prefix("TEST-")
        .and_then(|number| number.parse().ok())
        .expect("TEST- and a moment");
    assert!(Timestamp::from_millis(number) >= before);

    let (code, out, err) = ask(&[&case.url, "--app", "7"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("no key for app \"7\""), "{err}");
}
