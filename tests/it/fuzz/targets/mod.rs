//! What must hold of any input, one property for each interface that takes input from outside.
//!
//! Each takes bytes and panics when the program breaks its word. The drivers know nothing of what is
//! asked: libFuzzer by way of `fuzz/fuzz_targets/`, proptest by way of the module above. What a
//! property compares with is written independently of the code that it judges.

pub(crate) mod acknowledgement;
pub(crate) mod configuration;
pub(crate) mod enqueue;
mod folder;
mod json;
pub(crate) mod keys;
pub(crate) mod registry;
pub(crate) mod url;
