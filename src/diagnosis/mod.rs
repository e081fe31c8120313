//! What a probe of a merchant's URL found, and what to do about it.
//!
//! Pure: from what the transport saw to [`Diagnosis`], the one form that terminal and JSON both
//! print. The words for the merchant are in `advice`.

mod advice;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chrono::DateTime;
use serde::Serialize;

use crate::delivery::transport::{Certificate, Chain, PhaseTimes, ProbeReport, TlsReport};
use crate::domain::{Cause, Exchange, Outcome, Phase, Timestamp, judge};
use crate::store::excerpt;

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

/// What was probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// The callback URL.
    pub url: String,
    /// The app whose key signed.
    pub app_id: String,
    /// That key's id.
    pub key_id: String,
    /// The order number of the test payment, on either side.
    pub order_no: String,
    /// When it was sent; also its `timestamp`.
    pub sent_at: Timestamp,
    /// The text that was signed.
    pub canonical_form: String,
    /// The body that was sent.
    pub body: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// What was sent, and where.
    #[serde(flatten)]
    pub probed: Probed,
    /// Whether a callback would be delivered there.
    pub acknowledged: bool,
    /// How an attempt would be recorded.
    pub outcome: Outcome,
    /// Why, in the words of the attempt log.
    pub detail: String,
    /// The addresses behind the URL.
    pub addresses: Vec<AddressFinding>,
    /// Who was dialled.
    pub dialled: Option<SocketAddr>,
    /// What was seen of TLS.
    pub tls: Option<TlsFinding>,
    /// When the server's own certificate expires.
    pub certificate_expires_at: Option<Timestamp>,
    /// Whole days until then; negative once it has.
    pub certificate_days_left: Option<i64>,
    /// How long each completed stage took, in milliseconds.
    pub phases_ms: PhasesMs,
    /// The answer's status.
    pub http_status: Option<u16>,
    /// Those of its headers that matter.
    pub headers: BTreeMap<&'static str, String>,
    /// The first 2 KiB of its body.
    pub answer: Option<String>,
    /// What keeps callbacks from being delivered, in words for the merchant.
    pub to_fix: Vec<String>,
    /// What does not yet, but may.
    pub worth_knowing: Vec<String>,
}

/// An address, and whether callbacks may go there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressFinding {
    /// The address.
    pub address: IpAddr,
    /// The egress policy's verdict.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What was seen of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsFinding {
    /// `1.2` or `1.3`.
    pub version: Option<&'static str>,
    /// The cipher suite.
    pub cipher_suite: Option<String>,
    /// Whether the certificates were accepted; `None` if none came.
    pub trusted: Option<bool>,
    /// Why not.
    pub distrust: Option<String>,
    /// The certificates as shown, the server's own first.
    pub certificates: Vec<CertificateFinding>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFinding {
    /// Whose it is.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// What it is for.
    pub names: Vec<String>,
    /// Valid from here.
    pub not_before: Timestamp,
    /// Valid to here.
    pub not_after: Timestamp,
}

/// Milliseconds of each completed stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "PhaseTimes documents the stages")]
pub struct PhasesMs {
    pub dns: Option<f64>,
    pub connect: Option<f64>,
    pub tls: Option<f64>,
    pub head: Option<f64>,
    pub body: Option<f64>,
}

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

/// The certificate of the server itself.
fn own_certificate(report: &ProbeReport) -> Option<&Certificate> {
    chain(report)?.certificates.first()
}

fn chain(report: &ProbeReport) -> Option<&Chain> {
    report.tls.as_ref()?.chain.as_ref()
}

/// The stage that the exchange broke in, and why, if it broke.
const fn broke(report: &ProbeReport) -> Option<(Phase, Cause)> {
    match &report.post.exchange {
        Exchange::Failed(fault) => Some((fault.phase, fault.cause)),
        _ => None,
    }
}

fn address_finding(
    (address, verdict): &(IpAddr, Result<(), crate::delivery::egress::Forbidden>),
) -> AddressFinding {
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
        certificates: certificates
            .map(|certificate| CertificateFinding {
                subject: certificate.subject.clone(),
                issuer: certificate.issuer.clone(),
                names: certificate.names.clone(),
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            })
            .collect(),
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

/// By how many seconds the server's clock is ahead of ours, by its Date header.
fn seconds_ahead(diagnosis: &Diagnosis) -> Option<i64> {
    let date = diagnosis.headers.get("date")?;
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some(date.timestamp() - diagnosis.probed.sent_at.as_millis().div_euclid(1000))
}
