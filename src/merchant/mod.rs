//! A merchant to test against: takes callbacks, checks their signatures, writes them down, and
//! answers as it is told.
//!
//! Behind the command `mock-merchant`, the `demo`, the tests and the benches: the same code, so
//! that what the tests trust is what an operator can run.
//!
//! A POST is counted, remembered and journalled before its answer begins. So whoever has seen an
//! answer finds the POST in the journal, whichever side was killed.
//!
//! Deliberately absent: an opinion on the callback. A wrong signature is written down, not
//! refused; only the settings decide the answer.

mod answer;
mod conversation;
mod journal;
mod ledger;
mod received;
mod server;

pub use answer::{Answer, InvalidAnswer, Script};
pub use received::{BODY_BYTES_MAX, Received};
pub use server::{MerchantSettings, MockMerchant, StartError};
