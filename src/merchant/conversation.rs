//! One request and its answer.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use thiserror::Error;

use super::answer::{Answer, Closed, Script};
use super::journal::Journal;
use super::ledger::Ledger;
use super::received::{BODY_BYTES_MAX, Received};
use crate::clock::SharedClock;
use crate::domain::{Convention, Keyring};

/// How the merchant treats every request.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) script: Script,
    pub(super) fail_first: u32,
    pub(super) keyring: Arc<Keyring>,
    pub(super) convention: Convention,
    pub(super) clock: SharedClock,
    pub(super) journal: Option<Journal>,
    pub(super) ledger: Ledger,
    /// Whether the content of a POST is needed; otherwise POSTs are only counted.
    pub(super) reads: bool,
}

/// Why the connection ends without an answer.
#[derive(Debug, Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    OnPurpose(#[from] Closed),
    #[error("the request broke off: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
}

impl Behaviour {
    /// Takes a request and answers it.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Unanswered> {
        let arrived_at = self.clock.now();
        if request.method() != Method::POST {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
            return Ok(response);
        }
        let (head, body) = request.into_parts();
        let Some(body) = whole(body).await? else {
            return Ok(bare(StatusCode::PAYLOAD_TOO_LARGE));
        };
        if !self.reads {
            self.ledger.note(None);
            return Ok(self.usual().give().await?);
        }
        let received = Received::read(arrived_at, &head, &body, &self.keyring, &self.convention);
        let answer = self.decide(&received);
        if let Some(journal) = &self.journal
            && let Err(error) = journal.write(&received, &answer)
        {
            tracing::error!(%error, "the journal takes no record; answering 500 until it does");
            return Ok(bare(StatusCode::INTERNAL_SERVER_ERROR));
        }
        self.ledger.note(Some(received));
        Ok(answer.give().await?)
    }

    fn decide(&self, received: &Received) -> Answer {
        if self.fail_first > 0 && self.ledger.count_order(received.order()) < self.fail_first {
            return Answer::Refuse;
        }
        match &self.script {
            Script::Always(answer) => answer.clone(),
            Script::Each(decide) => decide(received),
        }
    }

    /// The answer to a POST that is not looked at.
    fn usual(&self) -> Answer {
        match &self.script {
            Script::Always(answer) => answer.clone(),
            Script::Each(_) => unreachable!("a script that looks at POSTs has them read"),
        }
    }
}

/// The whole body; `None` if it is too large.
async fn whole(body: Incoming) -> Result<Option<Bytes>, Unanswered> {
    let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if least > BODY_BYTES_MAX {
        return Ok(None);
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(Some(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(error) => Err(Unanswered::BrokenOff(error)),
    }
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
