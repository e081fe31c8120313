//! From a due row to a recorded outcome.
//!
//! | who | what |
//! |---|---|
//! | [`egress`] | who may be called: a pure function over URLs and addresses |
//! | [`transport`] | one POST, reqwest's only user; answers an [`Exchange`](crate::domain::Exchange) |
//! | [`observer`] | hears what happens, for metrics and logs |

pub mod egress;
pub mod observer;
pub mod transport;
