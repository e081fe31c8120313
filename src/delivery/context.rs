//! What every task of a dispatcher uses.

use std::sync::Arc;

use super::observer::Observer;
use crate::clock::SharedClock;
use crate::store::Queue;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: SharedClock,
    pub(super) observer: Arc<dyn Observer>,
}
