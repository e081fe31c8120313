//! What users rely on, tested from outside: one binary, so that it links once.
//!
//! | module | whose view |
//! |---|---|
//! | [`architecture`] | who reads the code: the layers are what the documentation says |
//! | [`binary`] | the operator: processes, signals, exit codes, output |
//! | [`campaign`] | everyone: crashes, full disks, damaged files, and what comes of them |
//! | [`console`] | the operator at night, in a browser |
//! | [`docs`] | the operator: what the documents say is so |
//! | [`domain`] | the merchant: bodies, signatures, acknowledgements |
//! | [`egress`] | the platform beside us: nobody is called who may not be |
//! | [`fleet`] | everyone: several dispatchers of one queue, and what becomes of them |
//! | [`fuzz`] | whoever sends garbage: what holds of any input at all |
//! | [`hostile`] | everyone: what a merchant's server can do to the daemon, and what comes of it |
//! | [`live`] | everyone: the whole daemon, from the row to the merchant and back |
//! | [`merchants`] | the merchant's developer: the receivers in `examples/merchants` |
//! | [`model`] | nobody: the protocol itself, in every order of its steps |
//! | [`monitoring`] | Prometheus and Grafana: what they ask for is there |
//! | [`names`] | everyone: name servers and routes that are broken, in a network of their own |
//! | [`reconcile`] | the auditor: nothing was left out or altered |
//! | [`schema`] | the gateway and the operator, in `sqlite3` and Python |
//! | [`secrets`] | who must not see: no secret gets out |
//! | [`simulation`] | nobody: whatever may happen, drawn from seeds, against an oracle |
//! | [`stores`] | the dispatcher: both databases do the same |
//! | [`support`] | nobody: what the other modules share |
//! | [`unwell`] | everyone: PostgreSQL when it is neither well nor dead, and what comes of it |

mod architecture;
mod binary;
mod campaign;
mod console;
mod docs;
mod domain;
mod egress;
mod fleet;
mod fuzz;
mod hostile;
mod live;
mod merchants;
mod model;
mod monitoring;
mod names;
mod reconcile;
mod schema;
mod secrets;
mod simulation;
mod stores;
mod support;
mod unwell;
