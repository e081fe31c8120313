//! The reference for sending: nothing but reqwest.

#![expect(
    clippy::disallowed_types,
    reason = "the reference is the client without the dispatcher around it"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::task::JoinSet;

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[arg(long)]
    url: String,
    #[arg(long)]
    posts: usize,
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    ca: Option<PathBuf>,
}

/// As long as what the dispatcher sends of the rows that it is measured with.
const BODY: &str = r#"{"amount":"188000.00","appId":"6","currency":"LAK","extra":"table 12","newpayOrderNo":"202600000000000001","orderNo":"M00000000000001","payMethod":"1","result":"success","settlementStatus":"1","sign":"3S0x9wUq0wXv0r6c1m2n3b4v5c6x7z8a9s0d1f2g3h4=","subject":"Lao coffee, one kilogram, roasted","timestamp":"2026-11-24T10:00:00.000+07:00","transInfo":"BCELONE"}"#;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) async fn run(flags: Flags) -> Result<()> {
    // An error means that there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        // What the dispatcher sends: the same bytes for the same work.
        .user_agent(concat!("callback-dispatcher/", env!("CARGO_PKG_VERSION")))
        .default_headers(HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ACCEPT, JSON)]))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if let Some(ca) = &flags.ca {
        builder = builder.tls_backend_preconfigured(trusting(&fs::read(ca)?)?);
    }
    let client = builder.build()?;
    let left = Arc::new(AtomicUsize::new(flags.posts));
    let url = reqwest::Url::parse(&flags.url)?;
    let mut tasks = JoinSet::new();
    for _ in 0..flags.in_flight {
        tasks.spawn(post(client.clone(), url.clone(), Arc::clone(&left)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    // The judge reads what this has cost before it lets it end.
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

async fn post(client: reqwest::Client, url: reqwest::Url, left: Arc<AtomicUsize>) -> Result<()> {
    while take_one(&left) {
        let answer = client.post(url.clone()).body(BODY).send().await?;
        let answer = answer.bytes().await?;
        ensure!(
            &*answer == br#"{"transResult":"SUCCESS"}"#,
            "not acknowledged"
        );
    }
    Ok(())
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

fn trusting(pem: &[u8]) -> Result<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
