//! From a due row to a recorded outcome.
//!
//! | who | what |
//! |---|---|
//! | [`Dispatcher`] | the loop: hears what is due, lets the store record and claim, sends couriers |
//! | `roster` | whose turn it is: fairness by origin, pure |
//! | `floor` | where couriers and the loop meet |
//! | `outage` | whether it is us who can't be reached, pure |
//! | `courier` | one attempt after the other: sign, POST, judge |
//! | [`Letter`] | a message made ready to be sent |
//! | `turn` | one exchange with the store: records what has ended, claims what comes next |
//! | [`Terms`] | keys, schedule and limits; a reload replaces them whole |
//! | [`transport`] | one POST, reqwest's only user; answers an [`Exchange`](crate::domain::Exchange) |
//! | [`egress`] | who may be called: a pure function over URLs and addresses |
//! | [`Observer`] | hears what happens, for metrics and logs |

mod courier;
mod dispatcher;
pub mod egress;
mod floor;
mod letter;
pub mod observer;
mod outage;
mod roster;
#[cfg(test)]
mod sample;
mod terms;
pub mod transport;
mod turn;

pub use dispatcher::Dispatcher;
pub use letter::Letter;
pub use observer::{FinishedAttempt, Observer};
pub use terms::Terms;
