//! A merchant to test against: it takes callbacks, checks their signatures, records them and
//! answers as configured.
//!
//! Behind the command `mock-merchant`, the `demo`, the tests and the benches: the same code, so
//! that what the tests trust is what an operator can run.
//!
//! A POST is counted, remembered and journalled before its answer begins. So every POST that was
//! answered is in the journal, whichever side was killed.
//!
//! Deliberately absent: an opinion on the callback. A wrong signature is recorded, not
//! refused; the settings alone decide the answer.

mod answer;
mod conversation;
mod journal;
mod ledger;
mod received;
mod server;

pub use answer::{Answer, InvalidAnswer, Script};
pub use received::{BODY_BYTES_MAX, Received};
pub use server::{MerchantSettings, MockMerchant, StartError};
