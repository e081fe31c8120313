//! A merchant with a certificate.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;

#[tokio::test]
async fn speaks_tls_if_asked() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["merchant.test".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_no_client_auth();
            builder.with_single_cert(vec![cert.der().clone()], key.into())
        })
        .expect("key and certificate match");
    let merchant = start(MerchantSettings {
        tls: Some(Arc::new(server)),
        ..MerchantSettings::default()
    })
    .await;
    assert!(merchant.url("/cb").starts_with("https://127.0.0.1:"));

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let exchange = async {
        let stream = TcpStream::connect(merchant.addr()).await.expect("listens");
        let name = ServerName::try_from("merchant.test").expect("a name");
        let connector = TlsConnector::from(Arc::new(client));
        let mut stream = connector.connect(name, stream).await.expect("trusted");
        let request = request("{}");
        stream.write_all(request.as_bytes()).await.expect("reads");
        let mut answer = vec![0; 4096];
        let mut length = 0;
        while !answer[..length].ends_with(ACK.as_bytes()) {
            let read = stream.read(&mut answer[length..]).await;
            length += read.expect("still connected");
        }
    };
    in_time(exchange).await;
    assert_eq!(merchant.count(), 1);

    let plain = send(&merchant, &request("{}")).await;
    assert!(!plain.starts_with("HTTP"), "no plain text on a TLS port");
}
