//! One exchange: send, perhaps once more, and read the answer up to the cap.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hyper::body::Bytes;
use reqwest::{Body, Response, StatusCode};
use tokio::time::timeout;

use super::answer::{
    add_capped, ends_of_end, ends_with_connection, gave_up, is_acknowledged, is_complete,
};
use super::connector::{ends_along, ends_in};
use super::fault::{self, Circumstances};
use super::lookup::{LookupError, LookupFailure};
use super::own_proxy::OwnProxy;
use super::permit::{Permit, Permitted};
use super::pool::{Pool, Routes};
use super::progress::Progress;
use super::race::{self, Broken};
use super::resolver;
use super::worker_cache::WorkerCache;
use super::{Post, PostReport, Requests, Transport};
use crate::clock::Stopwatch;
use crate::delivery::egress::{Forbidden, Target, TargetHost};
use crate::domain::{CappedBody, Cause, Exchange, ExchangeFault, Phase};

/// How long a server that leaves a connection open, though its answer ends with it, is waited for once the
/// JSON object is whole.
const LEFT_OPEN_AFTER: Duration = Duration::from_millis(500);

/// Where an exchange is to go, and for whom.
#[derive(Clone, Copy, Debug)]
struct Destination<'a> {
    app_id: &'a str,
    target: &'a Target,
    pool: &'a Pool,
}

#[async_trait]
impl Post for Transport {
    async fn post(&self, url: &str, body: Vec<u8>) -> PostReport {
        let requests = Requests {
            first: body,
            again: &mut || None,
            permit: None,
        };
        self.post_with_cache(&mut WorkerCache::default(), "", url, requests)
            .await
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        self.judge(url).map(drop)
    }

    async fn post_with_cache(
        &self,
        cache: &mut WorkerCache,
        app_id: &str,
        url: &str,
        requests: Requests<'_>,
    ) -> PostReport {
        let progress = Progress::start(Stopwatch::start());
        self.observed(&progress, cache, app_id, url, requests).await
    }
}

impl Transport {
    /// Makes a POST that reports to `progress`.
    pub(super) async fn observed(
        &self,
        progress: &Arc<Progress>,
        cache: &mut WorkerCache,
        app_id: &str,
        url: &str,
        requests: Requests<'_>,
    ) -> PostReport {
        let judged = cache
            .last_target
            .target(&self.url_cache, url, |url| self.judge(url));
        let exchange = match judged {
            Err(reason) => Exchange::Blocked { reason },
            Ok(target) => {
                let pool = cache.last_pool.pool(&self.pools, app_id, target);
                let destination = Destination {
                    app_id,
                    target,
                    pool: &pool,
                };
                // Pinned where it is: it is large, and would be moved several times.
                let exchange = pin!(self.exchange(progress, destination, requests));
                let timer = cache.timer.until(progress.deadline(self.timeout));
                let exchange = match select(exchange, timer).await {
                    Either::Left((exchange, _)) => exchange,
                    Either::Right(_) => self.overdue(progress, target),
                };
                let exchange = match &self.proxy {
                    Some(proxy) => proxy.judged(exchange).await,
                    None => exchange,
                };
                if !is_acknowledged(&exchange) {
                    pool.spoil(progress.along());
                }
                exchange
            }
        };
        PostReport {
            exchange,
            phases: progress.phase_times(),
            retry_after: progress.retry_after(),
        }
    }

    fn judge(&self, url: &str) -> Result<Target, String> {
        let target = self.policy.check_url(url).map_err(|why| why.to_string())?;
        // The resolver lets the proxy's name pass, so no merchant may use it.
        let own_proxy = self.proxy.as_ref().map(OwnProxy::host);
        if own_proxy.is_some() && target.url.host_str() == own_proxy {
            return Err("the callback URL's host is egress.proxy itself; correct it".to_owned());
        }
        Ok(target)
    }

    async fn exchange(
        &self,
        progress: &Arc<Progress>,
        to: Destination<'_>,
        requests: Requests<'_>,
    ) -> Exchange {
        let is_known = to.pool.routes().is_some();
        let mut renewed = None;
        let routes = match to.pool.routes() {
            Some(routes) => routes,
            None => match self.resolve(progress, to).await {
                Ok(routes) => to.pool.resolved(|| routes),
                Err(exchange) => return exchange,
            },
        };
        let target = to.target;
        let send = async |routes: &Routes, body: &Bytes| {
            let body = || written(body, requests.permit.as_ref());
            race::send(progress, routes, target, self.connect_timeout, &body).await
        };
        let first = Bytes::from(requests.first);
        let mut answer = send(routes, &first).await;
        if is_known && answer.is_err() && progress.phase() <= Phase::Connect {
            // The addresses are as old as the pool. The name may have moved.
            match self.resolve(progress, to).await {
                Ok(now) if now.addresses() != routes.addresses() => {
                    to.pool.retire();
                    answer = send(renewed.insert(now), &first).await;
                }
                _ => {}
            }
        }
        let spoiled = || ends_of_end(&answer).filter(|ends| to.pool.is_spoiled(*ends));
        let unfit = gave_up(&answer).or_else(spoiled);
        if unfit.is_some_and(|ends| progress.is_kept(ends))
            && let Some(second) = (requests.again)()
        {
            progress.resend();
            let routes = renewed.as_ref().unwrap_or(routes);
            let unused = self.routes(to.app_id, target, routes.addresses());
            answer = send(&unused, &second.into()).await;
        }
        match answer {
            Ok(response) => self.read(progress, target, response).await,
            Err(broken) => self.failed(progress, target, &broken),
        }
    }

    /// Looks the target up, and keeps of its addresses those that may be called.
    async fn resolve(
        &self,
        progress: &Arc<Progress>,
        to: Destination<'_>,
    ) -> Result<Routes, Exchange> {
        let addresses = match (to.target.host, to.target.url.host_str()) {
            // It resolves by itself.
            _ if self.proxy.is_some() => vec![None],
            (TargetHost::Address(address), _) => {
                let allowed = resolver::check(self.address_policy(), address);
                allowed.map_err(|forbidden| blocked(&forbidden))?;
                vec![Some(address)]
            }
            (TargetHost::Name, name) => {
                progress.lookup_begun();
                let found = self
                    .lookups
                    .addresses(progress, to.app_id, name.unwrap_or_default())
                    .await;
                let found = found.map_err(|error| failed_lookup(&error))?;
                progress.lookup_ended(&found);
                let allowed = resolver::allowed(self.address_policy(), &found);
                let allowed = allowed.map_err(|forbidden| blocked(&forbidden))?;
                allowed.into_iter().map(Some).collect()
            }
        };
        Ok(self.routes(to.app_id, to.target, addresses))
    }

    async fn read(&self, progress: &Progress, target: &Target, mut response: Response) -> Exchange {
        let ends = ends_along(&response);
        let proxy = self.proxy.as_ref().filter(|it| it.may_answer_for(target));
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED && proxy.is_some() {
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
        let ends_with_connection = ends_with_connection(&response);
        while !body.oversized {
            let chunk = response.chunk();
            let chunk = match ends_with_connection && is_complete(&body.bytes) {
                false => chunk.await,
                true => match timeout(LEFT_OPEN_AFTER, chunk).await {
                    Ok(chunk) => chunk,
                    // Nothing follows, and the connection is left open.
                    Err(_) => break,
                },
            };
            match chunk {
                Ok(Some(chunk)) => add_capped(&mut body, &chunk, self.max_response_bytes),
                Ok(None) => break,
                // A rough end is an end too, once nothing is missing.
                Err(error)
                    if ends_with_connection
                        && fault::is_closed(&error)
                        && is_complete(&body.bytes) =>
                {
                    break;
                }
                Err(error) => return self.failed(progress, target, &Broken::Request(error.into())),
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

    fn failed(&self, progress: &Progress, target: &Target, broken: &Broken) -> Exchange {
        let error = match broken {
            Broken::Request(error) => &**error,
            Broken::ConnectDeadline => return self.no_connection(progress, target),
        };
        if let Some(forbidden) = fault::forbidden(error) {
            return blocked(forbidden);
        }
        if fault::is_unsendable(error) {
            // Before anything was sent: a URL that is none in HTTP's own grammar.
            let reason = "the callback URL does not fit into a request; correct it".to_owned();
            return Exchange::Blocked { reason };
        }
        let finding = fault::classify(
            error,
            Circumstances {
                phase: progress.phase(),
                is_proxied: self.proxy.is_some(),
                dialled: self.dialled(progress, target).map(|address| address.ip()),
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

    fn no_connection(&self, progress: &Progress, target: &Target) -> Exchange {
        let phase = progress.phase();
        Exchange::Failed(ExchangeFault {
            phase,
            cause: Cause::Deadline,
            detail: fault::deadline_detail("connection", self.connect_timeout, phase),
            status: None,
            remote_addr: self.dialled(progress, target),
        })
    }

    fn overdue(&self, progress: &Progress, target: &Target) -> Exchange {
        if progress.is_waiting_for_place() {
            let words = "lookups of this app's other names took all places until the deadline";
            return failed_lookup(&LookupError::new(LookupFailure::Local, words));
        }
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
            _ if self.proxy.is_some() => None,
            (Some(resolved), _) => Some(SocketAddr::new(resolved.ip(), target.port)),
            (None, TargetHost::Address(address)) => Some(SocketAddr::new(address, target.port)),
            (None, TargetHost::Name) => None,
        }
    }
}

/// `body` for hyper, which gets it only with the permit.
fn written(body: &Bytes, permit: Option<&Arc<Permit>>) -> Body {
    match permit {
        None => Body::from(body.clone()),
        Some(permit) => Body::wrap(Permitted {
            body: body.clone(),
            permit: Arc::clone(permit),
        }),
    }
}

fn blocked(forbidden: &Forbidden) -> Exchange {
    Exchange::Blocked {
        reason: forbidden.to_string(),
    }
}

fn failed_lookup(error: &LookupError) -> Exchange {
    let finding = fault::of_lookup(error);
    Exchange::Failed(ExchangeFault {
        phase: finding.phase,
        cause: finding.cause,
        detail: finding.detail,
        status: None,
        remote_addr: None,
    })
}
