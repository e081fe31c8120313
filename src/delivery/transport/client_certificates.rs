//! The certificates that apps show to servers that ask for one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::tls;

/// By app; an app has one at most.
#[derive(Clone, Default)]
pub struct ClientCertificates(HashMap<String, Arc<SingleCertAndKey>>);

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut apps: Vec<_> = self.0.keys().collect();
        apps.sort();
        f.debug_tuple("ClientCertificates").field(&apps).finish()
    }
}

impl ClientCertificates {
    /// Lets `app_id` show `chain`, the certificate of `key` first.
    ///
    /// # Errors
    ///
    /// If the key is of an unknown kind, or not that of the certificate.
    pub fn add(
        &mut self,
        app_id: &str,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        let certified = CertifiedKey::from_der(chain, key, &tls::provider())?;
        self.0.insert(app_id.to_owned(), Arc::new(certified.into()));
        Ok(())
    }

    /// Whether `app_id` has one.
    pub fn has(&self, app_id: &str) -> bool {
        self.0.contains_key(app_id)
    }

    pub(super) fn of(&self, app_id: &str) -> Option<Arc<dyn ResolvesClientCert>> {
        let certificate = self.0.get(app_id)?;
        Some(Arc::clone(certificate) as _)
    }
}
