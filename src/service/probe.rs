//! A probe: a test payment to a merchant's URL, sent as the daemon would, past the queue.

use thiserror::Error;

use super::transport;
use crate::config::Configuration;
use crate::delivery::SignedRequest;
use crate::delivery::transport::TransportError;
use crate::diagnosis::{Diagnosis, Probed, diagnose};
use crate::domain::{Message, Payment, Timestamp, Unsignable};

/// Why nothing was sent.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The transport can't be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// No key of the app can sign.
    #[error(transparent)]
    Unsignable(#[from] Unsignable),
}

/// Sends a test payment of `app_id` to `url`, with the keys, the egress policy, the limits and the
/// transport that the daemon would use, and tells what came of it. Nothing is queued or recorded.
///
/// # Errors
///
/// If it can't be signed or sent at all. Whatever happens on the way is in the diagnosis.
pub async fn probe(
    configuration: &Configuration,
    app_id: &str,
    url: &str,
    now: Timestamp,
) -> Result<Diagnosis, ProbeError> {
    let Configuration { settings, keys } = configuration;
    let convention = &settings.signing.convention;
    let payment = Payment::test(app_id, now);
    let order_no = payment.order_no.clone();
    let message = Message::Payment(payment);
    let request = SignedRequest::sign(&message, &keys.keyring, convention, now)?;
    let transport = transport(settings, keys.client_certificates.clone())?;
    let probed = Probed {
        url: url.to_owned(),
        app_id: app_id.to_owned(),
        key_id: request.sent.key_id,
        order_no,
        sent_at: now,
        canonical_form: convention.canonical_form(&message.members(&now.to_wire())),
        body: String::from_utf8_lossy(&request.body).into_owned(),
    };
    let report = transport.probe(app_id, url, request.body).await;
    Ok(diagnose(probed, &report, settings.delivery.timeout))
}
