//! From a due row to a recorded outcome.
//!
//! | what | does |
//! |---|---|
//! | [`Dispatcher`] | the dispatch loop: learns what is due, claims, starts workers |
//! | `scheduler` | which endpoints may claim and send how much: fair by app, then by origin, pure |
//! | `worker` | one attempt after the other: sign, POST, judge |
//! | [`SignedRequest`] | a message, signed and ready to be sent |
//! | `schedule` | what follows an attempt, and what an outage of our own changes |
//! | `recorder` | batches, records, un-counts; tells scheduler, metrics and log |
//! | `outage` | whether the fault is on our side, pure |
//! | `shared` | the state that loop, workers and recorder share |
//! | [`DeliveryPolicy`] | keys, schedule and limits; a reload replaces them whole |
//! | [`transport`] | one POST, reqwest's only user; answers an [`Exchange`](crate::domain::Exchange) |
//! | [`egress`] | which addresses may be called: a pure function over URLs and addresses |
//! | [`Observer`] | is told what happens, for metrics and logs |

mod congestion;
mod context;
mod dispatcher;
pub mod egress;
pub mod observer;
mod outage;
mod policy;
mod recorder;
mod schedule;
mod scheduler;
mod shared;
mod signed_request;
pub mod transport;
mod worker;

pub use dispatcher::Dispatcher;
pub use observer::{FinishedAttempt, Observer};
pub use policy::DeliveryPolicy;
pub use signed_request::SignedRequest;
