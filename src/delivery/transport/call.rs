//! One exchange: send, perhaps once more, and read the answer up to the cap.

#![expect(
    clippy::disallowed_types,
    reason = "this is where merchants are called from"
)]

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hyper::body::Bytes;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Body, Client, Method, Request, Response, StatusCode};

use super::connector::{ends, ends_of};
use super::fault::{self, Circumstances};
use super::permit::{Permit, Permitted};
use super::progress::{Ends, Progress};
use super::worker_cache::WorkerCache;
use super::{Post, PostReport, Transport};
use crate::clock::Stopwatch;
use crate::delivery::egress::{Target, TargetHost};
use crate::domain::{CappedBody, Cause, Exchange, ExchangeFault, Phase};

#[async_trait]
impl Post for Transport {
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport {
        self.post_with_cache(&mut WorkerCache::default(), url, body, None)
            .await
    }

    async fn post_with_cache(
        &self,
        cache: &mut WorkerCache,
        url: &str,
        body: Vec<u8>,
        permit: Option<Arc<Permit>>,
    ) -> PostReport {
        let progress = Progress::start(Stopwatch::start());
        self.observed(&progress, cache, url, body, permit).await
    }
}

impl Transport {
    /// Makes a POST that reports to `progress`.
    pub(super) async fn observed(
        &self,
        progress: &Arc<Progress>,
        cache: &mut WorkerCache,
        url: &str,
        body: Vec<u8>,
        permit: Option<Arc<Permit>>,
    ) -> PostReport {
        let judged = cache
            .last_target
            .target(&self.url_cache, url, |url| self.judge(url));
        let exchange = match judged {
            Err(reason) => Exchange::Blocked { reason },
            Ok(target) => {
                let body = Bytes::from(body);
                let body = || match &permit {
                    None => Body::from(body.clone()),
                    Some(permit) => Body::wrap(Permitted {
                        body: body.clone(),
                        permit: Arc::clone(permit),
                    }),
                };
                // Pinned where it is: it is large, and would be moved several times.
                let exchange = pin!(self.exchange(progress, target, body));
                let timer = cache.timer.until(progress.deadline(self.timeout));
                match select(exchange, timer).await {
                    Either::Left((exchange, _)) => exchange,
                    Either::Right(_) => self.overdue(progress, target),
                }
            }
        };
        PostReport {
            exchange,
            phases: progress.phase_times(),
            resent: progress.is_resent(),
            retry_after: progress.retry_after(),
        }
    }

    fn judge(&self, url: &str) -> Result<Target, String> {
        let target = self.policy.check_url(url).map_err(|why| why.to_string())?;
        // The resolver lets the proxy's name pass, so no merchant may use it.
        if self.proxy_host.is_some() && target.url.host_str() == self.proxy_host.as_deref() {
            return Err("the callback URL's host is egress.proxy itself; correct it".to_owned());
        }
        Ok(target)
    }

    async fn exchange(
        &self,
        progress: &Arc<Progress>,
        target: &Target,
        body: impl Fn() -> Body + Send,
    ) -> Exchange {
        let mut answer = send(&self.pooled, progress, target, body()).await;
        if gave_up(&answer).is_some_and(|ends| progress.is_kept(ends)) {
            progress.resend();
            answer = send(&self.fresh, progress, target, body()).await;
        }
        match answer {
            Ok(response) => self.read(progress, target, response).await,
            Err(error) => self.failed(progress, target, &error),
        }
    }

    async fn read(&self, progress: &Progress, target: &Target, mut response: Response) -> Exchange {
        let ends = ends_along(&response);
        let is_proxy_refusal = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        if is_proxy_refusal && self.proxy_host.is_some() {
            return Exchange::Failed(ExchangeFault {
                phase: Phase::Head,
                cause: Cause::Local,
                detail: "egress.proxy: it refuses our credentials (407)".to_owned(),
                status: None,
                remote_addr: ends.map(|ends| ends.remote),
            });
        }
        let status = response.status().as_u16();
        progress.head_came(status, ends);
        progress.note_headers(response.headers());
        let mut body = CappedBody {
            bytes: Vec::new(),
            oversized: false,
        };
        while !body.oversized {
            match response.chunk().await {
                Ok(Some(chunk)) => add_capped(&mut body, &chunk, self.max_response_bytes),
                Ok(None) => break,
                Err(error) => return self.failed(progress, target, &error),
            }
        }
        progress.ended();
        // Where the body was cut, dropping the response closes the connection.
        Exchange::Answered {
            status,
            body,
            remote_addr: ends.map(|ends| ends.remote),
        }
    }

    fn failed(&self, progress: &Progress, target: &Target, error: &reqwest::Error) -> Exchange {
        if let Some(forbidden) = fault::forbidden(error) {
            let reason = forbidden.to_string();
            return Exchange::Blocked { reason };
        }
        if error.is_builder() {
            // Before anything was sent: a URL that is none in HTTP's own grammar.
            let reason = "the callback URL does not fit into a request; correct it".to_owned();
            return Exchange::Blocked { reason };
        }
        let finding = fault::classify(
            error,
            Circumstances {
                phase: progress.phase(),
                connect_timeout: self.connect_timeout,
                is_proxied: self.proxy_host.is_some(),
            },
        );
        Exchange::Failed(ExchangeFault {
            phase: finding.phase,
            cause: finding.cause,
            detail: finding.detail,
            status: progress.status(),
            remote_addr: ends_in(error)
                .map(|ends| ends.remote)
                .or_else(|| self.dialled(progress, target)),
        })
    }

    fn overdue(&self, progress: &Progress, target: &Target) -> Exchange {
        let phase = progress.phase();
        let awaited = if phase == Phase::Body {
            "complete answer"
        } else {
            "answer"
        };
        Exchange::Failed(ExchangeFault {
            phase,
            cause: Cause::Deadline,
            detail: fault::deadline_detail(awaited, self.timeout, phase),
            status: progress.status(),
            remote_addr: self.dialled(progress, target),
        })
    }

    /// The dialled address, as far as progress and URL tell. It is unknown for a kept connection that
    /// has neither answered nor broken yet.
    fn dialled(&self, progress: &Progress, target: &Target) -> Option<SocketAddr> {
        match (progress.remote_addr(), target.host) {
            (Some(known), _) if known.port() != 0 => Some(known),
            // The proxy's address, or one that only the proxy dials.
            _ if self.proxy_host.is_some() => None,
            (Some(resolved), _) => Some(SocketAddr::new(resolved.ip(), target.port)),
            (None, TargetHost::Address(address)) => Some(SocketAddr::new(address, target.port)),
            (None, TargetHost::Name) => None,
        }
    }
}

async fn send(
    client: &Client,
    progress: &Arc<Progress>,
    target: &Target,
    body: Body,
) -> Result<Response, reqwest::Error> {
    let mut request = Request::new(Method::POST, target.url.clone());
    *request.body_mut() = Some(body);
    progress.follow(client.execute(request)).await
}

/// The connection, if the other side gave it up: closed without an answer, or with a 408, by which
/// some servers end an idle connection (RFC 9110, 15.5.9). Either may cross the request.
fn gave_up(answer: &Result<Response, reqwest::Error>) -> Option<Ends> {
    match answer {
        Err(error) if fault::is_closed_unanswered(error) => ends_in(error),
        Ok(response) if response.status() == StatusCode::REQUEST_TIMEOUT => ends_along(response),
        _ => None,
    }
}

/// The ends of the connection that an answer came along.
fn ends_along(response: &Response) -> Option<Ends> {
    response.extensions().get::<HttpInfo>().map(ends_of)
}

/// The ends of the connection that broke, if there was one.
fn ends_in(error: &reqwest::Error) -> Option<Ends> {
    let error = fault::find::<hyper_util::client::legacy::Error>(error)?;
    ends(error.connect_info()?)
}

/// Adds as much as the cap lets in, and notes if that is not all.
fn add_capped(body: &mut CappedBody, chunk: &[u8], cap: usize) {
    let room = cap.saturating_sub(body.bytes.len());
    body.oversized = chunk.len() > room;
    body.bytes
        .extend_from_slice(&chunk[..chunk.len().min(room)]);
}
