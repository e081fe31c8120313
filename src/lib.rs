//! Delivers signed payment and refund results to merchants.

pub mod domain;
