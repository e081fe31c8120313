//! Certificates of `egress.extra_ca_file`: authorities, and servers' own.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::scripted::ACK;
use super::tls::{params, post_to, private, provider};
use super::*;
use crate::delivery::transport::listed::is_authority;

fn listing(certificate: &CertificateDer<'static>) -> TransportSettings {
    TransportSettings {
        extra_roots: vec![certificate.clone()],
        ..settings()
    }
}

fn server(certificate: &CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("good versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private(key))
        .expect("a good certificate")
}

/// A certificate for `other.test`, and a server with one for `merchant.test` that it has signed.
fn signer_and_server(
    is_ca: IsCa,
    usages: &[KeyUsagePurpose],
) -> (CertificateDer<'static>, ServerConfig) {
    let mut signer = params("other.test");
    signer
        .distinguished_name
        .push(DnType::CommonName, "other.test");
    signer.is_ca = is_ca;
    signer.key_usages = usages.to_vec();
    let key = KeyPair::generate().expect("a key");
    let signer = CertifiedIssuer::self_signed(signer, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let signed = params("merchant.test").signed_by(&key, &signer);
    let signed = server(signed.expect("a certificate").der(), &key);
    (signer.der().clone(), signed)
}

#[tokio::test]
async fn a_listed_certificate_is_an_authority_only_if_it_says_so() {
    let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
    let table = [
        (authority(), vec![], true),
        (authority(), vec![KeyUsagePurpose::KeyCertSign], true),
        (authority(), vec![KeyUsagePurpose::DigitalSignature], false),
        (IsCa::ExplicitNoCa, vec![], false),
        (IsCa::NoCa, vec![], false),
        (IsCa::NoCa, vec![KeyUsagePurpose::KeyCertSign], false),
    ];
    for (is_ca, usages, is_trusted) in table {
        let said = format!("{is_ca:?} {usages:?}");
        let (listed, server) = signer_and_server(is_ca, &usages);
        assert_eq!(is_authority(&listed), is_trusted, "{said}");
        let (report, merchant) = post_to(server, listing(&listed)).await;
        if is_trusted {
            assert_eq!(
                report.exchange,
                answered(merchant.address, 200, ACK),
                "{said}"
            );
        } else {
            assert_fault(&report, Phase::Tls, Cause::Remote, "issuer is not trusted");
            assert!(merchant.requests().is_empty(), "{said}");
        }
    }
}

/// Of `openssl x509 -req`, without extensions: a root, and a certificate that it has signed.
const VERSION_1: [(&str, bool); 2] = [
    (
        "-----BEGIN CERTIFICATE-----\n\
         MIIBIzCByQIUUFQO4hGCJ9B3cAZ+Lv0Y1FyY9eUwCgYIKoZIzj0EAwIwEzERMA8G\n\
         A1UEAwwIT2xkIHJvb3QwIBcNMjYxMTMwMTkwOTA0WhgPMjEyNjExMDYxOTA5MDRa\n\
         MBMxETAPBgNVBAMMCE9sZCByb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n\
         IE882PITFHCvDKTdyG4Lg8vaJsNCxpwAYxSfK2TuGaF5cJSRsG5Hjr2nK6XmzpSM\n\
         eAiUBGTDX2ZJM21IzF6RlDAKBggqhkjOPQQDAgNJADBGAiEAvCSOaZgrq/GRdoYl\n\
         3kPSab/S+VGJ56daTB/3giYoIYoCIQDJvo4gRVrLY5si96l5jLkRfJvbLBsxBOWy\n\
         P0xlCtf/YA==\n\
         -----END CERTIFICATE-----",
        true,
    ),
    (
        "-----BEGIN CERTIFICATE-----\n\
         MIIBJjCBzgIUHT9iXwgTt9136Ja3m0gZvbHCzbgwCgYIKoZIzj0EAwIwEzERMA8G\n\
         A1UEAwwIT2xkIHJvb3QwIBcNMjYxMTMwMTkwOTA0WhgPMjEyNjExMDYxOTA5MDRa\n\
         MBgxFjAUBgNVBAMMDW1lcmNoYW50LnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMB\n\
         BwNCAAS1Z6fo+LLPjaYoU0quKRKZnqooDN9vy3VjX8qk0EbmByPGFKpGmMhYd3vG\n\
         WvftHYbWtPrDOymIs5YIN/5S9pz9MAoGCCqGSM49BAMCA0cAMEQCIA2jnkTaPOUg\n\
         hJxbszbA4gWRfl0WCdQ07GrnZhDY3J5fAiAXjjmu7C6z6OatK8l7oWj61lM5olxr\n\
         Sxfw+FEspD4F7g==\n\
         -----END CERTIFICATE-----",
        false,
    ),
];

#[test]
fn of_version_1_a_root_is_an_authority() {
    for (pem, is_root) in VERSION_1 {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        assert_eq!(is_authority(&der), is_root, "{pem}");
    }
}

#[tokio::test]
async fn a_listed_certificate_is_trusted_as_it_is_whoever_has_signed_it() {
    let mut unlisted = CertificateParams::default();
    unlisted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let unlisted = CertifiedIssuer::self_signed(unlisted, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    for (name, why) in [
        ("merchant.test", ""),
        ("other.test", "not valid for this host name"),
    ] {
        for is_self_signed in [true, false] {
            let certificate = match is_self_signed {
                true => params(name).self_signed(&key),
                false => params(name).signed_by(&key, &unlisted),
            };
            let certificate = certificate.expect("a certificate").der().clone();
            let shown = server(&certificate, &key);
            let (report, merchant) = post_to(shown, listing(&certificate)).await;
            match why {
                "" => assert_eq!(report.exchange, answered(merchant.address, 200, ACK)),
                why => assert_fault(&report, Phase::Tls, Cause::Remote, why),
            }
        }
    }
}

/// As `openssl req -x509` makes it: an authority by its own word, which shows itself.
fn self_signed(name: &str, names: &[&str]) -> (ServerConfig, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (server(certificate.der(), &key), certificate.der().clone())
}

#[tokio::test]
async fn a_listed_authority_is_trusted_as_it_is_for_the_names_in_it() {
    let table = [
        (self_signed("merchant.test", &[]), ""),
        (self_signed("Shop", &["merchant.test"]), ""),
        (
            self_signed("other.test", &[]),
            "not valid for this host name",
        ),
        (
            self_signed("merchant.test", &["other.test"]),
            "not valid for this host name",
        ),
    ];
    for ((server, certificate), why) in table {
        let listed = TransportSettings {
            extra_roots: vec![certificate],
            ..settings()
        };
        let (report, merchant) = post_to(server, listed).await;
        match why {
            "" => assert_eq!(report.exchange, answered(merchant.address, 200, ACK)),
            why => assert_fault(&report, Phase::Tls, Cause::Remote, why),
        }
    }
    // One that is not listed is not trusted, whoever else is.
    let (server, _) = self_signed("merchant.test", &["merchant.test"]);
    let (_, another) = self_signed("merchant.test", &["merchant.test"]);
    let listed = TransportSettings {
        extra_roots: vec![another],
        ..settings()
    };
    let (report, merchant) = post_to(server, listed).await;
    assert_fault(&report, Phase::Tls, Cause::Remote, "the certificate");
    assert!(merchant.requests().is_empty());
}
