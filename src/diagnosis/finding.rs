//! What a probe found, in the form that terminal and JSON both print.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use chrono::DateTime;
use serde::Serialize;

use crate::delivery::transport::{Certificate, Chain, ProbeReport};
use crate::domain::{Cause, Exchange, Outcome, Phase, Timestamp};

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
    pub certificates: Vec<Certificate>,
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

/// The certificate of the server itself.
pub(super) fn own_certificate(report: &ProbeReport) -> Option<&Certificate> {
    chain(report)?.certificates.first()
}

pub(super) fn chain(report: &ProbeReport) -> Option<&Chain> {
    report.tls.as_ref()?.chain.as_ref()
}

/// The stage that the exchange broke in, and why, if it broke.
pub(super) const fn broke(report: &ProbeReport) -> Option<(Phase, Cause)> {
    match &report.post.exchange {
        Exchange::Failed(fault) => Some((fault.phase, fault.cause)),
        _ => None,
    }
}

/// By how many seconds the server's clock is ahead of ours, by its Date header.
pub(super) fn seconds_ahead(diagnosis: &Diagnosis) -> Option<i64> {
    let date = diagnosis.headers.get("date")?;
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some(date.timestamp() - diagnosis.probed.sent_at.as_millis().div_euclid(1000))
}
