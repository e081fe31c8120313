//! The merchants, in this process.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use callback_dispatcher::clock::Stopwatch;
use callback_dispatcher::merchant::{Answer, MerchantSettings, MockMerchant, Received, Script};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::process::wall_nanos;

/// No step of a benchmark takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A merchant on loopback that acknowledges everything and reads nothing; over TLS if it is told
/// where to write its certificate.
pub(crate) async fn acknowledging(certificate: Option<&Path>) -> Result<MockMerchant> {
    let tls = certificate.map(tls).transpose()?;
    start(Answer::Ack.into(), tls).await
}

/// A merchant that takes every POST and never answers.
pub(crate) async fn hanging() -> Result<MockMerchant> {
    start(Answer::Hang.into(), None).await
}

/// A merchant that acknowledges everything and writes down when each payment came.
pub(crate) async fn watching(arrivals: &Arc<Arrivals>) -> Result<MockMerchant> {
    let arrivals = Arc::clone(arrivals);
    let script = Script::each(move |received| {
        arrivals.note(received);
        Answer::Ack
    });
    start(script, None).await
}

/// On every loopback address, so that one merchant can be many origins.
pub(crate) async fn start(script: Script, tls: Option<Arc<ServerConfig>>) -> Result<MockMerchant> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let settings = MerchantSettings {
        script,
        tls,
        remember: 0,
        ..MerchantSettings::default()
    };
    Ok(MockMerchant::start(listener, settings)?)
}

/// The origin of a merchant over plain HTTP, or its `n`th one as an SQL expression over `n`.
pub(crate) fn origin(merchant: &MockMerchant) -> String {
    format!("http://127.0.0.1:{}", merchant.addr().port())
}

/// An expression in the SQL of SQLite and PostgreSQL: one of `origins` origins of `merchant`, by the
/// expression `by`.
pub(crate) fn one_of(merchant: &MockMerchant, origins: usize, by: &str) -> String {
    let port = merchant.addr().port();
    format!(
        "'http://127.1.' || (({by}) % {origins} / 250) || '.' || (({by}) % {origins} % 250 + 1) || ':{port}'"
    )
}

/// Returns once `merchant` has had `posts` more POSTs than `before`; how long that took from the
/// first of them.
pub(crate) async fn all_arrived(
    merchant: &MockMerchant,
    before: usize,
    posts: usize,
) -> Result<Duration> {
    timeout(PATIENCE, merchant.wait_for(before + 1))
        .await
        .context("no POST has arrived")?;
    let watch = Stopwatch::start();
    let mut look = tokio::time::interval(Duration::from_millis(1));
    let arrived = async {
        while merchant.count() < before + posts {
            look.tick().await;
        }
    };
    timeout(PATIENCE, arrived)
        .await
        .with_context(|| format!("{} of {posts} arrived", merchant.count() - before))?;
    Ok(watch.elapsed())
}

/// When each payment came, by its number.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Vec<(usize, i128)>>);

impl Arrivals {
    fn note(&self, received: &Received) {
        let now = wall_nanos();
        let number = received
            .text("newpayOrderNo")
            .and_then(|no| no.parse().ok());
        if let Some(number) = number {
            self.lock().push((number, now));
        }
    }

    /// What has come so far.
    pub(crate) fn take(&self) -> Vec<(usize, i128)> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, i128)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A certificate for loopback, which is its own authority, written to `ca`.
fn tls(ca: &Path) -> Result<Arc<ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(ca, made.cert.pem())?;
    let key =
        PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(Arc::new(config))
}
