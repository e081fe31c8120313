//! Certificates for 127.0.0.1, good and bad, of an authority that the daemon is told to trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// Whom the certificates are for.
const HOST: &str = "127.0.0.1";

/// An authority whose certificate stands in a file.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key.
pub(super) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate"),
            folder: TempDir::new().expect("a temporary folder"),
        };
        std::fs::write(authority.file(), authority.issuer.pem()).expect("room for it");
        authority
    }

    /// The file for `egress.extra_ca_file`.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity_with(&params(HOST))
    }

    pub(super) fn identity_with(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer);
        Identity {
            certificate: certificate.expect("a certificate"),
            key,
        }
    }
}

impl Identity {
    /// Vouched for by nobody else.
    pub(super) fn self_signed() -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(HOST).self_signed(&key);
        Self {
            certificate: certificate.expect("a certificate"),
            key,
        }
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// A server that shows it, with every version of TLS that rustls has.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS)
    }

    pub(super) fn server_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        Arc::new(self.config(versions, self.chain()))
    }

    /// The same that shows its certificate many times.
    pub(super) fn server_repeating(&self, times: usize) -> Arc<ServerConfig> {
        let chain = self.chain().into_iter().cycle().take(times).collect();
        Arc::new(self.config(rustls::ALL_VERSIONS, chain))
    }

    /// The same that hands out so many tickets for a resumption.
    pub(super) fn server_with_tickets(&self, count: usize) -> Arc<ServerConfig> {
        let mut config = self.config(&[&rustls::version::TLS13], self.chain());
        config.send_tls13_tickets = count;
        Arc::new(config)
    }

    /// The same that speaks HTTP/2 and nothing else.
    pub(super) fn server_of_http2(&self) -> Arc<ServerConfig> {
        let mut config = self.config(rustls::ALL_VERSIONS, self.chain());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    fn config(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        chain: Vec<CertificateDer<'static>>,
    ) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("good versions")
            .with_no_client_auth()
            .with_single_cert(chain, self.private_key())
            .expect("a good certificate")
    }

    /// Writes `certificate.pem` and `key.pem`, for other people's servers.
    pub(super) fn write_to(&self, folder: &Path) {
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).expect("room for it");
        };
        write("certificate.pem", self.certificate.pem());
        write("key.pem", self.key.serialize_pem());
    }
}

/// What a certificate for `name` says, from 1975 to 4096.
pub(super) fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a good name")
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
