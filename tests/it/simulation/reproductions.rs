//! Lists that once failed, as short as they got.

use super::operation::CrashPoint::*;
use super::operation::Operation::{self, *};
use super::operation::Reply::*;
use super::operation::StoreCall::*;
use super::operation::StoreFault::*;
use super::operation::Way::*;
use super::simulate;

/// Nothing is violated by `operations`.
fn holds(operations: &[Operation]) {
    if let Err(violation) = simulate(operations).0 {
        panic!("{violation}");
    }
}
