//! What a probe of a merchant's URL found, and what to do about it.
//!
//! Pure: from what the transport saw to [`Diagnosis`], the one form that terminal and JSON both
//! print. The words for the merchant are in `advice`.

mod advice;
mod finding;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::delivery::egress::Forbidden;
use crate::delivery::transport::{PhaseTimes, ProbeReport, TlsReport};
use crate::domain::{Exchange, Outcome, Timestamp, judge};
use crate::store::excerpt;
use finding::own_certificate;

pub use finding::{AddressFinding, Diagnosis, PhasesMs, Probed, TlsFinding};

/// The headers of an answer that say something about the way it came.
const HEADERS: [&str; 10] = [
    "server",
    "via",
    "date",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "location",
    "retry-after",
];

/// Characters of a header's value that are shown.
const HEADER_CHARS_MAX: usize = 200;

/// Makes a diagnosis of what a probe saw; `timeout` is what an attempt may take.
pub fn diagnose(probed: Probed, report: &ProbeReport, timeout: Duration) -> Diagnosis {
    let verdict = judge(&report.post.exchange);
    let (http_status, answer) = match &report.post.exchange {
        Exchange::Answered { status, body, .. } => (Some(*status), Some(excerpt(&body.bytes))),
        Exchange::Failed(fault) => (fault.status, None),
        Exchange::Blocked { .. } => (None, None),
    };
    let expires_at = own_certificate(report).map(|certificate| certificate.not_after);
    let mut diagnosis = Diagnosis {
        acknowledged: verdict.outcome == Outcome::Acknowledged,
        outcome: verdict.outcome,
        detail: verdict.detail,
        addresses: report.addresses.iter().map(address_finding).collect(),
        dialled: report.dialled,
        tls: report.tls.as_ref().map(tls_finding),
        certificate_expires_at: expires_at,
        certificate_days_left: expires_at.map(|end| days_between(probed.sent_at, end)),
        phases_ms: phases_ms(report.post.phases),
        http_status,
        headers: headers(report),
        answer,
        to_fix: Vec::new(),
        worth_knowing: Vec::new(),
        probed,
    };
    if !diagnosis.acknowledged {
        diagnosis.to_fix = advice::to_fix(&diagnosis, report);
    }
    diagnosis.worth_knowing = advice::worth_knowing(&diagnosis, report, timeout);
    diagnosis
}

fn address_finding((address, verdict): &(IpAddr, Result<(), Forbidden>)) -> AddressFinding {
    AddressFinding {
        address: *address,
        allowed: verdict.is_ok(),
        reason: verdict.as_ref().err().map(ToString::to_string),
    }
}

fn tls_finding(tls: &TlsReport) -> TlsFinding {
    let verdict = tls.chain.as_ref().map(|chain| &chain.verdict);
    let certificates = tls.chain.iter().flat_map(|chain| &chain.certificates);
    TlsFinding {
        version: tls.version,
        cipher_suite: tls.cipher_suite.clone(),
        trusted: verdict.map(Result::is_ok),
        distrust: verdict
            .and_then(|verdict| verdict.as_ref().err())
            .map(|distrust| distrust.detail.clone()),
        certificates: certificates.cloned().collect(),
    }
}

fn phases_ms(times: PhaseTimes) -> PhasesMs {
    // Whole microseconds: more digits would only look exact.
    let ms = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
    PhasesMs {
        dns: ms(times.dns),
        connect: ms(times.connect),
        tls: ms(times.tls),
        head: ms(times.head),
        body: ms(times.body),
    }
}

fn headers(report: &ProbeReport) -> BTreeMap<&'static str, String> {
    let shown = HEADERS.into_iter().filter_map(|name| {
        let value = report.headers.get(name)?;
        let value = String::from_utf8_lossy(value.as_bytes());
        Some((name, value.chars().take(HEADER_CHARS_MAX).collect()))
    });
    shown.collect()
}

/// Whole days from `from` to `to`, rounded down.
fn days_between(from: Timestamp, to: Timestamp) -> i64 {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    to.as_millis()
        .saturating_sub(from.as_millis())
        .div_euclid(DAY_MS)
}
