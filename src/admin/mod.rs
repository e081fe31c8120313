//! What operators and their machines ask over HTTP: is it alive, is it of use, what does it count.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the loop beats; else 503, and a restart is the remedy |
//! | `GET /readyz` | 200 while the store takes commits and keys are loaded; else 503 with every reason, one per line |
//! | `GET /metrics` | OpenMetrics text |
//! | `/console` | pages for people: see [`console`] |
//!
//! Deliberately absent: authentication for health and metrics. The port is meant for the loopback
//! interface or a network that only the operator's machines reach.

mod beat;
pub mod console;
pub mod history;
mod routes;
mod server;

pub use beat::{BEAT_AGE_MAX, Beat};
pub use history::History;
pub use routes::{AdminState, KeysCheck, PROBE_TIMEOUT, StoreProbe, router};
pub use server::serve;
