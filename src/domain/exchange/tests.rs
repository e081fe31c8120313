use super::*;

fn answered(status: u16, body: &str) -> Exchange {
    Exchange::Answered {
        status,
        body: CappedBody {
            bytes: body.as_bytes().to_vec(),
            oversized: false,
        },
        remote_addr: None,
    }
}

fn failed(phase: Phase, cause: Cause, status: Option<u16>) -> Exchange {
    Exchange::Failed(ExchangeFault {
        phase,
        cause,
        detail: "why".to_owned(),
        status,
        remote_addr: None,
    })
}

#[test]
fn every_exchange_has_its_outcome() {
    let good = r#"{"transResult":"SUCCESS"}"#;
    let table = [
        (answered(200, good), Outcome::Acknowledged),
        (answered(299, good), Outcome::Acknowledged),
        (answered(300, good), Outcome::HttpStatus),
        (answered(199, good), Outcome::HttpStatus),
        (answered(200, "{}"), Outcome::Refused),
        (answered(200, ""), Outcome::Unreadable),
        (failed(Phase::Dns, Cause::Remote, None), Outcome::Dns),
        (
            failed(Phase::Connect, Cause::Remote, None),
            Outcome::Connect,
        ),
        (failed(Phase::Tls, Cause::Remote, None), Outcome::Tls),
        (failed(Phase::Tls, Cause::NotTls, None), Outcome::Tls),
        (failed(Phase::Head, Cause::Remote, None), Outcome::Protocol),
        (
            failed(Phase::Body, Cause::Remote, Some(200)),
            Outcome::Protocol,
        ),
        (
            failed(Phase::Body, Cause::Deadline, Some(200)),
            Outcome::Timeout,
        ),
        (
            failed(Phase::Body, Cause::Deadline, Some(503)),
            Outcome::HttpStatus,
        ),
        (failed(Phase::Dns, Cause::Deadline, None), Outcome::Timeout),
        (
            Exchange::Blocked {
                reason: "loopback".to_owned(),
            },
            Outcome::Blocked,
        ),
    ];
    for (exchange, outcome) in table {
        assert_eq!(judge(&exchange).outcome, outcome, "{exchange:?}");
    }
}

#[test]
fn details_name_the_status_and_what_came_after_it() {
    let redirect = "HTTP status 302; redirects are not followed, correct the callBackUrl";
    for (exchange, detail) in [
        (answered(302, ""), redirect),
        (answered(404, ""), "HTTP status 404"),
        (
            failed(Phase::Body, Cause::Remote, Some(503)),
            "HTTP status 503; then why",
        ),
        (failed(Phase::Body, Cause::Remote, Some(200)), "why"),
    ] {
        assert_eq!(judge(&exchange).detail, detail);
    }
}

#[test]
fn phases_have_a_word_and_a_sentence_each() {
    let all = PhaseTimes {
        dns: Some(Duration::from_millis(1)),
        connect: Some(Duration::from_millis(2)),
        tls: Some(Duration::from_millis(3)),
        head: Some(Duration::from_millis(4)),
        body: Some(Duration::from_micros(5999)),
    };
    let json = r#"{"dns":1,"connect":2,"tls":3,"head":4,"body":5}"#;
    assert_eq!(all.to_json().as_deref(), Some(json));
    assert_eq!(PhaseTimes::default().to_json(), None);
    let sentences: Vec<String> = all.measured().map(|(phase, _)| phase.to_string()).collect();
    let expected = [
        "resolving the name",
        "connecting",
        "the TLS handshake",
        "waiting for the head of the answer",
        "reading the body of the answer",
    ];
    assert_eq!(sentences, expected);
}

#[test]
fn a_good_body_over_the_cap_is_no_acknowledgement() {
    let exchange = Exchange::Answered {
        status: 200,
        body: CappedBody {
            bytes: br#"{"transResult":"SUCCESS"}"#.to_vec(),
            oversized: true,
        },
        remote_addr: None,
    };
    assert_eq!(judge(&exchange).outcome, Outcome::Unreadable);
}

#[test]
fn what_answered_was_reached_and_what_was_not_connected_was_not() {
    let table = [
        (answered(500, ""), Reach::Reached),
        (failed(Phase::Dns, Cause::Remote, None), Reach::Unreached),
        (
            failed(Phase::Connect, Cause::Deadline, None),
            Reach::Unreached,
        ),
        (failed(Phase::Connect, Cause::Local, None), Reach::Unreached),
        (failed(Phase::Tls, Cause::Remote, None), Reach::Reached),
        (failed(Phase::Tls, Cause::NotTls, None), Reach::Reached),
        (failed(Phase::Tls, Cause::Deadline, None), Reach::Silent),
        (failed(Phase::Head, Cause::Remote, None), Reach::Reached),
        (failed(Phase::Head, Cause::Deadline, None), Reach::Silent),
        (failed(Phase::Head, Cause::Local, None), Reach::Silent),
        (
            failed(Phase::Body, Cause::Deadline, Some(200)),
            Reach::Reached,
        ),
        (
            Exchange::Blocked {
                reason: "loopback".to_owned(),
            },
            Reach::NotTried,
        ),
    ];
    for (exchange, reach) in table {
        assert_eq!(exchange.reach(), reach, "{exchange:?}");
    }
}

#[test]
fn our_own_fault_is_not_charged() {
    assert!(!judge(&failed(Phase::Connect, Cause::Local, None)).counted);
    assert!(judge(&failed(Phase::Connect, Cause::Remote, None)).counted);
}
