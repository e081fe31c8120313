//! What the source document says of callbacks, as pure code.
//!
//! Nothing here does I/O, reads a clock or knows of tokio: every function is a
//! table that a test can write down. The one way through it is
//! [`Callback`] → [`Message::members`] → [`Convention::canonical_form`] → [`SigningKey::sign`] →
//! *(the POST happens elsewhere)* → [`judge`] → [`Schedule::next`].
//!
//! Deliberately absent: SQL, HTTP, configuration syntax, and the moment "now",
//! which always arrives as a [`Timestamp`].

mod acknowledgement;
mod ambiguity;
mod callback;
mod exchange;
mod flat_object;
mod intake;
mod keyring;
mod moment;
mod outcome;
mod payment;
mod reason;
mod reconciliation;
mod refund;
mod schedule;
mod signature;
mod test_payment;
mod timestamp;
mod unsignable;
mod value;
mod visible;
mod wire;
mod words;

pub use acknowledgement::{Answer, read_answer};
pub use ambiguity::Ambiguity;
pub use callback::{Callback, Message, NewCallback};
pub use exchange::{
    CappedBody, Cause, Exchange, ExchangeFault, Phase, PhaseTimes, Reach, Verdict, judge,
};
pub use flat_object::{FlatObject, NotFlat};
pub use intake::IntakeError;
pub use keyring::{KeyEntry, KeyError, Keyring};
pub use moment::read_moment;
pub use outcome::Outcome;
pub use payment::Payment;
pub use reason::{FOR_OPERATOR, SENT_BEFORE, reason, words_of_name};
pub use reconciliation::{
    Counts, Day, DayIds, DayRecord, DecisiveAttempt, Difference, Digest, FieldDifference,
    GatewayPayment, InvalidOffset, Lines, NO_PREVIOUS_DAY, Offset, Period, QueuedResult,
    ReconciledCallback, ReconciledState, ResultKey,
};
pub use refund::Refund;
pub use schedule::{LOCAL_FAULT_WAIT, Next, Schedule};
pub use signature::{
    Algorithm, AmbiguousTexts, Convention, EmptyValues, Encoding, InvalidKey, Secret, SigningKey,
};
pub use timestamp::Timestamp;
pub use unsignable::Unsignable;
pub use value::{Amount, CallbackId, Currency, Kind, PayMethod, Settlement, TransactionResult};
pub use visible::{is_visible, visible, visible_lines};
pub use wire::{Member, Value, body, body_sha256};
pub use words::InvalidValue;
