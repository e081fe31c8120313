//! A check of the claim right before a request is written.
//!
//! Between the claim and the first byte lie a signature, a lookup and a connection. A claim may lapse
//! meanwhile, if the whole process was stopped. So the body asks once more: hyper takes it right
//! before it writes head and body together, and writes nothing if the body is refused.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Whether a request may still be written.
pub struct Permit {
    holds: Box<dyn Fn() -> bool + Send + Sync>,
    was_granted: AtomicBool,
    was_refused: AtomicBool,
}

/// What a refused permit means for the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No byte of a request was written.
    NothingWritten,
    /// A second sending was refused. The first request was written, or at least begun, on a
    /// connection that then closed without an answer: the merchant may have it.
    WrittenBefore,
}

impl Permit {
    /// One that is granted as long as `holds` is true.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            holds: Box::new(holds),
            was_granted: AtomicBool::new(false),
            was_refused: AtomicBool::new(false),
        })
    }

    /// Whether it held a request back, and what had been written by then.
    pub fn refusal(&self) -> Option<Refusal> {
        let refusal = match self.was_granted.load(Ordering::Relaxed) {
            true => Refusal::WrittenBefore,
            false => Refusal::NothingWritten,
        };
        self.was_refused.load(Ordering::Relaxed).then_some(refusal)
    }

    fn is_granted(&self) -> bool {
        let is_granted = (self.holds)();
        let asked = match is_granted {
            true => &self.was_granted,
            false => &self.was_refused,
        };
        asked.store(true, Ordering::Relaxed);
        is_granted
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("refusal", &self.refusal())
            .finish_non_exhaustive()
    }
}

/// The permit was refused.
#[derive(Debug, thiserror::Error)]
#[error("the claim has lapsed")]
pub(super) struct Lapsed;

/// A body that hyper gets only with a permit.
#[derive(Debug)]
pub(super) struct Permitted {
    pub(super) body: Bytes,
    pub(super) permit: Arc<Permit>,
}

impl Body for Permitted {
    type Data = Bytes;
    type Error = Lapsed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lapsed>>> {
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        let frame = match self.permit.is_granted() {
            true => Ok(Frame::data(std::mem::take(&mut self.body))),
            false => Err(Lapsed),
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.body.len()).unwrap_or(u64::MAX))
    }
}
