//! A message, signed and ready to be sent.

use crate::domain::{self, Ambiguity, Convention, Keyring, Message, Timestamp, Unsignable};
use crate::store::Sent;

/// The body, signed, and what the attempt log keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The JSON to POST.
    pub body: Vec<u8>,
    /// What identifies the request.
    pub sent: Sent,
}

impl SignedRequest {
    /// Signs `message` as of `moment`, with the newest key of its app whose validity has begun.
    ///
    /// # Errors
    ///
    /// If no key can sign it, or if its sign would hold for another message as well.
    pub fn sign(
        message: &Message,
        keyring: &Keyring,
        convention: &Convention,
        moment: Timestamp,
    ) -> Result<Self, Unsignable> {
        let signer = keyring.signer(message.app_id(), moment)?;
        let timestamp = moment.to_wire();
        let members = message.members(&timestamp);
        if let Some(ambiguity) = Ambiguity::refused(&members, convention) {
            return Err(Unsignable::Ambiguous(ambiguity));
        }
        let canonical_form = convention.canonical_form(&members);
        let sign = signer
            .key
            .sign(convention, &canonical_form)
            .ok_or_else(|| Unsignable::Failed {
                app_id: message.app_id().to_owned(),
                key_id: signer.id.clone(),
            })?;
        let body = domain::body(&members, &sign);
        let sent = Sent {
            timestamp: moment,
            sign,
            key_id: signer.id.clone(),
            body_sha256: domain::body_sha256(&body),
        };
        Ok(Self { body, sent })
    }
}
