//! The words: what a merchant has to change, and what it should know.
//!
//! Written to be passed on to people who have never seen this program, so settings of ours are
//! only named where the operator is meant, and then it says so.

use std::time::Duration;

use super::finding::{Diagnosis, Probed, broke, chain, own_certificate, seconds_ahead};
use crate::delivery::transport::{
    Certificate, Chain, Distrust, DistrustReason, ProbeReport, accepted_cipher_suites,
};
use crate::domain::{Cause, Outcome, Phase, reason};

/// Fewer days of a certificate than this are worth knowing: who renews by a machine has renewed by
/// then, and who renews by hand still has the time.
const CERTIFICATE_DAYS_MIN: i64 = 30;

/// A clock that is off by more makes honest callbacks look old.
const CLOCK_SECONDS_MAX: u64 = 60;

/// What must change before callbacks are delivered; at least one sentence.
pub(super) fn to_fix(diagnosis: &Diagnosis, report: &ProbeReport) -> Vec<String> {
    if let Some((phase, Cause::Local)) = broke(report) {
        return vec![format!(
            "Nothing at the merchant's: the fault is ours, while {phase}. For the operator: {}.",
            diagnosis.detail
        )];
    }
    match diagnosis.outcome {
        Outcome::Refused => refused(),
        Outcome::Unreadable => unreadable(diagnosis),
        Outcome::HttpStatus => vec![http_status(diagnosis)],
        Outcome::Timeout => vec![timeout(diagnosis, report)],
        Outcome::Dns => vec![
            "The host name of the callback URL does not resolve. Check how it is written, and that \
             it has an A or AAAA record that the public name servers know."
                .to_owned(),
        ],
        Outcome::Connect => vec![connect(diagnosis)],
        Outcome::Tls => vec![tls(diagnosis, report)],
        Outcome::Protocol => protocol(diagnosis),
        Outcome::Blocked => vec![blocked(diagnosis)],
        // A probe that could not be signed is not sent, and one that was cut off tells nothing.
        Outcome::Acknowledged | Outcome::Interrupted | Outcome::Unsignable => {
            vec![diagnosis.detail.clone()]
        }
    }
}

fn refused() -> Vec<String> {
    vec![
        "Your server took the test payment and did not acknowledge it. Answer with status 200 and \
         the body {\"transResult\":\"SUCCESS\"}, exactly so, as soon as the result is stored."
            .to_owned(),
        "If it was the signature: make the text that is signed from the body that we sent, compare \
         it with our canonical form byte by byte, and then check which secret you use."
            .to_owned(),
        "If it was the order number that you do not know, or the result that is a failure: \
         acknowledge those too. A callback tells what has happened, and it comes again until it \
         is acknowledged."
            .to_owned(),
    ]
}

fn unreadable(diagnosis: &Diagnosis) -> Vec<String> {
    let answer = diagnosis.answer.as_deref().unwrap_or_default();
    let text = answer.trim_start_matches('\u{feff}').trim_start();
    let encoding = diagnosis.headers.get("content-encoding");
    let what = if let Some(encoding) = encoding.filter(|it| !it.eq_ignore_ascii_case("identity")) {
        format!(
            "The answer is compressed ({encoding}), although no compression was asked for. Switch \
             it off for this path."
        )
    } else if text.is_empty() {
        "The answer has no body. Answer with the body {\"transResult\":\"SUCCESS\"}.".to_owned()
    } else if text.starts_with('<') {
        "The answer is a page of HTML: a login, an error page or a front page. The URL leads \
         somewhere else than to the code that takes callbacks, or something in front of it \
         answers first."
            .to_owned()
    } else {
        format!(
            "The answer must be one JSON object and nothing else, {{\"transResult\":\"SUCCESS\"}}. \
             What is wrong with it: {}. Look for output before or after it: warnings, debugging, \
             a second answer.",
            reason(&diagnosis.detail)
        )
    };
    vec![what]
}

fn http_status(diagnosis: &Diagnosis) -> String {
    let status = diagnosis.http_status.unwrap_or_default();
    let what = match status {
        300..=303 | 305..=399 => {
            let to = diagnosis.headers.get("location");
            let to = to.map_or_else(String::new, |to| format!(" to {to}"));
            return format!(
                "Your server redirects{to} (status {status}). Redirects are not followed: give us \
                 the final address as the callback URL, with its scheme, host and closing slash."
            );
        }
        401 | 403 | 407 | 419 => {
            "Something wants a login, a token or a known caller: exempt this path from logins and \
             from protection against forged forms (CSRF), and let our addresses through the \
             firewall for web requests. What proves that a callback is ours is its sign."
        }
        404 | 410 => "There is nothing at this path: check the callback URL, letter by letter.",
        405 => "The path does not take POST. Callbacks are POSTs with a JSON body.",
        411 | 413 | 414 | 415 | 422 => {
            "Your server does not take the body. It is JSON (Content-Type: application/json), \
             below 64 KiB, with a Content-Length; it is not a form."
        }
        429 => "Your server limits how often we may call. Exempt this path from rate limits.",
        500 => {
            let Probed {
                order_no, sent_at, ..
            } = &diagnosis.probed;
            return format!(
                "Your code failed on it (status 500). Look for {order_no} in your log around \
                 {sent_at}."
            );
        }
        502..=504 => {
            "What answered is a proxy that did not reach your application in time, or at all. Check \
             that the application runs, and what the proxy passes this path on to."
        }
        _ => {
            "Answer callbacks with a status of 2xx and the body {\"transResult\":\"SUCCESS\"}; any \
             other status counts as not received."
        }
    };
    format!("Your server answered with status {status}. {what}")
}

fn timeout(diagnosis: &Diagnosis, report: &ProbeReport) -> String {
    let detail = reason(&diagnosis.detail);
    let what = match broke(report).map(|(phase, _)| phase) {
        Some(Phase::Dns) => {
            "The name servers of your domain do not answer, or answer too slowly. Check each of \
             them."
        }
        Some(Phase::Connect) => {
            "Your host does not take the connection: a firewall drops our packets, or the server \
             has no room for new connections. Let our addresses in."
        }
        Some(Phase::Tls) => {
            "The connection stands, but the TLS handshake does not go on. Check what listens on \
             this port, and whether a firewall looks into TLS."
        }
        Some(Phase::Body) => {
            "The head of the answer came, the body did not end. Send a Content-Length that is \
             right, or close the connection after the body."
        }
        Some(Phase::Head) | None => {
            "Your server has the request and does not answer in time. Store the result and \
             acknowledge it at once; do what takes long afterwards."
        }
    };
    format!("It took too long: {detail}. {what}")
}

fn connect(diagnosis: &Diagnosis) -> String {
    let whom = diagnosis
        .dialled
        .map_or_else(|| "your host".to_owned(), |address| address.to_string());
    format!(
        "No connection to {whom}: {}. Check that a server listens there, on a public address and \
         not on localhost alone, and that the firewall lets our addresses in.",
        reason(&diagnosis.detail)
    )
}

fn tls(diagnosis: &Diagnosis, report: &ProbeReport) -> String {
    match chain(report) {
        Some(Chain {
            verdict: Err(distrust),
            certificates,
        }) => certificate(distrust, certificates),
        _ if matches!(broke(report), Some((_, Cause::NotTls))) => {
            "What listens on this port does not speak TLS. Correct the port of the callback URL, or \
             switch TLS on there."
                .to_owned()
        }
        _ => format!(
            "The TLS handshake fails: {}. Your server must offer TLS 1.2 or 1.3 with HTTP/1.1 and one \
             of these cipher suites: {}. If it asks for a client certificate, tell us: we have to \
             set one up.",
            reason(&diagnosis.detail),
            accepted_cipher_suites().join(", ")
        ),
    }
}

fn certificate(distrust: &Distrust, chain: &[Certificate]) -> String {
    let own = chain.first();
    match distrust.reason {
        DistrustReason::Expired => {
            let end = own.map_or_else(String::new, |own| format!(" on {}", own.not_after));
            format!(
                "Your certificate, or one that vouches for it, has expired{end}. Renew it, and \
                 have the server load the new one."
            )
        }
        DistrustReason::NotYetValid => {
            let begin = own.map_or_else(String::new, |own| format!(", but on {}", own.not_before));
            format!("Your certificate does not begin today{begin}. Check the dates in it.")
        }
        DistrustReason::WrongName => {
            let names = own.map_or_else(String::new, |own| own.names.join(", "));
            let names = match names.as_str() {
                "" => "none".to_owned(),
                names => names.to_owned(),
            };
            format!(
                "Your certificate is for other names than the host of the callback URL. It has: \
                 {names}. Get one for this host, or correct the URL; if the server has several \
                 certificates, check which it shows by default."
            )
        }
        DistrustReason::UnknownIssuer if own.is_some_and(Certificate::is_self_issued) => {
            "Your certificate is signed by itself, so nobody vouches for it. Get one from a public \
             certificate authority."
                .to_owned()
        }
        DistrustReason::UnknownIssuer if chain.len() == 1 => {
            let issuer = own.map_or("", |own| own.issuer.as_str());
            format!(
                "Your server shows its own certificate alone, and we do not know who issued it \
                 ({issuer}). Most often the intermediate certificate is missing: configure the \
                 full chain (with nginx and Let's Encrypt: fullchain.pem). If it is of a private \
                 authority, get one from a public one."
            )
        }
        DistrustReason::UnknownIssuer => {
            "We do not trust the authority that your chain of certificates leads to. Get a \
             certificate from a public certificate authority, and have the server show its \
             intermediate certificates."
                .to_owned()
        }
        DistrustReason::Other => format!(
            "Your certificate is not accepted: {}. Get a new one.",
            reason(&distrust.detail)
        ),
    }
}

fn protocol(diagnosis: &Diagnosis) -> Vec<String> {
    let mut advice = vec![format!(
        "The connection broke before a complete answer: {}. The process behind it may have \
         crashed or been restarted, or what answers does not speak HTTP/1.1. Look into the log of \
         your server around {}.",
        reason(&diagnosis.detail),
        diagnosis.probed.sent_at
    )];
    if diagnosis.probed.url.starts_with("http:") {
        advice.push(
            "If this port speaks TLS, the callback URL must begin with https and not with http."
                .to_owned(),
        );
    }
    advice
}

fn blocked(diagnosis: &Diagnosis) -> String {
    let detail = reason(&diagnosis.detail);
    if diagnosis.addresses.iter().any(|address| !address.allowed) {
        format!(
            "The callback URL leads to an address that is not public, and such addresses are not \
             called: {detail}. Have the name lead to public addresses only."
        )
    } else {
        format!("The callback URL is not one that is called: {detail}.")
    }
}

/// What works now and may not for long.
pub(super) fn worth_knowing(
    diagnosis: &Diagnosis,
    report: &ProbeReport,
    timeout: Duration,
) -> Vec<String> {
    [
        certificate_ends(diagnosis, report),
        slow(report, timeout),
        clock(diagnosis),
        plain_http(diagnosis),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn certificate_ends(diagnosis: &Diagnosis, report: &ProbeReport) -> Option<String> {
    let days = diagnosis.certificate_days_left?;
    let end = own_certificate(report)?.not_after;
    (0..CERTIFICATE_DAYS_MIN).contains(&days).then(|| {
        format!(
            "Your certificate expires on {end}, in {days} days. Callbacks fail from then on; renew \
             it before."
        )
    })
}

fn slow(report: &ProbeReport, timeout: Duration) -> Option<String> {
    let head = report.post.phases.head?;
    (head > timeout / 2).then(|| {
        format!(
            "Your server took {:.1} s to answer, and {} s is all that it has. Acknowledge as soon \
             as the result is stored, and do the rest afterwards.",
            head.as_secs_f64(),
            timeout.as_secs_f64()
        )
    })
}

fn clock(diagnosis: &Diagnosis) -> Option<String> {
    let ahead = seconds_ahead(diagnosis)?;
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    (ahead.unsigned_abs() > CLOCK_SECONDS_MAX).then(|| {
        format!(
            "Your server's clock is {} s {way} ours. If you refuse callbacks with an old \
             timestamp, set it right (NTP).",
            ahead.unsigned_abs()
        )
    })
}

fn plain_http(diagnosis: &Diagnosis) -> Option<String> {
    diagnosis.probed.url.starts_with("http:").then(|| {
        "The callback URL is plain http: whoever is on the way can read the payments, and can \
         acknowledge them in your place. Use https."
            .to_owned()
    })
}
