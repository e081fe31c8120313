//! Our own proxy, and whether it answers at all.
//!
//! An exchange that ends in silence behind a proxy is the merchant's fault, or the proxy's. So the proxy is asked
//! something that concerns no merchant. Whatever comes back, be it a refusal, the proxy is well; if nothing does,
//! the silence is our own.
//!
//! Absent: a judgement on a proxy that answers us and whose own way out is broken. As any loss of the network,
//! that shows when no app is reached any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::lookup::Lookups;
use crate::clock::Stopwatch;
use crate::delivery::egress::Target;
use crate::domain::{Cause, Exchange, ExchangeFault};

/// How long the proxy may take. An attempt lasts for so much longer than its deadline at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long its answer, or silence, speaks for other exchanges too.
const KEPT: Duration = Duration::from_secs(5);

/// The greeting of SOCKS 5 without credentials.
const SOCKS_GREETING: &[u8] = &[5, 1, 0];

/// See the module.
pub(super) struct OwnProxy {
    host: String,
    port: u16,
    speaks_http: bool,
    lookups: Arc<Lookups>,
    last: Mutex<Option<(Stopwatch, bool)>>,
}

impl fmt::Debug for OwnProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnProxy").field(&self.host).finish()
    }
}

impl OwnProxy {
    /// The proxy at `url`; none if that has no host.
    pub(super) fn new(url: &Url, lookups: Arc<Lookups>) -> Option<Self> {
        let speaks_http = !url.scheme().starts_with("socks");
        Some(Self {
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default().unwrap_or(1080),
            speaks_http,
            lookups,
            last: Mutex::default(),
        })
    }

    /// Its name or address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether an answer to a request for `target` may be the proxy's own: not through a tunnel.
    pub(super) fn may_answer_for(&self, target: &Target) -> bool {
        self.speaks_http && target.url.scheme() == "http"
    }

    /// `exchange`, which is our own fault if it ended in silence because the proxy is silent.
    pub(super) async fn judged(&self, exchange: Exchange) -> Exchange {
        match exchange {
            Exchange::Failed(fault)
                if fault.cause == Cause::Deadline
                    && fault.status.is_none()
                    && self.is_silent().await =>
            {
                Exchange::Failed(ExchangeFault {
                    cause: Cause::Local,
                    detail: format!("egress.proxy: it does not answer; {}", fault.detail),
                    ..fault
                })
            }
            other => other,
        }
    }

    async fn is_silent(&self) -> bool {
        // Held while it is asked: one question is enough for all.
        let mut last = self.last.lock().await;
        if let Some((at, is_silent)) = *last
            && at.elapsed() < KEPT
        {
            return is_silent;
        }
        let is_silent = timeout(PATIENCE, self.ask()).await.is_err();
        *last = Some((Stopwatch::start(), is_silent));
        is_silent
    }

    /// Returns with whatever comes back, an error or the end of the connection included.
    async fn ask(&self) {
        let host = self.host.trim_matches(['[', ']']);
        let address = match host.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let found = self.lookups.ask(host).await;
                found.ok().and_then(|found| found.first().copied())
            }
        };
        let Some(address) = address else {
            return;
        };
        let Ok(mut stream) = TcpStream::connect((address, self.port)).await else {
            return;
        };
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let question = match self.speaks_http {
            true => request.as_bytes(),
            false => SOCKS_GREETING,
        };
        // A proxy that wants TLS refuses this, and so answers.
        if stream.write_all(question).await.is_ok() {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::egress::Policy;
    use crate::delivery::transport::lookup::SystemLookup;

    #[test]
    fn only_a_proxy_for_http_answers_and_only_outside_a_tunnel() {
        let policy = Policy {
            allow_http: true,
            ..Policy::default()
        };
        for (proxy, url, may_answer) in [
            ("http://proxy.test:3128", "http://merchant.test/", true),
            ("https://proxy.test", "http://merchant.test/", true),
            ("http://proxy.test:3128", "https://merchant.test/", false),
            ("socks5h://proxy.test", "http://merchant.test/", false),
        ] {
            let lookups = Arc::new(Lookups::new(Arc::new(SystemLookup::default())));
            let proxy = OwnProxy::new(&proxy.parse().expect("a URL"), lookups).expect("a host");
            let target = policy.check_url(url).expect("allowed");
            assert_eq!(proxy.may_answer_for(&target), may_answer, "{proxy:?} {url}");
        }
    }
}
