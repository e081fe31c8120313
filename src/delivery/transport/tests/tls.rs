//! TLS: who is trusted, and where a handshake breaks.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{NamedGroup, ServerConfig};

use super::scripted::{ACK, Found, LOOPBACK, Merchant, Step, answer, send};
use super::*;
use crate::delivery::transport::tls;

/// A private certification authority.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    fn settings(&self) -> TransportSettings {
        TransportSettings {
            extra_roots: vec![self.issuer.der().clone()],
            ..settings()
        }
    }

    fn server(&self, name: &str) -> ServerConfig {
        self.server_with(&params(name), rustls::ALL_VERSIONS)
    }

    fn server_with(
        &self,
        params: &CertificateParams,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("good versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private(&key))
            .expect("a good certificate")
    }
}

impl Authority {
    /// A server that wants a certificate of this authority.
    fn server_for_clients(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ServerConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a good root");
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
                .build()
                .expect("a verifier");
        let key = KeyPair::generate().expect("a key");
        let certificate = params("merchant.test").signed_by(&key, &self.issuer);
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("good versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate.expect("a certificate").der().clone()],
                private(&key),
            )
            .expect("a good certificate")
    }
}

pub(super) fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a good name")
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

fn tls_transport(settings: TransportSettings) -> Transport {
    resolving(settings, [Found::Addresses(vec![LOOPBACK])])
}

pub(super) async fn post_to(
    server: ServerConfig,
    settings: TransportSettings,
) -> (PostReport, Merchant) {
    let merchant = Merchant::tls(server, vec![vec![Step::Request, Step::Ack]]).await;
    let transport = tls_transport(settings);
    let report = transport
        .post(&merchant.named_url("https"), Vec::new())
        .await;
    (report, merchant)
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_listed() {
    let authority = Authority::new("One");
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let server = authority.server_with(&params("merchant.test"), versions);
        let (report, merchant) = post_to(server, authority.settings()).await;
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
        let times = report.phases;
        assert!(times.dns.is_some() && times.connect.is_some() && times.tls.is_some());
        assert!(times.head.is_some() && times.body.is_some());
    }
}

#[tokio::test]
async fn a_session_is_resumed_by_the_app_that_has_it_alone() {
    let authority = Authority::new("One");
    let scripts = vec![vec![Step::Request, send(answer(200, "no"))]];
    let merchant = Merchant::tls(authority.server("merchant.test"), scripts).await;
    let transport = tls_transport(authority.settings());
    let url = merchant.named_url("https");
    for app_id in ["6", "6", "7"] {
        post_as(&transport, app_id, &url, "", None).await;
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(merchant.handshakes(), [Full, Resumed, Full]);
}

#[tokio::test]
async fn a_session_of_another_port_or_address_is_not_resumed() {
    let authority = Authority::new("One");
    // They share what they know of sessions, and would resume each other's.
    let server = authority.server("merchant.test");
    let scripts = vec![vec![Step::Request, send(answer(200, "no"))]];
    let first = Merchant::tls(server.clone(), scripts.clone()).await;
    let other_port = Merchant::tls(server.clone(), scripts.clone()).await;
    let address = SocketAddr::new([127, 0, 0, 2].into(), first.address.port());
    let other_address = Merchant::tls_at(address, server, scripts).await;
    let at = |address: &SocketAddr| Found::Addresses(vec![address.ip()]);
    let found = [
        at(&first.address),
        at(&first.address),
        at(&address),
        at(&first.address),
    ];
    let transport = resolving(authority.settings(), found);
    for merchant in [&first, &other_port, &other_address, &first] {
        transport
            .post(&merchant.named_url("https"), Vec::new())
            .await;
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(first.handshakes(), [Full, Resumed]);
    assert_eq!(other_port.handshakes(), [Full]);
    assert_eq!(other_address.handshakes(), [Full]);
}

#[tokio::test]
async fn certificates_that_are_not_accepted() {
    let (authority, stranger) = (Authority::new("One"), Authority::new("Another"));
    let mut expired = params("merchant.test");
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let table = [
        (stranger.server("merchant.test"), "egress.extra_ca_file"),
        (
            authority.server("other.test"),
            "the certificate is not valid for this host name",
        ),
        (
            authority.server_with(&expired, rustls::ALL_VERSIONS),
            "the certificate expired on 2002-01-01T00:00:00.000Z",
        ),
    ];
    for (server, detail) in table {
        let (report, merchant) = post_to(server, authority.settings()).await;
        assert_fault(&report, Phase::Tls, Cause::Remote, detail);
        assert_eq!(fault_of(&report).remote_addr, Some(merchant.address));
        assert!(merchant.requests().is_empty());
        assert!(report.phases.connect.is_some() && report.phases.tls.is_none());
    }
    let (report, _) = post_to(authority.server("merchant.test"), settings()).await;
    assert_fault(&report, Phase::Tls, Cause::Remote, "egress.extra_ca_file");
}

#[tokio::test]
async fn a_merchant_that_wants_a_client_certificate_gets_that_of_the_app() {
    let authority = Authority::new("One");
    let own = KeyPair::generate().expect("a key");
    let shown = params("app-6.test").signed_by(&own, &authority.issuer);
    let mut certificates = ClientCertificates::default();
    let chain = vec![shown.expect("a certificate").der().clone()];
    certificates
        .add("6", chain.clone(), private(&own))
        .expect("they belong together");
    let strange = KeyPair::generate().expect("a key");
    assert!(certificates.add("7", chain, private(&strange)).is_err());
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let settings = TransportSettings {
            client_certificates: certificates.clone(),
            ..authority.settings()
        };
        let server = authority.server_for_clients(versions);
        let merchant = Merchant::tls(server, vec![vec![Step::Request, Step::Ack]]).await;
        let transport = tls_transport(settings);
        let url = merchant.named_url("https");
        let report = post_as(&transport, "6", &url, "", None).await;
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
        let report = post_as(&transport, "7", &url, "", None).await;
        assert_fault(&report, Phase::Tls, Cause::Remote, "alert");
    }
}

#[tokio::test]
async fn p521_and_post_quantum_key_exchange_are_taken() {
    let authority = Authority::new("One");
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
    let certificate = params("merchant.test").signed_by(&p521, &authority.issuer);
    let certificate = certificate.expect("a certificate").der().clone();
    for (versions, group) in [
        ([&rustls::version::TLS13], NamedGroup::X25519MLKEM768),
        ([&rustls::version::TLS13], NamedGroup::secp521r1),
        ([&rustls::version::TLS12], NamedGroup::secp521r1),
    ] {
        let mut provider = tls::provider();
        provider.kx_groups.retain(|known| known.name() == group);
        let server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .expect("good versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private(&p521))
            .expect("a good certificate");
        let (report, merchant) = post_to(server, authority.settings()).await;
        assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    }
}

#[test]
fn the_document_for_merchants_names_every_cipher_suite() {
    let document = include_str!("../../../../docs/merchants.md");
    for suite in tls::accepted_cipher_suites() {
        assert!(document.contains(&format!("`{suite}`")), "{suite}");
    }
    assert_eq!(document.matches("`TLS_").count(), 9);
}

#[tokio::test]
async fn plain_http_on_an_https_url_breaks_tls() {
    let merchant = Merchant::plain(vec![vec![send("HTTP/1.1 400 Bad Request\r\n\r\n")]]).await;
    let report = tls_transport(settings())
        .post(&merchant.named_url("https"), Vec::new())
        .await;
    assert_fault(
        &report,
        Phase::Tls,
        Cause::NotTls,
        "the server's answer is not valid TLS",
    );
}

#[tokio::test]
async fn hanging_before_the_server_hello_is_a_timeout_there() {
    let merchant = Merchant::plain(vec![vec![Step::Hang]]).await;
    let connect_first = TransportSettings {
        connect_timeout: Duration::from_millis(700),
        ..settings()
    };
    let report = tls_transport(connect_first)
        .post(&merchant.named_url("https"), Vec::new())
        .await;
    let detail = "no connection within 700ms during the TLS handshake";
    assert_fault(&report, Phase::Tls, Cause::Deadline, detail);
    let whole_first = TransportSettings {
        timeout: Duration::from_millis(700),
        ..settings()
    };
    let report = tls_transport(whole_first)
        .post(&merchant.named_url("https"), Vec::new())
        .await;
    let detail = "no answer within 700ms during the TLS handshake";
    assert_fault(&report, Phase::Tls, Cause::Deadline, detail);
    assert_eq!(fault_of(&report).remote_addr, Some(merchant.address));
}

#[tokio::test]
async fn a_connection_closed_in_the_handshake_breaks_there() {
    let merchant = Merchant::plain(vec![Vec::new()]).await;
    let report = tls_transport(settings())
        .post(&merchant.named_url("https"), Vec::new())
        .await;
    assert_fault(&report, Phase::Tls, Cause::Remote, "");
}

#[tokio::test]
async fn a_kept_tls_connection_that_is_closed_costs_no_attempt() {
    let authority = Authority::new("One");
    let scripts = vec![
        vec![Step::Request, Step::Ack, Step::Request],
        vec![Step::Request, Step::Ack],
    ];
    let merchant = Merchant::tls(authority.server("merchant.test"), scripts).await;
    let transport = tls_transport(authority.settings());
    let url = merchant.named_url("https");
    let report = post_twice(&transport, &url).await;
    assert_eq!(report.exchange, answered(merchant.address, 200, ACK));
    assert!(merchant.requests()[2].ends_with(AGAIN));
    // The second handshake resumes the session of the first, and is seen all the same.
    assert!(report.phases.tls.is_some());
}
