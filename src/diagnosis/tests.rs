use std::net::Ipv4Addr;

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, DATE, HeaderName, HeaderValue, LOCATION};

use super::*;
use crate::delivery::egress::Policy;
use crate::delivery::transport::{Certificate, Chain, Distrust, DistrustReason, PostReport};
use crate::domain::{CappedBody, Cause, ExchangeFault, Phase};

const LIMIT: Duration = Duration::from_secs(10);

/// 2026-11-25T12:00:00Z
const NOW: i64 = 1_795_608_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn probed(url: &str) -> Probed {
    Probed {
        url: url.to_owned(),
        app_id: "6".to_owned(),
        key_id: "2026-11".to_owned(),
        order_no: "TEST-1".to_owned(),
        sent_at: Timestamp::from_millis(NOW),
        canonical_form: "appId=6".to_owned(),
        body: "{}".to_owned(),
    }
}

fn report(exchange: Exchange) -> ProbeReport {
    ProbeReport {
        post: PostReport {
            exchange,
            phases: PhaseTimes::default(),
            retry_after: None,
        },
        addresses: Vec::new(),
        dialled: None,
        headers: HeaderMap::new(),
        tls: None,
    }
}

fn answered(status: u16, body: &str) -> ProbeReport {
    report(Exchange::Answered {
        status,
        body: CappedBody {
            bytes: body.as_bytes().to_vec(),
            oversized: false,
        },
        remote_addr: None,
    })
}

fn failed(phase: Phase, cause: Cause, detail: &str) -> ProbeReport {
    report(Exchange::Failed(ExchangeFault {
        phase,
        cause,
        detail: detail.to_owned(),
        status: None,
        remote_addr: None,
    }))
}

fn with_header(mut report: ProbeReport, name: HeaderName, value: &'static str) -> ProbeReport {
    report.headers.insert(name, HeaderValue::from_static(value));
    report
}

fn with_chain(mut report: ProbeReport, chain: Chain) -> ProbeReport {
    report.tls = Some(TlsReport {
        version: Some("1.3"),
        cipher_suite: None,
        chain: Some(chain),
    });
    report
}

fn certificate(subject: &str, issuer: &str) -> Certificate {
    let now = Timestamp::from_millis(NOW);
    Certificate {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        names: vec!["shop.example".to_owned()],
        not_before: now.before(60 * DAY),
        not_after: now.after(60 * DAY),
    }
}

fn distrusted(reason: DistrustReason, certificates: Vec<Certificate>) -> ProbeReport {
    let chain = Chain {
        certificates,
        verdict: Err(Distrust {
            reason,
            detail: "the verifier's words".to_owned(),
        }),
    };
    with_chain(failed(Phase::Tls, Cause::Remote, "no TLS"), chain)
}

fn diagnosis(report: &ProbeReport) -> Diagnosis {
    diagnose(probed("https://shop.example/callback"), report, LIMIT)
}

#[test]
fn what_is_acknowledged_has_nothing_to_fix() {
    let found = diagnosis(&answered(200, r#"{"transResult":"SUCCESS"}"#));
    assert!(found.acknowledged);
    assert_eq!(found.outcome, Outcome::Acknowledged);
    assert_eq!(found.to_fix, Vec::<String>::new());
    assert_eq!(found.worth_knowing, Vec::<String>::new());
}

#[test]
fn each_failure_says_what_to_fix() {
    let own = || vec![certificate("CN=shop", "CN=R1")];
    let full = || {
        vec![
            certificate("CN=shop", "CN=R1"),
            certificate("CN=R1", "CN=X"),
        ]
    };
    let self_signed = vec![certificate("CN=shop", "CN=shop")];
    let blocked = Exchange::Blocked {
        reason: "plain http is not allowed".to_owned(),
    };
    let table = [
        (answered(200, r#"{"transResult":"FAIL"}"#), "exactly so"),
        (answered(200, ""), "no body"),
        (answered(200, " <!DOCTYPE html>"), "page of HTML"),
        (answered(200, "ok"), "one JSON object and nothing else"),
        (
            with_header(answered(200, "\u{1f}\u{8b}"), CONTENT_ENCODING, "gzip"),
            "compressed (gzip)",
        ),
        (
            with_header(answered(302, ""), LOCATION, "https://shop.example/login"),
            "redirects to https://shop.example/login (status 302)",
        ),
        (answered(301, ""), "redirects (status 301)"),
        (answered(304, ""), "status of 2xx"),
        (answered(401, ""), "login"),
        (answered(403, ""), "CSRF"),
        (answered(404, ""), "check the callback URL"),
        (answered(405, ""), "does not take POST"),
        (answered(415, ""), "application/json"),
        (answered(429, ""), "rate limits"),
        (answered(500, ""), "Your code failed"),
        (answered(502, ""), "proxy"),
        (answered(418, ""), "status of 2xx"),
        (
            failed(Phase::Dns, Cause::Deadline, "late"),
            "name servers of your domain",
        ),
        (
            failed(Phase::Connect, Cause::Deadline, "late"),
            "firewall drops our packets",
        ),
        (
            failed(Phase::Tls, Cause::Deadline, "late"),
            "handshake does not go on",
        ),
        (
            failed(Phase::Head, Cause::Deadline, "late"),
            "acknowledge it at once",
        ),
        (
            failed(Phase::Body, Cause::Deadline, "late"),
            "Content-Length",
        ),
        (
            failed(Phase::Dns, Cause::Remote, "unknown"),
            "does not resolve",
        ),
        (
            failed(Phase::Connect, Cause::Remote, "connection refused"),
            "No connection to your host: connection refused",
        ),
        (
            failed(Phase::Head, Cause::Remote, "closed"),
            "broke before a complete answer: closed",
        ),
        (
            failed(Phase::Tls, Cause::NotTls, "any words"),
            "does not speak TLS",
        ),
        (
            failed(Phase::Tls, Cause::Remote, "an alert, not TLS"),
            "TLS 1.2 or 1.3",
        ),
        (
            failed(Phase::Connect, Cause::Local, "no route"),
            "the fault is ours",
        ),
        (report(blocked), "plain http is not allowed"),
        (distrusted(DistrustReason::Expired, own()), "has expired on"),
        (
            distrusted(DistrustReason::NotYetValid, own()),
            "does not begin today",
        ),
        (
            distrusted(DistrustReason::WrongName, own()),
            "It has: shop.example",
        ),
        (
            distrusted(DistrustReason::WrongName, Vec::new()),
            "It has: none",
        ),
        (
            distrusted(DistrustReason::UnknownIssuer, own()),
            "fullchain.pem",
        ),
        (
            distrusted(DistrustReason::UnknownIssuer, full()),
            "public certificate authority",
        ),
        (
            distrusted(DistrustReason::UnknownIssuer, self_signed),
            "signed by itself",
        ),
        (
            distrusted(DistrustReason::Other, own()),
            "the verifier's words",
        ),
    ];
    for (report, words) in table {
        let found = diagnosis(&report);
        assert!(!found.acknowledged, "{found:?}");
        let advice = found.to_fix.join("\n");
        assert!(advice.contains(words), "{words:?} is not in {advice:?}");
        let advice = advice.replace(r#"{"transResult":"SUCCESS"}"#, "");
        for technical in [
            "{",
            "::",
            "egress.",
            "delivery.",
            "signing.",
            "Some(",
            "; operator: ",
        ] {
            assert!(!advice.contains(technical), "{technical} in: {advice}");
        }
    }
}

#[test]
fn a_forbidden_address_is_told_apart_from_a_forbidden_url() {
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let verdict = Policy::default().check_address(address);
    let mut inward = report(Exchange::Blocked {
        reason: "127.0.0.1 is loopback".to_owned(),
    });
    inward.addresses = vec![(address, verdict)];
    let found = diagnosis(&inward);
    assert!(
        found.to_fix[0].contains("public addresses only"),
        "{found:?}"
    );
    assert!(!found.addresses[0].allowed);
    let reason = found.addresses[0].reason.as_deref();
    assert!(reason.is_some_and(|reason| reason.contains("127.0.0.1")));
}

#[test]
fn an_http_url_that_breaks_may_want_https() {
    let broken = failed(Phase::Head, Cause::Remote, "garbled");
    let found = diagnose(probed("http://shop.example/"), &broken, LIMIT);
    assert!(found.to_fix[1].contains("must begin with https"));
    assert!(found.worth_knowing[0].contains("plain http"));
}

#[test]
fn a_certificate_near_its_end_is_worth_knowing() {
    let acknowledged = || answered(200, r#"{"transResult":"SUCCESS"}"#);
    let table = [
        (31 * DAY, 31, false),
        (30 * DAY, 30, false),
        (30 * DAY - Duration::from_millis(1), 29, true),
        (DAY / 2, 0, true),
    ];
    for (left, days, is_said) in table {
        let mut own = certificate("CN=shop", "CN=R1");
        own.not_after = Timestamp::from_millis(NOW).after(left);
        let end = own.not_after;
        let chain = Chain {
            certificates: vec![own],
            verdict: Ok(()),
        };
        let found = diagnosis(&with_chain(acknowledged(), chain));
        assert_eq!(found.certificate_expires_at, Some(end));
        assert_eq!(found.certificate_days_left, Some(days));
        let said = found.worth_knowing.join("\n");
        assert_eq!(said.contains("expires on"), is_said, "{left:?}: {said}");
    }
}

#[test]
fn an_expired_certificate_has_days_below_zero() {
    let mut own = certificate("CN=shop", "CN=R1");
    own.not_after = Timestamp::from_millis(NOW).before(Duration::from_millis(1));
    let found = diagnosis(&distrusted(DistrustReason::Expired, vec![own]));
    assert_eq!(found.certificate_days_left, Some(-1));
    assert_eq!(found.worth_knowing, Vec::<String>::new());
}

#[test]
fn a_slow_answer_is_worth_knowing() {
    for (took, is_said) in [(LIMIT / 2, false), (LIMIT / 2 + DAY / 86_400, true)] {
        let mut report = answered(200, r#"{"transResult":"SUCCESS"}"#);
        report.post.phases.head = Some(took);
        let said = diagnosis(&report).worth_knowing.join("\n");
        assert_eq!(
            said.contains("all that it has"),
            is_said,
            "{took:?}: {said}"
        );
    }
}

#[test]
fn a_clock_that_is_off_is_worth_knowing() {
    let table = [
        ("Wed, 25 Nov 2026 12:00:30 GMT", ""),
        ("Wed, 25 Nov 2026 12:02:00 GMT", "120 s ahead of ours"),
        ("Wed, 25 Nov 2026 11:50:00 GMT", "600 s behind ours"),
        ("yesterday", ""),
    ];
    for (date, words) in table {
        let report = answered(200, r#"{"transResult":"SUCCESS"}"#);
        let found = diagnosis(&with_header(report, DATE, date));
        let said = found.worth_knowing.join("\n");
        assert!(said.contains(words), "{date}: {said}");
        assert_eq!(said.is_empty(), words.is_empty(), "{date}: {said}");
    }
}
