//! What the benchmarks share.

pub(crate) mod daemon;
pub(crate) mod merchants;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod report;
