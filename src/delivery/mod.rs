//! From a due row to a recorded outcome.
//!
//! | who | what |
//! |---|---|
//! | [`Dispatcher`] | the loop: hears what is due, claims it, sends couriers |
//! | `roster` | whose turn it is: fairness by origin, pure |
//! | `courier` | one attempt: sign, POST, judge, record |
//! | [`Terms`] | keys, schedule and limits; a reload replaces them whole |
//! | [`transport`] | one POST, reqwest's only user; answers an [`Exchange`](crate::domain::Exchange) |
//! | [`egress`] | who may be called: a pure function over URLs and addresses |
//! | [`Observer`] | hears what happens, for metrics and logs |

mod courier;
mod dispatcher;
pub mod egress;
pub mod observer;
mod roster;
mod terms;
pub mod transport;

pub use dispatcher::Dispatcher;
pub use observer::{FinishedAttempt, Observer};
pub use terms::Terms;
